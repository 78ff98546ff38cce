package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/verify/internal/chronicle"
)

// acknowledged is what clients were told was done: the replies of accepted
// commands by session and command id.
type acknowledged struct {
	mu      sync.Mutex
	replies map[string]contract.Reply
	// refused counts refusals by code; silent counts requests without an answer.
	refused map[domain.Code]int
	silent  int
}

func newAcknowledged() *acknowledged {
	return &acknowledged{replies: map[string]contract.Reply{}, refused: map[domain.Code]int{}}
}

func (k *acknowledged) note(a answer, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.silent++
	case a.refusal != nil:
		k.refused[a.refusal.Code]++
	default:
		r := a.reply
		k.replies[contract.ViewKey(r.User, r.Session)+" "+r.CommandID] = r
	}
}

func (k *acknowledged) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.replies)
}

// load runs clients side by side until ctx ends or each has lived its sessions:
// every client creates sessions and leads them through their lives.
func load(ctx context.Context, p *peer, name string, clients, sessions int, k *acknowledged) {
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			mine := p.as(fmt.Sprintf("%s-%d", name, client))
			for i := 0; i < sessions && ctx.Err() == nil; i++ {
				mine.live(ctx, fmt.Sprintf("s%d", i), i, k)
			}
		})
	}
	wg.Wait()
}

// live leads one session through a life; every fourth ends early or is deleted.
func (p *peer) live(ctx context.Context, session string, i int, k *acknowledged) {
	life := []domain.Verb{domain.VerbCreate, domain.VerbStart, domain.VerbMetadataSet, domain.VerbPause, domain.VerbResume, domain.VerbStepSkip}
	switch i % 4 {
	case 1:
		life = append(life, domain.VerbCancel)
	case 2:
		life = append(life, domain.VerbCancel, domain.VerbDelete)
	}
	for n, verb := range life {
		if ctx.Err() != nil {
			return
		}
		id := fmt.Sprintf("%s-%d-%s", session, n, verb)
		k.note(p.sendWithin(ctx, session, verb, bodyOf(verb), headers(contract.HeaderCommandID, id)))
	}
}

// sendWithin is send that gives up when ctx ends.
func (p *peer) sendWithin(ctx context.Context, session string, verb domain.Verb, body any, h nats.Header) (answer, error) {
	data, err := domain.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	msg, err := p.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: p.names.Command(p.user, session, verb), Data: data, Header: h})
	if err != nil {
		return answer{}, err
	}
	a, err := read(msg)
	if err == nil && a.refusal == nil {
		err = json.Unmarshal(msg.Data, &a.reply)
	}
	return a, err
}

func bodyOf(verb domain.Verb) any {
	switch verb {
	case domain.VerbCreate:
		return plan("compile", "test")
	case domain.VerbMetadataSet:
		return object{"set": object{"note": "a <note> & more"}}
	case domain.VerbStepSkip:
		return object{"chain": "build", "step": "compile", "output": object{"n": 1.50}}
	default:
		return object{}
	}
}

// checkKept fails for every acknowledged command that is not in the history as
// it was acknowledged.
func checkKept(t *testing.T, c *chronicle.Chronicle, k *acknowledged) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, reply := range k.replies {
		if err := c.Holds(id, reply); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// checkAnswered fails for every commit that its client was not told of.
func checkAnswered(t *testing.T, c *chronicle.Chronicle, k *acknowledged) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, commit := range c.Commits {
		if _, told := k.replies[id]; !told {
			t.Errorf("%s was committed at version %d and not answered", id, commit.Version)
		}
	}
}
