package soak

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
	"reprise/verify/internal/chronicle"
)

// checkKept looks for every acknowledged command in the history.
func checkKept(c *ledger, k *told) (errs []error) {
	for id, reply := range k.replies {
		if err := c.Holds(id, reply); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
		}
	}
	return errs
}

// checkQueued looks for every queued command in the history or among the dead
// letters.
func checkQueued(js jetstream.JetStream, names contract.Names, c *ledger, k *told) (errs []error) {
	dead := map[string]bool{}
	err := eachMessage(js, names.DeadStream(), func(msg jetstream.Msg, _ uint64) {
		tokens := strings.Split(msg.Subject(), ".")
		dead[tokens[2]+"."+tokens[3]+" "+msg.Headers().Get(contract.HeaderCommandID)] = true
	})
	if err != nil {
		return []error{err}
	}
	for id := range k.queued {
		user, rest, _ := strings.Cut(id, ".")
		session, _, _ := strings.Cut(rest, " ")
		known := c.Tales[eventstore.Key{User: user, Session: session}]
		gone := known != nil && known.Gone()
		switch applied := c.Commits[id] != nil; {
		case !applied && !dead[id] && !gone:
			errs = append(errs, fmt.Errorf("queued command %s is neither applied nor among the dead letters", id))
		case applied && dead[id]:
			errs = append(errs, fmt.Errorf("queued command %s is applied and among the dead letters", id))
		}
	}
	return errs
}

// awaitViews waits until the bucket holds the view of every session that exists,
// byte for byte the fold of its events, and of no other.
func awaitViews(js jetstream.JetStream, names contract.Names, c *ledger) error {
	want, err := c.Views()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kv, err := js.KeyValue(ctx, names.SessionsBucket())
	if err != nil {
		return err
	}
	tick := time.NewTicker(quietLook)
	defer tick.Stop()
	for {
		err := chronicle.SameViews(ctx, kv, want)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
