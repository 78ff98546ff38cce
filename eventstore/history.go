package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
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

// commits is Commits up to a given message. It goes from block to block, so that
// it need not walk all the way back first.
func (s *Store) commits(ctx context.Context, head Message, fromVersion uint64, fn func(Committed) error) error {
	seg := segment{s: s, from: max(fromVersion, 1), fn: fn}
	top, missing := s.whole(head), false
	rest := tail{s: s, head: head, from: top}
	defer rest.close()
	for n := BlockOf(seg.from); n < top; {
		if n == top-1 {
			rest.start(ctx)
		}
		a := s.anchor(ctx, head.Key, n)
		if a == nil {
			missing = true
			n++
			continue
		}
		if err := seg.upTo(ctx, hints{block: a.block}, a.message); err != nil {
			return err
		}
		n = nextBlock(a.Commit)
	}
	err := seg.upTo(ctx, hints{have: rest.wait()}, head)
	if missing {
		s.lacking(head.Key)
	}
	return err
}

// segment delivers the commits of a history, oldest first, in parts.
type segment struct {
	s      *Store
	from   uint64
	fn     func(Committed) error
	before *Committed // the last one delivered
}

// upTo delivers the commits up to a message: behind those that were delivered,
// or from the one that holds the first version.
func (g *segment) upTo(ctx context.Context, h hints, head Message) error {
	var newestFirst []decoded
	reached := false
	err := g.s.walkIn(ctx, h, head, func(m Message) (bool, error) {
		if g.before != nil && m.Seq <= g.before.Seq {
			reached = true
			return false, nil
		}
		c := g.s.decoded(m)
		newestFirst = append(newestFirst, c)
		reached = g.before == nil && c.err == nil && c.Commit.Version <= g.from
		return !reached, nil
	})
	if err != nil || len(newestFirst) == 0 {
		return err
	}
	if !reached && g.before == nil {
		newestFirst = sinceTombstone(newestFirst)
	}
	return g.deliver(newestFirst)
}

func (g *segment) deliver(newestFirst []decoded) error {
	for _, c := range slices.Backward(newestFirst) {
		err := c.err
		if err == nil {
			err = g.s.joins(g.before, c.Committed, g.from)
		}
		if err == nil {
			err = g.fn(c.Committed)
		}
		if err != nil {
			return err
		}
		g.before = &c.Committed
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
// the tombstone is what there is at any cut. It does not remember command ids.
func (s *Store) At(ctx context.Context, key Key, cut Cut) (Aggregate, error) {
	last, err := s.last(ctx, key)
	if err != nil || last.Seq == 0 {
		return empty(key), err
	}
	from, found := s.blockBefore(ctx, last, cut)
	agg, err := s.foldTo(ctx, last, from, cut)
	if found && errors.Is(err, ErrCorrupt) {
		agg, err = s.foldTo(ctx, last, empty(key), cut)
	}
	if err != nil {
		return Aggregate{}, err
	}
	agg.Session = forgetful(agg.Session)
	return agg, nil
}

// foldTo folds the commits behind an aggregate, up to a cut.
func (s *Store) foldTo(ctx context.Context, head Message, agg Aggregate, cut Cut) (Aggregate, error) {
	err := s.commits(ctx, head, agg.Session.Version+1, func(c Committed) error {
		if c.Seq <= agg.Seq {
			return nil
		}
		if cut.before(c) && (agg.Seq > 0 || c.Commit.Tombstone() == nil || c.Commit.Version == 1) {
			return errCut
		}
		next, err := advance(agg, c)
		s.reportDamage(err)
		agg = next
		return err
	})
	if errors.Is(err, errCut) {
		err = nil
	}
	return agg, err
}

// blockBefore returns the newest state before a cut that is kept with a block;
// the empty one and false if there is none. What the blocks say of themselves
// only guides the search; the one that it ends at has to prove itself.
func (s *Store) blockBefore(ctx context.Context, head Message, cut Cut) (Aggregate, bool) {
	top := s.whole(head)
	switch {
	case cut.Version > 0:
		top = min(top, BlockOf(cut.Version+1))
	case cut.Seq < head.Seq:
		top = uint64(sort.Search(int(top), func(n int) bool {
			a := s.anchor(ctx, head.Key, uint64(n))
			return a == nil || cut.before(a.Committed)
		}))
	}
	for n := top; n > 0; n-- {
		a := s.anchor(ctx, head.Key, n-1)
		if a == nil || cut.before(a.Committed) {
			continue
		}
		if agg, ok := a.aggregate(); ok {
			return agg, true
		}
	}
	return empty(head.Key), false
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
	head, b := s.near(ctx, head, known.Version)
	err = s.walkIn(ctx, hints{block: b}, head, func(m Message) (bool, error) {
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
