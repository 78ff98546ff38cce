package domain

import (
	"maps"
	"slices"
)

func (x *decision) create(c *Create) *Rejection {
	s := x.s()
	def, digest, rejected := Normalise(c.Definition)
	if rejected != nil {
		return rejected
	}
	if s.Exists() {
		if s.Definition == digest {
			return nil
		}
		return Reject(CodeExists, s.State, "session %q exists already with another definition; choose another id", s.ID)
	}
	x.emit(&SessionCreated{Definition: def, Digest: digest})
	return nil
}

func (x *decision) start() *Rejection {
	s := x.s()
	if s.StepCount() == 0 && !s.KeepOpen {
		return illegal(s, VerbStart, "start needs at least one step, or keepOpen; add a chain first")
	}
	x.emit(&SessionStarted{})
	x.settle(nil, false)
	return nil
}

func (x *decision) pause(c *Pause) *Rejection {
	s := x.s()
	switch c.Mode {
	case "", PauseDrain, PauseInterrupt:
	default:
		return Invalid("mode", "%.40q is no pause mode; use drain or interrupt", c.Mode)
	}
	interrupt := c.Mode == PauseInterrupt
	if again := s.State == StatePaused && interrupt && s.InFlight > 0; !again {
		if r := check(s, VerbPause); r != nil {
			return r
		}
	}
	if r := checkReason(c.Reason); r != nil {
		return r
	}
	x.emit(&SessionPaused{Mode: c.Mode, Reason: c.Reason})
	if interrupt {
		x.each(func(st *Step) bool { return st.Status == StepStatusRunning }, func(chain string, st *Step) Event {
			return &StepReleased{Chain: chain, Step: st.ID, Attempt: st.Attempt, Reason: "interrupted"}
		})
	}
	if x.s().InFlight == 0 {
		x.emit(&SessionQuiesced{})
	}
	return nil
}

// each emits an event for every step that pick selects.
func (x *decision) each(pick func(*Step) bool, event func(chain string, st *Step) Event) {
	for _, c := range x.base.Chains {
		for _, st := range c.Steps {
			if current := x.s().Step(c.ID, st.ID); current != nil && pick(current) {
				x.emit(event(c.ID, current))
			}
		}
	}
}

func (x *decision) resume() *Rejection {
	var fresh *Failure
	if f := x.s().pausedFailure(); f != nil {
		fresh = f
	}
	x.emit(&SessionResumed{From: StatePaused})
	x.settle(fresh, false)
	return nil
}

func (x *decision) cancel(reason string) *Rejection {
	if r := checkReason(reason); r != nil {
		return r
	}
	unfinished := func(st *Step) bool { return st.Status == StepStatusPending || st.Status == StepStatusRunning }
	x.each(unfinished, func(chain string, st *Step) Event { return &StepCancelled{Chain: chain, Step: st.ID} })
	for _, c := range x.base.Chains {
		if c.Status.Unfinished() {
			x.emit(&ChainCancelled{Chain: c.ID})
		}
	}
	x.emit(&SessionCancelled{Reason: reason})
	return nil
}

func (x *decision) complete() *Rejection {
	s := x.s()
	if !s.KeepOpen {
		return illegal(s, VerbComplete, "complete needs a session that was created with keepOpen; this one completes with its last chain")
	}
	if c := s.unfinishedChain(); c != nil {
		return illegal(s, VerbComplete, "complete needs every chain COMPLETED, and chain %q is %s", c.ID, c.Status)
	}
	x.emit(&SessionCompleted{})
	return nil
}

func (x *decision) delete(c *Delete) *Rejection {
	s := x.s()
	if s.Hold != nil {
		return held(s, VerbDelete)
	}
	if r := checkReason(c.Reason); r != nil {
		return r
	}
	if s.State == StateRunning && c.Force {
		if r := x.cancel(c.Reason); r != nil {
			return r
		}
	} else if r := check(s, VerbDelete); r != nil {
		return r
	}
	x.emit(&SessionDeleted{Reason: c.Reason, Force: c.Force})
	x.bury(Tombstone{Reason: c.Reason})
	return nil
}

func (x *decision) purge(c *Purge) *Rejection {
	s := x.s()
	if s.Hold != nil {
		return held(s, VerbPurge)
	}
	if s.State == StateRunning && c.Cancel {
		if r := x.cancel(c.Reason); r != nil {
			return r
		}
	} else if r := check(s, VerbPurge); r != nil {
		return r
	}
	x.bury(Tombstone{Reason: c.Reason, Policy: c.Policy, Archive: c.Archive})
	return nil
}

// bury emits the tombstone.
func (x *decision) bury(t Tombstone) {
	base := x.base
	t.By, t.Time, t.State, t.Head = x.env.Actor, x.now(), x.s().State, x.env.Head
	t.FirstTime, t.LastTime, t.Version, t.Commits = base.CreatedAt, base.UpdatedAt, base.Version, base.Commits
	x.emit(&SessionPurged{Tombstone: t})
}

func held(s *Session, verb Verb) *Rejection {
	return Reject(CodeHeld, s.State, "cannot %s session %q: it is on hold by %s since %s; release the hold first",
		verb, s.ID, s.Hold.By, s.Hold.Since.UTC().Format("2006-01-02"))
}

func (x *decision) hold(c *PutHold) *Rejection {
	if x.s().Hold != nil {
		return Reject(CodeAlready, x.s().State, "session %q is already on hold", x.s().ID)
	}
	if r := checkReason(c.Reason); r != nil {
		return r
	}
	x.emit(&SessionHeld{Reason: c.Reason})
	return nil
}

func (x *decision) unhold(c *ReleaseHold) *Rejection {
	if x.s().Hold == nil {
		return Reject(CodeAlready, x.s().State, "session %q is not on hold", x.s().ID)
	}
	if r := checkReason(c.Reason); r != nil {
		return r
	}
	x.emit(&SessionUnheld{Reason: c.Reason})
	return nil
}

func (x *decision) setMetadata(c *SetMetadata) *Rejection {
	e := &MetadataSet{}
	next := map[string]string{}
	maps.Copy(next, x.s().Metadata)
	for k, v := range c.Set {
		if old, ok := next[k]; !ok || old != v {
			if e.Set == nil {
				e.Set = map[string]string{}
			}
			e.Set[k] = v
		}
		next[k] = v
	}
	for _, k := range c.Remove {
		if _, both := c.Set[k]; both {
			return Invalid("remove", "key %.80q is both set and removed", k)
		}
		if _, ok := next[k]; ok {
			e.Removed = append(e.Removed, k)
			delete(next, k)
		}
	}
	if len(c.Set)+len(c.Remove) == 0 {
		return Invalid("set", "nothing to set or remove")
	}
	if r := checkMetadata("set", next); r != nil {
		return r
	}
	if len(e.Set)+len(e.Removed) == 0 {
		return Reject(CodeAlready, x.s().State, "the metadata of session %q is already so", x.s().ID)
	}
	slices.Sort(e.Removed)
	x.emit(e)
	return nil
}

func (x *decision) timeoutSession() *Rejection {
	s := x.s()
	if s.Deadline.IsZero() || x.now().Before(s.Deadline) {
		return illegal(s, VerbSessionTimeout, "its timeout has not passed")
	}
	failure := Failure{
		Code: "session_timeout", Time: x.now(),
		Message: "the session ran past its timeout of " + s.Timeout.String(),
	}
	x.each(func(st *Step) bool { return st.Status == StepStatusRunning }, func(chain string, st *Step) Event {
		f := failure
		f.Chain, f.Step, f.Attempt, f.Worker = chain, st.ID, st.Attempt, st.Worker
		return &StepTimedOut{Chain: chain, Step: st.ID, Attempt: st.Attempt, Worker: st.Worker, Failure: f}
	})
	for _, c := range x.base.Chains {
		if now := x.s().Chain(c.ID); now.Status != ChainStatusFailed && now.Broken() {
			x.emit(&ChainFailed{Chain: c.ID, Step: now.firstBroken().ID})
		}
	}
	x.emit(failed(failure))
	return nil
}
