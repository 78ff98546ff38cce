package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Commits calls fn for the commits of a session from the one that holds a
// version on, oldest first. The hash chain is verified for all of them. At a
// commit that can't be used it stops with a *CommitError, after it has called
// fn for those before. An error of fn ends it and is returned as it is.
func (s *Store) Commits(ctx context.Context, key Key, fromVersion uint64, fn func(Committed) error) error {
	last, err := s.last(ctx, key)
	if err != nil || last.Seq == 0 {
		return err
	}
	return s.commits(ctx, last, fromVersion, fn)
}

// commits is Commits up to a given message.
func (s *Store) commits(ctx context.Context, head Message, fromVersion uint64, fn func(Committed) error) error {
	var newestFirst []decoded
	reached := false
	err := s.walk(ctx, head, func(m Message) (bool, error) {
		c := s.decoded(m)
		newestFirst = append(newestFirst, c)
		reached = c.err == nil && c.Commit.Version <= max(fromVersion, 1)
		return !reached, nil
	})
	if err != nil || len(newestFirst) == 0 {
		return err
	}
	if !reached {
		newestFirst = sinceTombstone(newestFirst)
	}
	var before *Committed
	for _, c := range slices.Backward(newestFirst) {
		err := c.err
		if err == nil {
			err = s.joins(before, c.Committed, fromVersion)
		}
		if err == nil {
			err = fn(c.Committed)
		}
		if err != nil {
			return err
		}
		before = &c.Committed
	}
	return nil
}

// joins checks that a commit follows on the one before. The first one of a walk
// has none: it holds the version that was asked for, or it begins the history.
func (s *Store) joins(before *Committed, c Committed, fromVersion uint64) error {
	if before != nil {
		return s.linked(*before, c)
	}
	if c.Commit.Version > 1 && c.Commit.Version <= fromVersion {
		return nil
	}
	err := follows(empty(c.Key), c)
	s.reportDamage(err)
	return err
}

// At returns the aggregate as it was at a cut. Its session does not exist if
// the cut is before the first commit; of a session whose history was compacted
// the tombstone is what there is at any cut.
func (s *Store) At(ctx context.Context, key Key, cut Cut) (Aggregate, error) {
	agg := empty(key)
	err := s.Commits(ctx, key, 0, func(c Committed) error {
		if cut.before(c) && (agg.Seq > 0 || c.Commit.Tombstone() == nil || c.Commit.Version == 1) {
			return errCut
		}
		next, err := advance(agg, c)
		s.reportDamage(err)
		agg = next
		return err
	})
	if err != nil && !errors.Is(err, errCut) {
		return Aggregate{}, err
	}
	return agg, nil
}

// errCut ends the replay of At.
var errCut = errors.New("the commit is beyond the cut")

// before reports whether the cut lies before a commit.
func (cut Cut) before(c Committed) bool {
	switch {
	case cut.Version > 0:
		return c.Commit.LastVersion() > cut.Version
	case cut.Seq > 0:
		return c.Seq > cut.Seq
	}
	return c.Commit.Time.After(cut.Time)
}

// FindCommand returns the commit of a command that the aggregate remembers, to
// answer the same command again. It reports false for one that it does not
// remember.
func (s *Store) FindCommand(ctx context.Context, agg Aggregate, id string) (Committed, bool, error) {
	known, ok := agg.Session.FindRecent(id)
	if !ok {
		return Committed{}, false, nil
	}
	head, err := s.driver.Get(ctx, agg.Seq)
	if err != nil {
		return Committed{}, false, fmt.Errorf("session %s, sequence %d: %w", agg.Key, agg.Seq, err)
	}
	var found Committed
	err = s.walk(ctx, head, func(m Message) (bool, error) {
		c, err := s.decode(m)
		if err != nil || c.Commit.Version > known.Version {
			return true, err
		}
		if c.Commit.ID == id && c.Commit.Version == known.Version {
			found = c
		}
		return false, nil
	})
	return found, found.Commit != nil, err
}

// Compact removes the history before the tombstone of a session that is gone.
// It may be called again.
func (s *Store) Compact(ctx context.Context, agg Aggregate) error {
	if agg.Session == nil || agg.Session.Gone == nil || agg.Seq == 0 {
		return fmt.Errorf("session %s: only a session with a tombstone can be compacted", agg.Key)
	}
	return s.driver.Compact(ctx, agg.Key, agg.Seq)
}
