package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"

	"reprise/contract"
	"reprise/domain"
	"reprise/worker"
)

// board is the session of a run as its commits made it, and what its steps say
// in this process. It is safe for concurrent use.
type board struct {
	mu      sync.Mutex
	session *domain.Session
	here    map[domain.StepRef]*attemptHere
}

// attemptHere is an attempt that this process executes.
type attemptHere struct {
	task *worker.Task
	stop context.CancelCauseFunc
}

func newBoard(s *domain.Session) *board {
	return &board{session: s, here: map[domain.StepRef]*attemptHere{}}
}

// Session returns the session now; it must not be changed.
func (b *board) Session() *domain.Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// replace puts a newer session up.
func (b *board) replace(s *domain.Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session = s
	b.stopOver()
}

// apply folds a commit. The error says that this program does not know one of
// its events.
func (b *board) apply(entry contract.CommitEntry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if entry.Version <= b.session.Version {
		return nil
	}
	c, err := commitOf(b.session, entry)
	if err != nil {
		return err
	}
	b.session = domain.Apply(b.session, c)
	b.stopOver()
	return nil
}

// commitOf reads the events of a commit.
func commitOf(s *domain.Session, entry contract.CommitEntry) (*domain.Commit, error) {
	c := &domain.Commit{
		ID: entry.Commit, Session: s.ID, User: s.User, Version: entry.Version, Time: entry.Time,
		Actor: entry.Actor, Cause: entry.Cause, State: entry.State, Prev: entry.Prev,
	}
	for _, e := range entry.Events {
		event := domain.NewEvent(e.Type)
		if event == nil {
			return nil, fmt.Errorf("an event of type %q is unknown here", e.Type)
		}
		if err := json.Unmarshal(e.Data, event); err != nil {
			return nil, fmt.Errorf("the event %s can't be read: %w", e.Type, err)
		}
		c.Events = append(c.Events, event)
	}
	return c, nil
}

// observed wraps a handler so that the board knows its attempts, and ends them
// as soon as the events say that they are over. The next heartbeat would do that
// too, but later.
func (b *board) observed(h worker.Handler) worker.Handler {
	return func(ctx context.Context, t *worker.Task) (any, error) {
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		ref := domain.StepRef{Chain: t.Chain, Step: t.Step}
		b.began(ref, &attemptHere{task: t, stop: stop})
		defer b.ended(ref, t)
		return h(ctx, t)
	}
}

func (b *board) began(ref domain.StepRef, a *attemptHere) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.here[ref] = a
	b.stopOver()
}

func (b *board) ended(ref domain.StepRef, t *worker.Task) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.here[ref]; a != nil && a.task == t {
		delete(b.here, ref)
	}
}

// stopOver stops attempts that are over. One that the events don't have yet goes on.
func (b *board) stopOver() {
	for ref, a := range b.here {
		st := b.session.Step(ref.Chain, ref.Step)
		switch {
		case b.session.State == domain.StateCancelled, b.session.Gone != nil:
			a.stop(worker.ErrCancelled)
		case st == nil || st.Attempt < a.task.Attempt:
		case st.Attempt > a.task.Attempt, st.Status != domain.StepStatusRunning:
			a.stop(worker.ErrInterrupted)
		}
	}
}

// lastLines returns what the attempts in this process said last.
func (b *board) lastLines() map[domain.StepRef]string {
	b.mu.Lock()
	here := maps.Clone(b.here)
	b.mu.Unlock()
	lines := make(map[domain.StepRef]string, len(here))
	for ref, a := range here {
		p := a.task.Snapshot()
		if p.Percent > 0 {
			p.Line = fmt.Sprintf("%d%% %s", p.Percent, p.Line)
		}
		if p.Line != "" {
			lines[ref] = p.Line
		}
	}
	return lines
}
