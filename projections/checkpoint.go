package projections

import (
	"context"
	"errors"
	"slices"

	"reprise/eventstore"
)

// Checkpoint says what the stored views cover. The zero value covers nothing.
type Checkpoint struct {
	// Schema is that of the views, Declared the metadata keys in their headers.
	Schema   int      `json:"schema"`
	Declared []string `json:"declared,omitempty"`
	// Incarnation, Seq and Hash name the last commit that is covered; User and
	// Session say whose it is.
	Incarnation string `json:"incarnation"`
	Seq         uint64 `json:"seq"`
	Hash        string `json:"hash"`
	User        string `json:"user,omitempty"`
	Session     string `json:"session,omitempty"`
}

// fits reports whether the views under the checkpoint are of this schema, with
// these declared keys.
func (c Checkpoint) fits(declared []string) bool {
	return c.Schema == eventstore.SchemaVersion && slices.Equal(c.Declared, declared)
}

// proven reports whether the checkpoint lies on the stream: the commit at its
// sequence has its hash, or was compacted with its session since. The error is
// that of the store.
func (c Checkpoint) proven(ctx context.Context, source Source, info eventstore.Info) (bool, error) {
	if c.Incarnation != info.Incarnation || c.Seq > info.Last || c.Seq == 0 {
		return false, nil
	}
	found, present := "", false
	err := source.Scan(ctx, eventstore.Filter{From: c.Seq, To: c.Seq}, func(at eventstore.Committed, err error) error {
		if err != nil && !errors.Is(err, eventstore.ErrCorrupt) {
			return err
		}
		found, present = at.Hash, true
		return nil
	})
	if err != nil {
		return false, err
	}
	if present {
		return found == c.Hash, nil
	}
	return c.compacted(ctx, source)
}

// compacted reports whether the session of the checkpoint has ended in a
// tombstone behind it, so that its commit is gone for a good reason.
func (c Checkpoint) compacted(ctx context.Context, source Source) (bool, error) {
	if c.Session == "" {
		return false, nil
	}
	a, err := load(ctx, source, eventstore.Key{User: c.User, Session: c.Session})
	if errors.Is(err, eventstore.ErrCorrupt) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return a.Session.Gone != nil && a.Seq > c.Seq, nil
}
