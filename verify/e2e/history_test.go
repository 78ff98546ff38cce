package e2e

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/eventstore"
	"reprise/verify/internal/chronicle"
)

// readEvents reads the whole event stream as any client may, and checks of
// every commit that it follows the one before it. It reads again what did not fit: a
// session that is being compacted meanwhile has gaps for a moment.
func readEvents(t *testing.T, p *peer) *chronicle.Chronicle {
	t.Helper()
	var c *chronicle.Chronicle
	eventually(t, func() error {
		c = chronicle.New()
		var wrong []error
		err := chronicle.Each(bounded(t), p.stream(t), p.names.EventsStream(), patience/6, func(msg jetstream.Msg, seq uint64) error {
			if _, err := c.Add(msg.Subject(), msg.Headers(), msg.Data(), seq); err != nil {
				wrong = append(wrong, fmt.Errorf("%s, sequence %d: %w", msg.Subject(), seq, err))
			}
			return nil
		})
		return errors.Join(append(wrong, err)...)
	})
	return c
}

// awaitViews waits until the bucket holds the view of every session that exists,
// byte for byte the fold of its events, and of no other.
func awaitViews(t *testing.T, p *peer, c *chronicle.Chronicle) {
	t.Helper()
	kv := p.views(t)
	want, err := c.Views()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return chronicle.SameViews(bounded(t), kv, want) })
}

// key names a session.
func key(user, session string) eventstore.Key { return eventstore.Key{User: user, Session: session} }
