package projections

import (
	"context"
	"errors"
	"iter"

	"reprise/eventstore"
)

// Fault says what is wrong with a view.
type Fault string

// The faults.
const (
	// FaultMissing: there is none, although there is a session.
	FaultMissing Fault = "missing"
	// FaultWrong: it is not that of the events.
	FaultWrong Fault = "wrong"
	// FaultDead: there is one, but no such session, or no more.
	FaultDead Fault = "dead"
)

// Finding is a view that is not as it should be.
type Finding struct {
	Key   eventstore.Key
	Fault Fault
}

// Head is the last commit of a session.
type Head struct {
	Seq uint64
	// Ended says that it is a tombstone.
	Ended bool
}

// Compare finds the views that are not those of the events, and changes
// nothing. heads are the last commits of all sessions, for a caller who has just
// read them; if nil the event stream is read. Any instance may; views that are
// on their way are left out. Views of a newer schema are not looked at.
func (v *Views) Compare(ctx context.Context, heads iter.Seq2[eventstore.Key, Head]) ([]Finding, error) {
	s := newSweeper(v)
	if heads != nil {
		s.read = func(_ context.Context, fn func(eventstore.Key, Head)) error {
			for key, h := range heads {
				fn(key, h)
			}
			return nil
		}
	}
	suspects, err := s.suspects(ctx)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, key := range suspects {
		fault, err := s.examine(ctx, key)
		if errors.Is(err, eventstore.ErrCorrupt) {
			v.cfg.Report(err)
			continue
		}
		if err != nil {
			return found, err
		}
		if fault != "" {
			found = append(found, Finding{Key: key, Fault: fault})
		}
	}
	return found, nil
}

// examine says what is wrong with a view; "" for nothing.
func (s *sweeper) examine(ctx context.Context, key eventstore.Key) (Fault, error) {
	v := s.v
	a, err := load(ctx, v.cfg.Source, key)
	if err != nil {
		return "", err
	}
	stored, err := v.cfg.Store.Get(ctx, key.String())
	if err != nil && !errors.Is(err, ErrNoView) {
		return "", err
	}
	switch e, err := parseEntry(stored.Key, stored.Index); {
	case a.Seq > s.covered, v.waiting(key), v.same(a, stored):
		return "", nil
	case stored.Body == nil:
		return FaultMissing, nil
	case err == nil && e.Schema > eventstore.SchemaVersion:
		return "", nil
	case !a.Session.Exists():
		return FaultDead, nil
	}
	return FaultWrong, nil
}

// waiting reports whether the view of a session is to be written anyway.
func (v *Views) waiting(key eventstore.Key) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, marked := v.dirty[key]
	return marked
}

// Heal has the views of these sessions written anew from the events, or removed
// where there is no such session, and waits until that is done. Only on the
// instance that runs the views, else ErrStandby.
func (v *Views) Heal(ctx context.Context, keys ...eventstore.Key) error {
	v.mu.Lock()
	holding := v.holding
	v.mu.Unlock()
	if !holding {
		return ErrStandby
	}
	for _, key := range keys {
		a, err := load(ctx, v.cfg.Source, key)
		if err != nil {
			return err
		}
		if v.heal(key) {
			v.cfg.Healed(a)
		}
	}
	return v.settle(ctx)
}

// settle waits until everything that is marked now is put.
func (v *Views) settle(ctx context.Context) error {
	job := rebuild{done: make(chan error, 1), flush: true}
	v.mu.Lock()
	ended := v.ended
	v.mu.Unlock()
	select {
	case v.jobs <- job:
	case <-ended:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-job.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
