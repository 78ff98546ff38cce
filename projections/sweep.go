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
	seed   maphash.Seed
	heads  map[uint64]head // by hash of the key; a clash costs one look too many
}

// head is what the events say of a session.
type head struct {
	seq    uint64
	ended  bool // by a tombstone
	viewed bool
}

// sweep marks every view that is not that of the events. It runs beside the
// writer, once at its start.
func (v *Views) sweep(ctx context.Context, frozen map[string]bool) {
	s := &sweeper{v: v, frozen: frozen, seed: maphash.MakeSeed(), heads: map[uint64]head{}}
	if err := s.run(ctx); err != nil && ctx.Err() == nil {
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
	if err := s.v.cfg.Source.Raw(ctx, eventstore.Filter{HeadersOnly: true}, s.note); err != nil {
		return nil, err
	}
	suspects, err := s.compare(ctx)
	if err != nil {
		return nil, err
	}
	missing, err := s.missing(ctx)
	return append(suspects, missing...), err
}

// note keeps the last message of each session.
func (s *sweeper) note(m eventstore.Message) error {
	if m.Guarded {
		ended := strings.Contains(m.Header[contract.HeaderTypes], string(domain.TypeSessionPurged))
		s.heads[s.hash(m.Key)] = head{seq: m.Seq, ended: ended}
	}
	return nil
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
		if err != nil || !known || h.ended || e.Seq != h.seq {
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
		if !h.viewed && !h.ended {
			lacking++
		}
	}
	if lacking == 0 {
		return nil, nil
	}
	var keys []eventstore.Key
	err := s.v.cfg.Source.Raw(ctx, eventstore.Filter{HeadersOnly: true}, func(m eventstore.Message) error {
		if h := s.heads[s.hash(m.Key)]; h.seq == m.Seq && !h.viewed && !h.ended {
			keys = append(keys, m.Key)
		}
		return nil
	})
	return keys, err
}

// check looks at one suspect and marks it if its view is wrong and not about
// to be written anyway.
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
	if !s.v.same(a, stored) && s.v.heal(key) {
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
