package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// sweeper compares the views with the events: it finds views that came back
// from the dead, that are missing, stale, ahead of the events or of nobody.
type sweeper struct {
	v      *Views
	frozen map[string]bool
	// read calls fn with the last commit of every session, and maybe with earlier
	// ones before.
	read  func(ctx context.Context, fn func(eventstore.Key, Head)) error
	seed  maphash.Seed
	heads map[uint64]seen // by hash of the key; a clash costs one look too many
	// covered is up to where all views were stored when this began. What came
	// behind it is on its way.
	covered uint64
}

// seen is what the events say of a session, and whether it has a view.
type seen struct {
	Head

	viewed bool
}

func newSweeper(v *Views) *sweeper {
	return &sweeper{v: v, read: v.readHeads, seed: maphash.MakeSeed(), heads: map[uint64]seen{}}
}

// readHeads reads the headers of the event stream.
func (v *Views) readHeads(ctx context.Context, fn func(eventstore.Key, Head)) error {
	return v.cfg.Source.Raw(ctx, eventstore.Filter{HeadersOnly: true}, func(m eventstore.Message) error {
		if m.Guarded {
			fn(m.Key, Head{Seq: m.Seq, Ended: strings.Contains(m.Header[contract.HeaderTypes], string(domain.TypeSessionPurged))})
		}
		return nil
	})
}

// sweep marks every view that is not that of the events. It runs beside the
// writer, once at its start.
func (v *Views) sweep(ctx context.Context, frozen map[string]bool) {
	s := newSweeper(v)
	s.frozen = frozen
	if err := s.run(ctx); err == nil {
		v.stats.sweeps.Add(1)
	} else if ctx.Err() == nil {
		v.cfg.Report(fmt.Errorf("the views could not be compared with the events: %w", err))
	}
}

func (s *sweeper) run(ctx context.Context) error {
	suspects, err := s.suspects(ctx)
	if err != nil {
		return err
	}
	for _, key := range suspects {
		if err := s.check(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// suspects returns the sessions whose view may not be that of the events.
func (s *sweeper) suspects(ctx context.Context) ([]eventstore.Key, error) {
	var err error
	if s.covered, err = s.v.covered(ctx); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(key eventstore.Key, h Head) { s.heads[s.hash(key)] = seen{Head: h} })
	if err != nil {
		return nil, err
	}
	suspects, err := s.compare(ctx)
	if err != nil {
		return nil, err
	}
	missing, err := s.missing(ctx)
	return append(suspects, missing...), err
}

// covered returns up to where all views are stored, or were a moment ago: any
// that is not that of the events up to there is wrong.
func (v *Views) covered(ctx context.Context) (uint64, error) {
	v.mu.Lock()
	holding := v.holding
	v.mu.Unlock()
	if holding {
		return v.gate.position(), nil
	}
	c, err := v.cfg.Store.Checkpoint(ctx)
	return c.Seq, err
}

func (s *sweeper) hash(key eventstore.Key) uint64 { return maphash.Comparable(s.seed, key) }

// compare returns the views that differ from the events.
func (s *sweeper) compare(ctx context.Context) ([]eventstore.Key, error) {
	var suspects []eventstore.Key
	err := s.v.cfg.Store.Scan(ctx, false, func(view View) error {
		key, err := parseKey(view.Key)
		if err != nil {
			s.v.cfg.Report(err)
			return nil
		}
		h, known := s.heads[s.hash(key)]
		e, err := parseEntry(view.Key, view.Index)
		if err != nil || !known || h.Ended || e.Seq != h.Seq {
			suspects = append(suspects, key)
		}
		if known {
			h.viewed = true
			s.heads[s.hash(key)] = h
		}
		return nil
	})
	return suspects, err
}

// missing returns the sessions that have no view.
func (s *sweeper) missing(ctx context.Context) ([]eventstore.Key, error) {
	lacking := 0
	for _, h := range s.heads {
		if !h.viewed && !h.Ended {
			lacking++
		}
	}
	if lacking == 0 {
		return nil, nil
	}
	var keys []eventstore.Key
	err := s.read(ctx, func(key eventstore.Key, last Head) {
		if h := s.heads[s.hash(key)]; h.Head == last && !h.viewed && !h.Ended {
			keys = append(keys, key)
		}
	})
	return keys, err
}

// check looks at one suspect and marks it if its view is wrong and not on its
// way anyway.
func (s *sweeper) check(ctx context.Context, key eventstore.Key) error {
	if s.frozen[key.String()] {
		return nil
	}
	a, err := load(ctx, s.v.cfg.Source, key)
	if errors.Is(err, eventstore.ErrCorrupt) {
		s.v.cfg.Report(err)
		return nil
	}
	if err != nil {
		return err
	}
	stored, err := s.v.cfg.Store.Get(ctx, key.String())
	if err != nil && !errors.Is(err, ErrNoView) {
		return err
	}
	if a.Seq <= s.covered && !s.v.same(a, stored) && s.v.heal(key) {
		s.v.cfg.Healed(a)
		s.v.cfg.Report(fmt.Errorf("view %s was not that of the events; it is written anew", key))
	}
	return nil
}

// same reports whether the stored view (without a body: none) is that of the
// session.
func (v *Views) same(a eventstore.Aggregate, stored View) bool {
	if !a.Session.Exists() {
		return stored.Body == nil
	}
	want, err := encodeView(a, v.cfg.Declared)
	return err == nil && bytes.Equal(want.Body, stored.Body) && bytes.Equal(want.Index, stored.Index)
}

// heal marks a session whose view is wrong; false if it was marked already.
// Its state is loaded when its turn comes, so that it can't be an old one.
func (v *Views) heal(key eventstore.Key) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, marked := v.dirty[key]; marked || !v.holding {
		return false
	}
	v.mark(key, eventstore.Aggregate{})
	v.stats.healed.Add(1)
	return true
}
