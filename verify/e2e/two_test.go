package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"reprise/contract"
	"reprise/domain"
	"reprise/verify/internal/chronicle"
)

// externalServer is a NATS server that is not the binary's.
func externalServer(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "external", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), DisableJetStreamBanner: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the external server is not ready in time")
	}
	return srv.ClientURL()
}

// The load on two instances: so many clients send so many commands each to so
// many sessions, all to the same ones.
const (
	hammerClients  = 8
	hammerCommands = 60
	hammerSessions = 4
	queuedBefore   = 100
	queuedAfter    = 100
)

// TestTwoInstances hammers the same sessions through two instances on one
// server, kills one of them, and goes on with the other.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	url := externalServer(t)
	one, two := serve(t, "--nats", url), serve(t, "--nats", url)
	p := dial(t, url, "ada")
	for i := range hammerSessions {
		p.do(t, fmt.Sprintf("s%d", i), domain.VerbCreate, plan("compile", "test"))
		p.do(t, fmt.Sprintf("s%d", i), domain.VerbStart, nil)
	}
	p.do(t, "queued", domain.VerbCreate, plan("compile"))
	k := newAcknowledged()
	hammer(t, p, k, "both")
	enqueue(t, p, 0, queuedBefore)
	one.kill(t)
	enqueue(t, p, queuedBefore, queuedAfter)
	hammer(t, p, k, "survivor")
	awaitQueued(t, p, queuedBefore+queuedAfter)
	c := readEvents(t, p)
	checkKept(t, c, k)
	checkTurns(t, c)
	awaitViews(t, p, c)
	if k.silent > 0 {
		t.Errorf("%d requests got no answer", k.silent)
	}
	two.stop(t)
}

// hammer sends contradicting commands to the same sessions from many clients at
// once. A request that one instance took to its grave is sent again.
func hammer(t *testing.T, p *peer, k *acknowledged, name string) {
	t.Helper()
	var wg sync.WaitGroup
	for client := range hammerClients {
		wg.Go(func() {
			for i := range hammerCommands {
				session := fmt.Sprintf("s%d", (client+i)%hammerSessions)
				verb := []domain.Verb{domain.VerbPause, domain.VerbResume, domain.VerbMetadataSet}[(client+i)%3]
				id := fmt.Sprintf("%s-%d-%d", name, client, i)
				body := any(object{})
				if verb == domain.VerbMetadataSet {
					body = object{"set": object{fmt.Sprintf("k%d", client): id}}
				}
				k.note(p.insist(t.Context(), session, verb, body, id))
			}
		})
	}
	wg.Wait()
}

// insist sends a command until it is answered and its outcome is known.
func (p *peer) insist(ctx context.Context, session string, verb domain.Verb, body any, id string) (a answer, err error) {
	for range 5 {
		a, err = p.sendWithin(ctx, session, verb, body, headers(contract.HeaderCommandID, id))
		if err == nil && (a.refusal == nil || a.refusal.Code != domain.CodeUnknownOutcome && a.refusal.Code != domain.CodeUnavailable) {
			return a, nil
		}
	}
	return a, err
}

// enqueue hands numbered commands of one session over, each with its place.
func enqueue(t *testing.T, p *peer, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		p.queue(t, "queued", domain.VerbMetadataSet, object{"set": object{"n": fmt.Sprint(i)}})
	}
}

// awaitQueued waits until all queued commands are applied, and checks that each
// was applied once and in order.
func awaitQueued(t *testing.T, p *peer, n int) {
	t.Helper()
	eventually(t, func() error {
		if got := p.get(t, "queued").Metadata["n"]; got != fmt.Sprint(n-1) {
			return fmt.Errorf("the queue has come to %q", got)
		}
		return nil
	})
	var got []string
	for _, commit := range readEvents(t, p).Tales[key("ada", "queued")].Commits {
		if commit.Cause == domain.VerbMetadataSet {
			got = append(got, commit.Events[0].(*domain.MetadataSet).Set["n"])
		}
	}
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the queued commands were applied as %v", got)
	}
}

// checkTurns checks that in every session pauses and resumptions take turns.
func checkTurns(t *testing.T, c *chronicle.Chronicle) {
	t.Helper()
	for key, told := range c.Tales {
		paused := false
		for _, commit := range told.Commits {
			if commit.Cause != domain.VerbPause && commit.Cause != domain.VerbResume {
				continue
			}
			if now := commit.Cause == domain.VerbPause; now == paused {
				t.Errorf("%s: two times %s at version %d", key, commit.Cause, commit.Version)
			}
			paused = !paused
		}
	}
}

// queue hands a command over; the server's acknowledgement is awaited.
func (p *peer) queue(t *testing.T, session string, verb domain.Verb, body any, pairs ...string) {
	t.Helper()
	a, err := p.ask(p.names.Queue(p.user, session, verb), body, headers(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	var ack struct {
		Seq   uint64
		Error any
	}
	if err := json.Unmarshal(a.msg.Data, &ack); err != nil || ack.Seq == 0 || ack.Error != nil {
		t.Fatalf("the queue did not take %s: %s", verb, a.msg.Data)
	}
}
