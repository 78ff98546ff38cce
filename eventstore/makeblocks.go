package eventstore

import (
	"context"
	"errors"
)

// MakeBlocks makes the history blocks of a session that are not kept yet, and
// calls put for each, oldest first. It looks for the newest one that is there
// and goes on behind it; with all it looks for every one. The same history
// always gives the same blocks. A session that is gone has none.
//
// The errors are those of Commits and put's.
func (s *Store) MakeBlocks(ctx context.Context, key Key, all bool, put func(Block) error) error {
	head, err := s.last(ctx, key)
	if err != nil || s.blocks == nil || !head.Guarded {
		return err
	}
	c, err := s.decode(head)
	if err != nil || c.Commit.Tombstone() != nil {
		return err
	}
	m := maker{s: s, key: key, top: nextBlock(c.Commit), put: put, kept: map[uint64]bool{}}
	m.agg = empty(key)
	if all {
		m.findFirst(ctx)
	} else {
		m.findLast(ctx)
	}
	if BlockOf(m.agg.Session.Version+1) >= m.top {
		return nil
	}
	err = s.commits(ctx, head, m.agg.Session.Version+1, m.take)
	if errors.Is(err, errCut) {
		return nil
	}
	return err
}

// maker makes the blocks of one session.
type maker struct {
	s    *Store
	key  Key
	top  uint64 // blocks before this one are to be there
	put  func(Block) error
	kept map[uint64]bool
	agg  Aggregate
	seqs []uint64 // of the commits in the block that agg is in
}

// findLast begins behind the newest block that is kept.
func (m *maker) findLast(ctx context.Context) {
	for n := m.top; n > 0; n-- {
		if m.begin(m.s.anchor(ctx, m.key, n-1)) {
			return
		}
	}
}

// findFirst begins behind the last block before which all are kept.
func (m *maker) findFirst(ctx context.Context) {
	gap := false
	for n := uint64(0); n < m.top; {
		a := m.s.anchor(ctx, m.key, n)
		if a != nil && (gap || m.begin(a)) {
			m.kept[n] = true
			n = nextBlock(a.Commit)
			continue
		}
		gap = true
		n++
	}
}

// begin takes the state at the end of a block; false if that can't be.
func (m *maker) begin(a *anchor) bool {
	if a == nil {
		return false
	}
	agg, ok := a.aggregate()
	if ok {
		m.agg = agg
	}
	return ok
}

// take folds one commit, and puts the block that it ends.
func (m *maker) take(c Committed) error {
	if c.Seq <= m.agg.Seq {
		return nil
	}
	var err error
	if m.agg, err = advance(m.agg, c); err != nil {
		m.s.reportDamage(err)
		return err
	}
	m.seqs = append(m.seqs, c.Seq)
	if !EndsBlock(c.Commit) {
		return nil
	}
	if n := BlockOf(c.Commit.Version); !m.kept[n] {
		b, err := NewBlock(n, m.seqs, m.agg)
		if err == nil {
			err = m.put(b)
		}
		if err != nil {
			return err
		}
	}
	m.seqs = m.seqs[:0]
	if nextBlock(c.Commit) >= m.top {
		return errCut
	}
	return nil
}
