package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"reprise/eventstore"
)

const (
	// maxSwept is how many sessions the sweeper remembers; those beyond are
	// found again when somebody asks for them, or at the next start.
	maxSwept = 10_000
	// sweepPause is the pause after a compaction that failed.
	sweepPause = 2 * time.Second
)

// sweeper removes what is left of sessions that are gone but for their
// tombstones. It remembers what failed and tries again. It is safe for
// concurrent use.
type sweeper struct {
	compact func(context.Context, eventstore.Aggregate) error
	log     *slog.Logger
	wake    chan struct{}

	mu      sync.Mutex
	waiting map[eventstore.Key]eventstore.Aggregate
	swept   map[eventstore.Key]struct{}
}

func newSweeper(compact func(context.Context, eventstore.Aggregate) error, log *slog.Logger) *sweeper {
	return &sweeper{
		compact: compact, log: log, wake: make(chan struct{}, 1),
		waiting: map[eventstore.Key]eventstore.Aggregate{}, swept: map[eventstore.Key]struct{}{},
	}
}

// now compacts a session at once, or leaves it to run if that fails.
func (s *sweeper) now(ctx context.Context, a eventstore.Aggregate) {
	if err := s.compact(ctx, a); err != nil {
		s.log.Warn("a deleted session is not compacted yet; it will be tried again", "session", a.Key.String(), "error", err)
		s.later(a)
		return
	}
	s.done(a.Key)
}

// later has a session compacted by run, unless that was done already.
func (s *sweeper) later(a eventstore.Aggregate) {
	s.mu.Lock()
	_, swept := s.swept[a.Key]
	if !swept && len(s.waiting) < maxSwept {
		s.waiting[a.Key] = a
	}
	s.mu.Unlock()
	if swept {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sweeper) done(key eventstore.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, key)
	if len(s.swept) >= maxSwept {
		clear(s.swept)
	}
	s.swept[key] = struct{}{}
}

// left returns the number of sessions that wait to be compacted.
func (s *sweeper) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// next returns a session that waits.
func (s *sweeper) next() (eventstore.Aggregate, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.waiting {
		return a, true
	}
	return eventstore.Aggregate{}, false
}

// run compacts what waits until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		a, ok := s.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-s.wake:
			}
			continue
		}
		if err := s.compact(ctx, a); err != nil {
			s.log.Debug("a deleted session is still not compacted", "session", a.Key.String(), "error", err)
			pause(ctx, sweepPause)
			continue
		}
		s.done(a.Key)
	}
}
