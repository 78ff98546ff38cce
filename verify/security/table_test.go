package security

import (
	"maps"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/auth"
	"reprise/domain"
)

// TestTheServerKeepsTheTable tries the whole surface for each role.
func TestTheServerKeepsTheTable(t *testing.T) {
	w := newWorld(t)
	ada := w.as(auth.RoleUser, "ada")
	must(t, ada, w.names.Command("ada", "kept", domain.VerbCreate), onePlan)
	must(t, ada, w.names.Command("ada", "kept", domain.VerbStart), "{}")
	var before map[string]uint64
	poll(t, "the task on offer", func() bool {
		before = w.stored(t)
		return before[w.names.WorkStream()] == 1
	})
	proofs, err := w.realm.Prove(t.Context(), func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(w.node.URL(), append([]nats.Option{nats.Name(name), nats.Timeout(patience)}, options...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range proofs {
		t.Logf("%s: %d allowed, %d denied", p.Role, p.Allowed, p.Denied)
		if p.Allowed == 0 || p.Denied < 50 {
			t.Errorf("%s: %d allowed and %d denied are too few", p.Role, p.Allowed, p.Denied)
		}
		for _, wrong := range p.Wrong {
			t.Errorf("%s %s", p.Role, wrong)
		}
	}
	if after := w.stored(t); !maps.Equal(after, before) {
		t.Errorf("what is stored has changed from %v to %v", before, after)
	}
	if strings.Contains(w.log.String(), "no longer the holder") {
		t.Error("the proof disturbed the engine")
	}
}

// stored counts the messages of each stream but those of leases, which come and go.
func (w *world) stored(t *testing.T) map[string]uint64 {
	t.Helper()
	js, err := jetstream.New(w.engineConn(auth.RoleEngine))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]uint64{}
	for _, name := range auth.Streams(w.names) {
		stream, err := js.Stream(t.Context(), name)
		if err == nil && !strings.Contains(name, "control") && !strings.Contains(name, "KV_") {
			count[name] = stream.CachedInfo().State.Msgs
		}
	}
	if count[w.names.EventsStream()] < 2 || count[w.names.WorkStream()] > 1 {
		t.Fatalf("the streams have %v", count)
	}
	return count
}
