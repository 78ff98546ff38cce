package domain

// settle propagates upward after a change: chains that are done complete, and
// the session gets its outcome. It is the one place that decides either.
//
// fresh is the failure that this command brought, if it brought one. reopen
// says that the command may give a FAILED session something to do again.
func (x *decision) settle(fresh *Failure, reopen bool) {
	if !x.s().State.Started() || x.s().State == StateCompleted {
		return
	}
	x.settleChains()
	x.settleSession(fresh, reopen)
	x.settleQuiet()
}

// settleChains moves every chain to the status its steps give it; one that
// completes may let another one complete. No chain changes more than twice.
func (x *decision) settleChains() {
	for range 2 * len(x.s().Chains) {
		e := x.s().nextChainOutcome()
		if e == nil {
			return
		}
		x.emit(e)
	}
}

func (s *Session) nextChainOutcome() Event {
	for _, c := range s.Chains {
		if e := s.chainOutcome(c); e != nil {
			return e
		}
	}
	return nil
}

// chainOutcome returns the event that a chain is due, or nil.
func (s *Session) chainOutcome(c *Chain) Event {
	switch c.Status {
	case ChainStatusCompleted, ChainStatusCancelled:
		return nil
	case ChainStatusPending, ChainStatusRunning, ChainStatusFailed:
	}
	broken := c.Broken()
	switch {
	case !c.Open && c.Done() && len(s.openWaits(c)) == 0:
		return &ChainCompleted{Chain: c.ID}
	case c.Status == ChainStatusFailed && !broken:
		return &ChainStarted{Chain: c.ID}
	case c.Status != ChainStatusFailed && broken && !c.canMove():
		return &ChainFailed{Chain: c.ID, Step: c.firstBroken().ID}
	}
	return nil
}

// canMove reports whether a step of a chain with failures is in flight or can
// still become ready.
func (c *Chain) canMove() bool {
	memo := map[string]bool{}
	for _, st := range c.Steps {
		if st.Status == StepStatusRunning || st.Status == StepStatusPending && c.canRun(st, memo) {
			return true
		}
	}
	return false
}

// canRun reports whether nothing that a PENDING step waits for is broken, all
// the way back. A step that waits for itself, which Normalise refuses, can't.
func (c *Chain) canRun(st *Step, memo map[string]bool) bool {
	if known, ok := memo[st.ID]; ok {
		return known
	}
	can := true
	memo[st.ID] = false
	for _, id := range st.WaitsFor {
		w := c.Step(id)
		if w == nil || w.Status.Done() || w.Status == StepStatusRunning {
			continue
		}
		if w.Status != StepStatusPending || !c.canRun(w, memo) {
			can = false
			break
		}
	}
	memo[st.ID] = can
	return can
}

func (c *Chain) firstBroken() *Step {
	var first *Step
	for _, st := range c.Steps {
		if st.Status.Broken() && (first == nil || st.EndedAt.Before(first.EndedAt)) {
			first = st
		}
	}
	return first
}

// settleSession gives the session its outcome.
func (x *decision) settleSession(fresh *Failure, reopen bool) {
	s := x.s()
	switch s.State {
	case StateRunning:
		if o := s.outcome(fresh); o != nil {
			x.emit(o)
		}
	case StateFailed:
		switch {
		case s.finished():
			x.emit(&SessionCompleted{})
		case reopen && s.firstFailure() == nil:
			x.emit(&SessionResumed{From: StateFailed})
		}
	case StatePaused, StatePending, StateCompleted, StateCancelled, StateNone:
	}
}

// outcome returns the event that ends a RUNNING session, or nil.
func (s *Session) outcome(fresh *Failure) Event {
	switch {
	case s.finished():
		return &SessionCompleted{}
	case fresh != nil && s.OnFailure != FailContinue:
		return failed(*fresh)
	}
	if first := s.firstFailure(); first != nil && !s.canMove() {
		return failed(*first)
	}
	return nil
}

// failed makes the event; the stack stays with the step.
func failed(f Failure) Event {
	f.Stack, f.StackRef = "", nil
	return &SessionFailed{Failure: f}
}

// finished reports whether a session completes by itself: all chains COMPLETED
// and not kept open.
func (s *Session) finished() bool {
	return !s.KeepOpen && len(s.Chains) > 0 && s.unfinishedChain() == nil
}

// unfinishedChain returns the first chain that is not COMPLETED.
func (s *Session) unfinishedChain() *Chain {
	for _, c := range s.Chains {
		if c.Status != ChainStatusCompleted {
			return c
		}
	}
	return nil
}

// canMove reports whether anything is in flight or some chain is neither
// COMPLETED nor FAILED nor blocked by a FAILED one.
func (s *Session) canMove() bool {
	if s.InFlight > 0 {
		return true
	}
	memo := map[string]bool{}
	for _, c := range s.Chains {
		if c.Status.Unfinished() && !s.blocked(c, memo) {
			return true
		}
	}
	return false
}

// blocked reports whether a chain waits, over any number of others, for a
// FAILED one.
func (s *Session) blocked(c *Chain, memo map[string]bool) bool {
	if known, ok := memo[c.ID]; ok {
		return known
	}
	memo[c.ID] = false
	for _, id := range c.WaitsFor {
		w := s.Chain(id)
		if w != nil && (w.Status == ChainStatusFailed || w.Status.Unfinished() && s.blocked(w, memo)) {
			memo[c.ID] = true
			break
		}
	}
	return memo[c.ID]
}

// firstFailure returns the failure of the step that broke first and is still
// broken, or nil.
func (s *Session) firstFailure() *Failure {
	var first *Step
	for _, c := range s.Chains {
		if st := c.firstBroken(); st != nil && (first == nil || st.EndedAt.Before(first.EndedAt)) {
			first = st
		}
	}
	if first == nil {
		return nil
	}
	return first.Error
}

// pausedFailure returns the first failure since the session was paused, or nil.
func (s *Session) pausedFailure() *Failure {
	if f := s.firstFailureSince(); f != nil {
		return f.Error
	}
	return nil
}

func (s *Session) firstFailureSince() *Step {
	var first *Step
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			late := st.Status.Broken() && !st.EndedAt.Before(s.PausedAt)
			if late && (first == nil || st.EndedAt.Before(first.EndedAt)) {
				first = st
			}
		}
	}
	return first
}

// settleQuiet says when the last attempt in flight of a PAUSED session is over.
func (x *decision) settleQuiet() {
	if x.base.State == StatePaused && x.base.InFlight > 0 && x.s().State == StatePaused && x.s().InFlight == 0 {
		x.emit(&SessionQuiesced{})
	}
}
