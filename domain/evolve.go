package domain

import (
	"fmt"
	"maps"
	"time"
)

// Evolve returns the state after an event. It is total: an event that does not
// fit the state (which an engine never writes) changes what it can and never
// fails. It panics only for a Go type that is no event of this package.
func Evolve(s *Session, r Recorded) *Session {
	d := newDraft(s)
	d.apply(r)
	return d.s
}

// Apply returns the state after a commit: every event, and what the commit
// itself says (its time, its command id, its place in the queue). It is total.
func Apply(s *Session, c *Commit) *Session {
	d := newDraft(s)
	for i, e := range c.Events {
		d.apply(Recorded{Event: e, Version: c.Version + uint64(i), Time: c.Time, Actor: c.Actor})
	}
	return d.committed(c, s)
}

// Keep returns what Apply makes of a commit to s, the state that the decision was
// made on, when its events led to the decision's Next: it saves folding them a
// second time. It is not for forks and moves to another session, whose payloads
// come from elsewhere and are placed by the fold.
func (d Decision) Keep(s *Session, c *Commit) *Session {
	return newDraft(d.Next).committed(c, s)
}

// committed adds what the commit itself says. The command ids that were known
// before, in the state the commit is of, outlive whatever the events do.
func (d *draft) committed(c *Commit, before *Session) *Session {
	d.s.Commits++
	d.s.UpdatedAt = c.Time
	if c.Queue > 0 {
		d.s.QueueSeq = c.Queue
	}
	d.markManual(c.Time)
	d.s.Recent, d.s.places = remember(before.Recent, before.places, newApplied(c))
	return d.s
}

func (d *draft) apply(r Recorded) {
	d.s.Version, d.sized = r.Version, false
	switch e := r.Event.(type) {
	case *SessionCreated, *SessionForked, *SessionImported:
		d.applyBirth(r)
	case *SessionStarted, *SessionPaused, *SessionQuiesced, *SessionResumed, *SessionCompleted,
		*SessionFailed, *SessionCancelled:
		d.applyState(r)
	case *SessionHeld:
		d.s.Hold = &Hold{Reason: e.Reason, By: r.Actor, Since: r.Time}
	case *SessionUnheld:
		d.s.Hold = nil
	case *SessionDeleted:
	case *SessionPurged:
		d.applyPurged(e)
	case *MetadataSet:
		d.applyMetadata(e)
	case *ChainAdded, *ChainClosed, *ChainStarted, *ChainCompleted, *ChainFailed, *ChainCancelled,
		*ChainRemoved, *ChainMoved, *ChainMovedOut, *ChainMovedIn:
		d.applyChain(r)
	case *StepAdded, *StepStarted, *StepSucceeded, *StepFailed, *StepTimedOut, *StepRetried,
		*StepSkipped, *StepCancelled, *StepReleased:
		d.applyStep(r)
	default:
		panic(fmt.Sprintf("domain: %T is no event", r.Event))
	}
}

func (d *draft) applyBirth(r Recorded) {
	s := d.s
	s.State, s.CreatedAt, s.UpdatedAt = StatePending, r.Time, r.Time
	switch e := r.Event.(type) {
	case *SessionCreated:
		s.Metadata, s.KeepOpen, s.OnFailure = e.Metadata, e.KeepOpen, e.OnFailure
		s.Timeout, s.Priority, s.Definition = e.Timeout, e.Priority, e.Digest
		s.Chains, d.ownChains = make([]*Chain, 0, len(e.Chains)), true
		for _, def := range e.Chains {
			d.addChain(def, len(s.Chains), r.Version)
		}
	case *SessionForked:
		d.adopt(&e.Plan, r.Version)
		s.Parent = &e.Parent
	case *SessionImported:
		d.adopt(&e.Plan, r.Version)
		s.State, s.StartedAt, s.EndedAt = e.Plan.State, e.Plan.StartedAt, e.Plan.EndedAt
		s.Error, s.Hold, s.Parent = e.Plan.Error, e.Plan.Hold, e.Plan.Parent
		s.CreatedAt, s.PausedAt, s.PausedBy = e.Plan.CreatedAt, e.Plan.PausedAt, e.Plan.PausedBy
		s.Deadline, s.Remaining, s.InFlight = e.Plan.Deadline, e.Plan.Remaining, e.Plan.InFlight
		s.Definition = e.Plan.Definition
	}
}

// adopt takes over the plan of another session with the results it carries.
func (d *draft) adopt(plan *Session, version uint64) {
	s := d.s
	s.Metadata, s.KeepOpen, s.OnFailure = plan.Metadata, plan.KeepOpen, plan.OnFailure
	s.Timeout, s.Priority = plan.Timeout, plan.Priority
	s.Chains, d.ownChains = make([]*Chain, 0, len(plan.Chains)), true
	for _, c := range plan.Chains {
		if c != nil {
			d.takeChain(c, len(s.Chains), version)
		}
	}
}

// addChain adds the chain of a definition.
func (d *draft) addChain(def ChainDef, position int, version uint64) {
	c := &Chain{ID: def.ID, Title: def.Title, Status: ChainStatusPending, Open: def.Open, WaitsFor: def.WaitsFor}
	d.insertChain(c, position)
	c.Steps = make([]*Step, 0, len(def.Steps))
	for _, step := range def.Steps {
		d.addStep(c, step, version)
	}
}

func (d *draft) addStep(c *Chain, def StepDef, version uint64) {
	st := &Step{
		ID: def.ID, Title: def.Title, Action: def.Action, Manual: def.Manual,
		Timeout: def.Timeout, Retry: def.Retry, Status: StepStatusPending, WaitsFor: []string{},
	}
	if def.WaitsFor != nil {
		st.WaitsFor = *def.WaitsFor
	}
	st.Input, st.InputRef = d.keep(def.Input, version)
	c.Steps = append(c.Steps, st)
}

// takeChain adds a chain that carries results; its payloads are whole.
func (d *draft) takeChain(from *Chain, position int, version uint64) {
	c := *from
	c.Steps = make([]*Step, 0, len(from.Steps))
	d.insertChain(&c, position)
	for _, step := range from.Steps {
		if step == nil {
			continue
		}
		st := *step
		st.Input, st.Output, st.Error = nil, nil, nil
		c.Steps = append(c.Steps, &st)
		st.Input, st.InputRef = d.keep(step.Input, version)
		st.Output, st.OutputRef = d.keep(step.Output, version)
		if step.Error != nil {
			st.Error = d.keepFailure(*step.Error, version)
		}
	}
}

func (d *draft) applyState(r Recorded) {
	s := d.s
	switch e := r.Event.(type) {
	case *SessionStarted:
		s.State, s.StartedAt = StateRunning, r.Time
		s.Deadline = after(r.Time, s.Timeout)
	case *SessionPaused:
		if s.State != StatePaused {
			d.stopClock(r.Time, Duration(time.Millisecond))
			s.State, s.PausedAt, s.PausedBy = StatePaused, r.Time, r.Actor
		}
	case *SessionQuiesced:
	case *SessionResumed:
		d.applyResumed(r.Time)
	case *SessionCompleted:
		d.end(StateCompleted, r.Time)
		s.Error = nil
	case *SessionFailed:
		d.end(StateFailed, r.Time)
		for _, c := range s.Chains {
			d.stopManual(c)
		}
		s.Error = &e.Failure
		if st := s.Step(e.Failure.Chain, e.Failure.Step); st != nil && st.Error != nil && st.Error.Attempt == e.Failure.Attempt {
			s.Error = st.Error
		}
	case *SessionCancelled:
		d.end(StateCancelled, r.Time)
	}
}

// end closes the session and stops its clock.
func (d *draft) end(state State, now time.Time) {
	d.stopClock(now, 0)
	d.s.State, d.s.EndedAt = state, now
	d.s.PausedAt, d.s.PausedBy = time.Time{}, ""
}

// applyResumed starts the clocks again. What stood still while the session was
// PAUSED (backoffs, manual steps) is due later by the length of the pause. A
// session whose timeout was used up gets a new one.
func (d *draft) applyResumed(now time.Time) {
	s := d.s
	if s.State == StatePaused {
		d.shiftClocks(s.PausedAt, now)
	}
	s.State, s.Error = StateRunning, nil
	s.PausedAt, s.PausedBy, s.EndedAt = time.Time{}, "", time.Time{}
	if s.Timeout > 0 {
		left := s.Remaining
		if left <= 0 {
			left = s.Timeout
		}
		s.Deadline, s.Remaining = after(now, left), 0
	}
}

func (d *draft) applyPurged(e *SessionPurged) {
	t := e.Tombstone
	d.s = &Session{
		ID: d.s.ID, User: d.s.User, State: t.State, OnFailure: d.s.OnFailure,
		CreatedAt: t.FirstTime, UpdatedAt: t.Time,
		Version: d.s.Version, Commits: t.Commits, Gone: &t,
	}
	d.ownChains, d.own = false, nil
}

func (d *draft) applyMetadata(e *MetadataSet) {
	m := d.metadata()
	maps.Copy(m, e.Set)
	for _, k := range e.Removed {
		delete(m, k)
	}
}

func (d *draft) applyChain(r Recorded) {
	switch e := r.Event.(type) {
	case *ChainAdded:
		d.addChain(e.Chain, e.Position, r.Version)
		return
	case *ChainMovedIn:
		d.takeChain(&e.Chain, e.Position, r.Version)
		return
	case *ChainRemoved:
		d.removeChain(e.Chain)
		return
	case *ChainMovedOut:
		d.removeChain(e.Chain)
		return
	}
	id, _ := r.Event.About()
	c := d.chain(id)
	if c == nil {
		return
	}
	switch e := r.Event.(type) {
	case *ChainClosed:
		c.Open = false
	case *ChainStarted:
		c.Status, c.EndedAt = ChainStatusRunning, time.Time{}
		if c.StartedAt.IsZero() {
			c.StartedAt = r.Time
		}
	case *ChainCompleted:
		c.Status, c.EndedAt = ChainStatusCompleted, r.Time
	case *ChainFailed:
		c.Status, c.EndedAt = ChainStatusFailed, r.Time
		d.stopManual(c)
	case *ChainCancelled:
		c.Status, c.EndedAt = ChainStatusCancelled, r.Time
	case *ChainMoved:
		d.removeChain(c.ID)
		d.insertChain(c, e.Position)
	}
}

func (d *draft) applyStep(r Recorded) {
	chain, step := r.Event.About()
	if e, ok := r.Event.(*StepAdded); ok {
		if c := d.chain(chain); c != nil {
			d.addStep(c, e.Step, r.Version)
		}
		return
	}
	st := d.step(chain, step)
	if st == nil {
		return
	}
	if st.Status == StepStatusRunning {
		d.s.InFlight--
	}
	switch e := r.Event.(type) {
	case *StepStarted:
		d.s.InFlight++
		st.Status, st.Attempt, st.Worker = StepStatusRunning, e.Attempt, e.Worker
		st.Lease, st.Deadline, st.StartedAt = e.Lease, e.Deadline, r.Time
		st.NotBefore, st.EndedAt = time.Time{}, time.Time{}
	case *StepSucceeded:
		st.finish(StepStatusSuccess, e.Attempt, e.Worker, r.Time)
		st.Tries++
		st.Error, st.Output, st.OutputRef = nil, nil, nil
		st.Output, st.OutputRef = d.keep(e.Output, r.Version)
	case *StepFailed:
		d.applyBroken(st, e, StepStatusFailed, r)
	case *StepTimedOut:
		d.applyBroken(st, (*StepFailed)(e), StepStatusTimeout, r)
	case *StepRetried:
		d.applyRetried(st, e, r.Version)
	case *StepSkipped:
		st.finish(StepStatusSkipped, st.Attempt, st.Worker, r.Time)
		st.Output, st.OutputRef = nil, nil
		st.Output, st.OutputRef = d.keep(e.Output, r.Version)
	case *StepCancelled:
		st.finish(StepStatusCancelled, st.Attempt, st.Worker, r.Time)
	case *StepReleased:
		st.pend()
	}
}

// applyBroken ends an attempt that failed or timed out.
func (d *draft) applyBroken(st *Step, e *StepFailed, final StepStatus, r Recorded) {
	st.Tries++
	st.Attempt = e.Attempt
	st.Error, st.Output, st.OutputRef = nil, nil, nil
	st.Error = d.keepFailure(e.Failure, r.Version)
	st.Output, st.OutputRef = d.keep(e.Output, r.Version)
	if !e.WillRetry {
		st.finish(final, e.Attempt, e.Worker, r.Time)
		return
	}
	st.pend()
	from := r.Time
	if d.s.State == StatePaused {
		from = d.s.PausedAt
	}
	st.NotBefore = from.Add(e.Backoff.Std())
}

func (d *draft) applyRetried(st *Step, e *StepRetried, version uint64) {
	st.pend()
	st.Tries = 0
	if e.Input != nil {
		st.Input, st.InputRef = nil, nil
		st.Input, st.InputRef = d.keep(e.Input, version)
	}
}

// finish ends a step.
func (st *Step) finish(status StepStatus, attempt int, worker string, now time.Time) {
	st.Status, st.Attempt, st.Worker, st.EndedAt = status, attempt, worker, now
	st.Lease, st.Deadline, st.NotBefore, st.ReadyAt = 0, time.Time{}, time.Time{}, time.Time{}
}

// pend makes a step PENDING and due at once; its attempt number stays.
func (st *Step) pend() {
	st.Status, st.Worker = StepStatusPending, ""
	st.Lease, st.Deadline, st.NotBefore, st.ReadyAt = 0, time.Time{}, time.Time{}, time.Time{}
	st.StartedAt, st.EndedAt = time.Time{}, time.Time{}
}
