package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

// The users: each has so many hands; a hand holds so many sessions at a time,
// sends a command every pace, and takes another session for one that has had
// commandsPerSession of them.
const (
	users              = 5
	hands              = 2
	atHand             = 10
	commandsPerSession = 14
	pace               = 12 * time.Millisecond
	// mostSessions bounds all sessions of a run, whatever its length.
	mostSessions = 50_000
)

// told is what the users know: what was acknowledged, queued and refused.
type told struct {
	mu      sync.Mutex
	replies map[string]contract.Reply
	queued  map[string]bool
	refused map[domain.Code]int
	made    int
}

func newTold() *told {
	return &told{replies: map[string]contract.Reply{}, queued: map[string]bool{}, refused: map[domain.Code]int{}}
}

// note keeps the answer to a command.
func (k *told) note(user, session, id string, reply *contract.Reply, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.refused[client.CodeOf(err)]++
	case reply == nil:
		k.queued[contract.ViewKey(user, session)+" "+id] = true
	default:
		k.replies[contract.ViewKey(reply.User, reply.Session)+" "+id] = *reply
	}
}

// another counts a session, and reports whether there may be one more.
func (k *told) another() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	return k.made <= mostSessions
}

// hand sends the commands of one user from one place.
type hand struct {
	client *client.Client
	rand   *rand.Rand
	name   string
	told   *told
	held   []*held
	made   int
	sent   int
}

// held is a session with the plan that its hand knows of.
type held struct {
	id       string
	plan     domain.Definition
	commands int
}

// busy sends random commands until ctx ends.
func (h *hand) busy(ctx context.Context) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if len(h.held) < atHand {
			if h.told.another() {
				h.begin()
			}
			continue
		}
		i := h.rand.IntN(len(h.held))
		s := h.held[i]
		h.send(s, h.command(s))
		if s.commands++; s.commands > commandsPerSession {
			h.held = append(h.held[:i], h.held[i+1:]...)
		}
	}
}

// begin creates a session, most of the time started in the same commit.
func (h *hand) begin() {
	h.made++
	s := &held{id: fmt.Sprintf("%s-%d", h.name, h.made), plan: randomPlan(h.rand)}
	h.held = append(h.held, s)
	create := &domain.Create{Definition: s.plan}
	if oneIn(h.rand, 4) {
		h.send(s, create)
		return
	}
	h.send(s, &domain.Batch{Commands: []domain.Command{create, &domain.Start{}}})
}

// send sends a command until its outcome is known, or hands it to the queue.
func (h *hand) send(s *held, command domain.Command) {
	h.sent++
	id := fmt.Sprintf("%s-c%d", h.name, h.sent)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if s.commands > 0 && oneIn(h.rand, 6) {
		_, err := h.client.Enqueue(ctx, s.id, command, client.WithCommandID(id))
		h.told.note(h.client.User(), s.id, id, nil, err)
		return
	}
	reply, err := h.client.Do(ctx, s.id, command, client.WithCommandID(id))
	h.told.note(h.client.User(), s.id, id, reply, err)
}

// command chooses what to do to a session; much of it will be refused.
func (h *hand) command(s *held) domain.Command {
	chain, step := h.somewhere(s)
	switch h.rand.IntN(24) {
	case 0, 1, 2:
		return &domain.Start{}
	case 3, 4:
		return &domain.Pause{Mode: []domain.PauseMode{domain.PauseDrain, domain.PauseInterrupt}[h.rand.IntN(2)]}
	case 5, 6, 7, 8:
		return &domain.Resume{}
	case 9, 10, 11:
		return &domain.RetryStep{Chain: chain, Step: step}
	case 12:
		return &domain.SkipStep{Chain: chain, Step: step, Reason: "in the way"}
	case 13, 14:
		return &domain.SucceedManual{Chain: chain, Step: step}
	case 15:
		return &domain.FailManual{Chain: chain, Step: step, Error: domain.ReportError{Message: "no"}}
	case 16:
		return &domain.SetMetadata{Set: map[string]string{"note": fmt.Sprint(h.sent)}}
	case 17:
		return h.ending()
	default:
		return h.restructure(s, chain)
	}
}

// ending is a command after which a session does not go on.
func (h *hand) ending() domain.Command {
	switch h.rand.IntN(3) {
	case 0:
		return &domain.Cancel{Reason: "enough"}
	case 1:
		return &domain.Delete{Force: oneIn(h.rand, 2)}
	default:
		return &domain.Complete{}
	}
}

// restructure is a command that changes the plan, or several at once.
func (h *hand) restructure(s *held, chain string) domain.Command {
	switch h.rand.IntN(6) {
	case 0:
		def := randomChain(h.rand, fmt.Sprintf("x%d", h.sent))
		s.plan.Chains = append(s.plan.Chains, def)
		return &domain.AddChain{ChainDef: def}
	case 1:
		return &domain.AddStep{Chain: chain, Step: randomStep(h.rand, fmt.Sprintf("x%d", h.sent))}
	case 2:
		return &domain.CloseChain{Chain: chain}
	case 3:
		return &domain.RemoveChain{Chain: chain}
	case 4:
		return &domain.MoveChain{Chain: chain, Position: new(int), To: h.elsewhere()}
	default:
		return &domain.Batch{Mode: domain.BatchEach, Commands: []domain.Command{
			&domain.Pause{}, &domain.SetMetadata{Set: map[string]string{"batch": fmt.Sprint(h.sent)}}, &domain.Resume{},
		}}
	}
}

// elsewhere names another session now and then, to move a chain to.
func (h *hand) elsewhere() string {
	if oneIn(h.rand, 2) {
		return ""
	}
	return h.held[h.rand.IntN(len(h.held))].id
}

// somewhere names a step of the plan.
func (h *hand) somewhere(s *held) (chain, step string) {
	c := s.plan.Chains[h.rand.IntN(len(s.plan.Chains))]
	return c.ID, c.Steps[h.rand.IntN(len(c.Steps))].ID
}
