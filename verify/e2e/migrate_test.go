package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/killpoint"
)

// The sessions that are migrated, and the clients that make them.
const (
	movedSessions = 1500
	movers        = 8
	// killedAt are the commits in the target at which a migration is killed.
	killedAt = movedSessions / 4
)

// TestMigrateKilled migrates from a server in memory to a data directory, to
// another server, and back; each migration is killed with SIGKILL half-way and
// run again. The source is read-only until the end.
func TestMigrateKilled(t *testing.T) {
	t.Parallel()
	memory := serve(t, "--memory", "--listen", "127.0.0.1:0")
	makeSessions(t, dial(t, memory.url, "ada"))
	want := histories(t, memory.url)
	other := serve(t, "--nats", externalServer(t))
	dir := filepath.Join(t.TempDir(), "data")
	disk := embedded(t, dir)
	back := serve(t, "--memory", "--listen", "127.0.0.1:0")
	for _, hop := range []struct{ from, to *process }{{memory, disk}, {disk, other}, {other, back}} {
		killMigration(t, hop.from.url, hop.to.url)
		refusal := dial(t, hop.from.url, "ada").refuse(t, "moved-0", domain.VerbMetadataSet)
		if refusal.Code != domain.CodeUnavailable || !strings.Contains(refusal.Message, "read-only since") {
			t.Errorf("after the kill the source answers %+v", refusal)
		}
		out := cli(t, 0, "migrate", "--from", hop.from.url, "--to", hop.to.url)
		if !strings.Contains(out, fmt.Sprintf("migrated %d sessions and 1 tombstone", movedSessions-1)) {
			t.Errorf("the migration says %s", out)
		}
		compareHistories(t, histories(t, hop.to.url), want)
		dial(t, hop.from.url, "ada").accept(t, "after", domain.VerbCreate, `{"keepOpen":true}`)
	}
	eventually(t, func() error {
		var counts contract.CountReply
		readJSON(t, cli(t, 0, "session", "count", "--nats", back.url, "--json"), &counts)
		if counts.Total != movedSessions-1 {
			return fmt.Errorf("the target counts %d sessions", counts.Total)
		}
		return nil
	})
	dial(t, back.url, "ada").accept(t, "moved-1", domain.VerbPause, "")
}

// makeSessions makes sessions of two commits and one tombstone.
func makeSessions(t *testing.T, p *peer) {
	t.Helper()
	var wg sync.WaitGroup
	for m := range movers {
		wg.Go(func() {
			for n := m; n < movedSessions; n += movers {
				id := fmt.Sprintf("moved-%d", n)
				p.accept(t, id, domain.VerbCreate, `{"keepOpen":true,"metadata":{"n":"`+id+`"}}`)
				p.accept(t, id, domain.VerbStart, "")
			}
		})
	}
	wg.Wait()
	p.accept(t, fmt.Sprintf("moved-%d", movedSessions-1), domain.VerbDelete, `{"force":true}`)
}

// accept sends a command as a plain client does, until it is accepted.
func (p *peer) accept(t *testing.T, session string, verb domain.Verb, body string) {
	t.Helper()
	if a, err := p.patiently(p.names.Command(p.user, session, verb), body, nil); err != nil || a.refusal != nil {
		t.Errorf("%s %s: %+v, %v", verb, session, a.refusal, err)
	}
}

func (p *peer) refuse(t *testing.T, session string, verb domain.Verb) contract.Error {
	t.Helper()
	a, err := p.ask(p.names.Command(p.user, session, verb), `{"set":{"a":"b"}}`, nil)
	if err == nil && a.refusal == nil {
		err = errors.New("it was accepted")
	}
	if err != nil {
		t.Fatalf("%s %s: %v", verb, session, err)
	}
	return *a.refusal
}

// killMigration begins a migration that kills itself once a part is there.
func killMigration(t *testing.T, from, to string) {
	t.Helper()
	cmd := doomed(t, killpoint.CommitRestored, killedAt, "migrate", "--from", from, "--to", to)
	said, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !killed(exit.ProcessState) {
		t.Fatalf("the migration was not killed: %v, %s", err, said)
	}
	info, err := eventsAt(t, to).Info(t.Context())
	if err != nil || info.State.Msgs < killedAt || info.State.Msgs > 2*movedSessions-killedAt {
		t.Fatalf("at the kill the target has %+v, error %v", info, err)
	}
}

func eventsAt(t *testing.T, url string) jetstream.Stream {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), contract.Default().EventsStream())
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// histories reads all commits at a server, by session: the bytes in their order.
func histories(t *testing.T, url string) map[string]string {
	t.Helper()
	stream := eventsAt(t, url)
	consumer, err := stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for range info.State.Msgs {
		m, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		all[m.Subject()] += string(m.Data()) + "\n"
	}
	return all
}

func compareHistories(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d sessions are there, want %d", len(got), len(want))
	}
	for subject, bytes := range want {
		if got[subject] != bytes {
			t.Fatalf("%s is\n%s\nand was\n%s", subject, got[subject], bytes)
		}
	}
}
