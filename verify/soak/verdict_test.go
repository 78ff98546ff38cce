package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// checkKept looks for every acknowledged command in the history.
func checkKept(c *chronicle, k *told) (errs []error) {
	for id, reply := range k.replies {
		if err := c.holds(id, reply); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
		}
	}
	return errs
}

// holds reports whether a reply fits the history. Deleted sessions have no
// history left but their tombstone, which is later than all of it.
func (c *chronicle) holds(id string, reply contract.Reply) error {
	known := c.tales[eventstore.Key{User: reply.User, Session: reply.Session}]
	if known == nil {
		return errors.New("its session has no history")
	}
	if known.last.Tombstone() != nil && known.last.LastVersion() >= reply.Version {
		return nil
	}
	commit := c.commits[id]
	if commit == nil {
		return fmt.Errorf("it was acknowledged at version %d and is lost", reply.Version)
	}
	if commit.LastVersion() != reply.Version || commit.State != reply.State {
		return fmt.Errorf("it was acknowledged at version %d, %s; the history has %d, %s", reply.Version, reply.State, commit.LastVersion(), commit.State)
	}
	return nil
}

// checkQueued looks for every queued command in the history or among the dead
// letters.
func checkQueued(js jetstream.JetStream, names contract.Names, c *chronicle, k *told) (errs []error) {
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
		known := c.tales[eventstore.Key{User: user, Session: session}]
		gone := known != nil && known.last.Tombstone() != nil
		switch applied := c.commits[id] != nil; {
		case !applied && !dead[id] && !gone:
			errs = append(errs, fmt.Errorf("queued command %s is neither applied nor among the dead letters", id))
		case applied && dead[id]:
			errs = append(errs, fmt.Errorf("queued command %s is applied and among the dead letters", id))
		}
	}
	return errs
}

// view is the JSON of a session's view.
type view struct {
	Schema int    `json:"schema"`
	Seq    uint64 `json:"seq"`
	Hash   string `json:"hash"`
	*domain.Session
}

// view makes the view that a tale must have; nil if it must have none.
func (s *tale) view() ([]byte, error) {
	if !s.session.Exists() {
		return nil, nil
	}
	kept := *s.session
	kept.Recent = kept.Recent[max(0, len(kept.Recent)-domain.RecentMin):]
	return domain.Marshal(view{Schema: eventstore.SchemaVersion, Seq: s.seq, Hash: s.hash, Session: &kept})
}

// awaitViews waits until the bucket holds the view of every session that exists,
// byte for byte the fold of its events, and of no other.
func awaitViews(js jetstream.JetStream, names contract.Names, c *chronicle) error {
	want := map[string][]byte{}
	for key, told := range c.tales {
		raw, err := told.view()
		if err != nil {
			return err
		}
		if raw != nil {
			want[key.String()] = raw
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(quietLook)
	defer tick.Stop()
	for {
		err := sameViews(ctx, js, names, want)
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

func sameViews(ctx context.Context, js jetstream.JetStream, names contract.Names, want map[string][]byte) error {
	kv, err := js.KeyValue(ctx, names.SessionsBucket())
	if err != nil {
		return err
	}
	watcher, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	seen := 0
	for entry := range watcher.Updates() {
		if entry == nil {
			break
		}
		if strings.HasPrefix(entry.Key(), "_") {
			continue // the projection's own notes
		}
		if expected := want[entry.Key()]; !bytes.Equal(entry.Value(), expected) {
			return fmt.Errorf("the view %s is\n%s\nthe events say\n%s", entry.Key(), entry.Value(), expected)
		}
		seen++
	}
	if seen != len(want) {
		return fmt.Errorf("there are %d views; the events say %d", seen, len(want))
	}
	return nil
}
