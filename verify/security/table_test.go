package security

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// TestTheServerKeepsTheTable tries the whole surface for each role.
func TestTheServerKeepsTheTable(t *testing.T) {
	w := newWorld(t)
	proofs, err := w.realm.Prove(t.Context(), func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(w.node.URL(), append([]nats.Option{nats.Name(name)}, options...)...)
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
}
