package verify

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"reprise/domain"
)

// afterEnd are the events that a COMPLETED or CANCELLED session may still get.
var afterEnd = []domain.EventType{
	domain.TypeSessionHeld, domain.TypeSessionUnheld, domain.TypeMetadataSet,
	domain.TypeSessionDeleted, domain.TypeSessionPurged,
}

// checkCommit checks what a commit may say, given the state before it.
func checkCommit(t *rapid.T, old, next *domain.Session, c *domain.Commit) {
	if old.Gone != nil {
		t.Fatalf("a commit after the tombstone: %s", c.Cause)
	}
	if c.Time.Before(old.UpdatedAt) || !next.UpdatedAt.Equal(c.Time) {
		t.Fatalf("time runs backwards: %s after %s", c.Time, old.UpdatedAt)
	}
	if next.Version != c.LastVersion() || next.Commits != old.Commits+1 {
		t.Fatalf("version %d, commits %d after a commit of versions %d to %d", next.Version, next.Commits, c.Version, c.LastVersion())
	}
	if c.State != next.State {
		t.Fatalf("the commit says %s, the state is %s", c.State, next.State)
	}
	if next.State == domain.StateCompleted && old.State != next.State && next.KeepOpen && c.Cause != domain.VerbComplete && c.Cause != domain.VerbBatch {
		t.Fatalf("%s completed a session that is kept open", c.Cause)
	}
	mends := c.Cause == domain.VerbStepSkip || c.Cause == domain.VerbChainRemove
	if mends && old.State == domain.StateFailed && next.State != domain.StateFailed && slices.ContainsFunc(next.Chains, (*domain.Chain).Broken) {
		t.Fatalf("%s took a session out of FAILED, and another failure remains", c.Cause)
	}
	if c.Cause == domain.VerbResume {
		checkStoodStill(t, old, next, c.Time)
	}
	state := old
	for i, e := range c.Events {
		checkEvent(t, state, e)
		state = domain.Evolve(state, domain.Recorded{Event: e, Version: c.Version + uint64(i), Time: c.Time, Actor: c.Actor})
	}
}

// checkStoodStill checks that a pause took nothing from any clock.
func checkStoodStill(t *rapid.T, paused, next *domain.Session, now time.Time) {
	left := func(at, from time.Time) time.Duration { return max(0, at.Sub(from)) }
	if next.State == domain.StateRunning && paused.Timeout > 0 && !next.Deadline.Equal(now.Add(paused.Remaining.Std())) {
		t.Fatalf("%s were left, and the deadline is %s after the resume", paused.Remaining, next.Deadline.Sub(now))
	}
	for _, c := range paused.Chains {
		for _, old := range c.Steps {
			st := next.Step(c.ID, old.ID)
			if old.Status != domain.StepStatusPending {
				if !st.Deadline.Equal(old.Deadline) {
					t.Fatalf("step %s/%s: a resume moved the deadline of an attempt in flight", c.ID, st.ID)
				}
				continue
			}
			if left(old.NotBefore, paused.PausedAt) != left(st.NotBefore, now) {
				t.Fatalf("step %s/%s: the backoff did not stand still", c.ID, st.ID)
			}
			if !old.Deadline.IsZero() && next.State == domain.StateRunning && old.Deadline.Sub(paused.PausedAt) != st.Deadline.Sub(now) {
				t.Fatalf("step %s/%s: the deadline did not stand still", c.ID, st.ID)
			}
		}
	}
}

// checkEvent checks that an event fits the state it happens to.
func checkEvent(t *rapid.T, s *domain.Session, e domain.Event) {
	ended := s.State == domain.StateCompleted || s.State == domain.StateCancelled
	if ended && !slices.Contains(afterEnd, e.Type()) {
		t.Fatalf("%s after %s", e.Type(), s.State)
	}
	chain, step := e.About()
	st := s.Step(chain, step)
	switch e := e.(type) {
	case *domain.StepStarted:
		if e.Attempt != st.Attempt+1 || st.Status != domain.StepStatusPending || s.State != domain.StateRunning {
			t.Fatalf("attempt %d follows %d of a %s step in a %s session", e.Attempt, st.Attempt, st.Status, s.State)
		}
	case *domain.StepSucceeded:
		if st.Status != domain.StepStatusRunning && !st.Manual {
			t.Fatalf("a %s step succeeded", st.Status)
		}
	case *domain.SessionFailed:
		if s.OnFailure == domain.FailContinue && e.Failure.Code != "session_timeout" && canMove(s) {
			t.Fatalf("a session of policy continue failed, and something can move")
		}
	case *domain.ChainCompleted:
		if c := s.Chain(chain); c.Open || !c.Done() {
			t.Fatalf("chain %s completed before its steps", chain)
		}
	}
}

// canMove says by the words of the design whether a session can still move:
// something is in flight, or a chain is neither COMPLETED, FAILED nor blocked.
func canMove(s *domain.Session) bool {
	stuck := map[string]bool{}
	for range s.Chains {
		for _, c := range s.Chains {
			stuck[c.ID] = c.Status == domain.ChainStatusFailed || slices.ContainsFunc(c.WaitsFor, func(id string) bool { return stuck[id] })
		}
	}
	for _, c := range s.Chains {
		if c.Running() > 0 || c.Status != domain.ChainStatusCompleted && !stuck[c.ID] {
			return true
		}
	}
	return false
}

// checkFold checks that the history alone gives the state.
func checkFold(t *rapid.T, l *lane) {
	fold := domain.New(l.s.User, l.s.ID)
	for _, c := range l.commits {
		fold = domain.Apply(fold, c)
	}
	if a, b := text(t, fold), text(t, l.s); a != b {
		t.Fatalf("the fold is not the state:\n%s\n%s", a, b)
	}
}

// checkState checks what holds of every state.
func checkState(t *rapid.T, s *domain.Session) {
	if s.Gone != nil {
		if len(s.Chains) > 0 || s.Metadata != nil || s.Error != nil {
			t.Fatalf("something is left beside the tombstone")
		}
		return
	}
	checkChains(t, s)
	checkOutcome(t, s)
	checkClocks(t, s)
	if raw := text(t, s); len(raw) > 1<<20 {
		t.Fatalf("the view has %d bytes", len(raw))
	}
}

func checkChains(t *rapid.T, s *domain.Session) {
	inFlight, inline := 0, 0
	for _, c := range s.Chains {
		inFlight += c.Running()
		if s.State.Started() && !c.Open && waitsDone(s, c) && (c.Status == domain.ChainStatusCompleted) != c.Done() {
			t.Fatalf("chain %s is %s, done is %v, in a %s session", c.ID, c.Status, c.Done(), s.State)
		}
		if c.Status == domain.ChainStatusFailed && !c.Broken() {
			t.Fatalf("chain %s is FAILED without a broken step", c.ID)
		}
		for _, st := range c.Steps {
			inline += len(st.Input) + len(st.Output)
			if st.Status == domain.StepStatusRunning && st.Worker == "" {
				t.Fatalf("step %s/%s runs without a worker", c.ID, st.ID)
			}
			if st.Status.Broken() && st.Error == nil {
				t.Fatalf("step %s/%s is %s without an error", c.ID, st.ID, st.Status)
			}
		}
	}
	if inFlight != s.InFlight {
		t.Fatalf("inFlight is %d, %d steps are RUNNING", s.InFlight, inFlight)
	}
	if inline > domain.MaxInlineTotal {
		t.Fatalf("%d bytes of payload in the state", inline)
	}
	idle := []domain.State{domain.StatePending, domain.StateCompleted, domain.StateCancelled}
	if inFlight > 0 && slices.Contains(idle, s.State) {
		t.Fatalf("%d steps RUNNING in a %s session", inFlight, s.State)
	}
}

func waitsDone(s *domain.Session, c *domain.Chain) bool {
	return !slices.ContainsFunc(c.WaitsFor, func(id string) bool {
		w := s.Chain(id)
		return w != nil && w.Status != domain.ChainStatusCompleted
	})
}

// checkOutcome checks the state of the session against its chains.
func checkOutcome(t *rapid.T, s *domain.Session) {
	completed := !slices.ContainsFunc(s.Chains, func(c *domain.Chain) bool { return c.Status != domain.ChainStatusCompleted })
	broken := slices.ContainsFunc(s.Chains, (*domain.Chain).Broken)
	switch s.State {
	case domain.StateCompleted:
		if !completed {
			t.Fatalf("COMPLETED with an unfinished chain")
		}
	case domain.StateRunning, domain.StateFailed:
		if completed && !s.KeepOpen {
			t.Fatalf("every chain is COMPLETED and the session %s", s.State)
		}
	default: // chains of the others may be in any status
	}
	switch s.State {
	case domain.StateFailed:
		if s.Error == nil || !broken && s.Error.Code != "session_timeout" {
			t.Fatalf("FAILED by %+v, and no step is broken", s.Error)
		}
	case domain.StateRunning:
		if s.Error != nil {
			t.Fatalf("RUNNING with an error")
		}
		if broken && !canMove(s) {
			t.Fatalf("RUNNING with a failure, and nothing can move")
		}
		checkAlive(t, s)
	default: // the others have no outcome, or had one
	}
}

// checkAlive checks that a RUNNING session waits for something: an attempt in
// flight, a step that is ready or will be after its backoff, a step to be added
// to an open chain, or the word of the one who keeps it open.
func checkAlive(t *rapid.T, s *domain.Session) {
	if s.KeepOpen || s.InFlight > 0 || slices.ContainsFunc(s.Chains, func(c *domain.Chain) bool { return c.Open }) {
		return
	}
	later := s.UpdatedAt.Add(10 * 365 * 24 * time.Hour)
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if s.Blocker(c.ID, st.ID, later) == "" {
				return
			}
		}
	}
	t.Fatalf("RUNNING, and nothing will ever happen: %s", text(t, s))
}

// checkClocks checks deadlines: they are there exactly for what may run out.
func checkClocks(t *rapid.T, s *domain.Session) {
	if ticking := s.State == domain.StateRunning && s.Timeout > 0; ticking == s.Deadline.IsZero() {
		t.Fatalf("a %s session with a timeout of %s has the deadline %s", s.State, s.Timeout, s.Deadline)
	}
	if s.Remaining < 0 || s.Remaining > s.Timeout {
		t.Fatalf("%s of %s are left", s.Remaining, s.Timeout)
	}
	later := s.UpdatedAt.Add(10 * 365 * 24 * time.Hour)
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			running := st.Status == domain.StepStatusRunning
			ready := st.Manual && s.Blocker(c.ID, st.ID, later) == ""
			if s.State == domain.StateRunning && (running || ready) == st.Deadline.IsZero() && st.Timeout > 0 {
				t.Fatalf("step %s/%s: %s, ready %v, timeout %s, deadline %s", c.ID, st.ID, st.Status, ready, st.Timeout, st.Deadline)
			}
			if st.Deadline.Before(st.ReadyAt) {
				t.Fatalf("step %s/%s is due before it is ready", c.ID, st.ID)
			}
			if st.Timeout == 0 && !st.Deadline.IsZero() {
				t.Fatalf("step %s/%s has a deadline and no timeout", c.ID, st.ID)
			}
		}
	}
}

// checkReady checks that Ready, Blocker and claim say the same of every step.
func checkReady(t *rapid.T, s *domain.Session, now time.Time) {
	if now.Before(s.UpdatedAt) {
		now = s.UpdatedAt
	}
	ready := map[domain.StepRef]bool{}
	for _, r := range s.Ready() {
		ready[r.StepRef] = !r.NotBefore.After(now)
	}
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.Manual {
				continue
			}
			ref := domain.StepRef{Chain: c.ID, Step: st.ID}
			free := s.Blocker(c.ID, st.ID, now) == ""
			claim := &domain.Claim{Chain: c.ID, Step: st.ID, Worker: "w", Action: st.Action}
			_, err := domain.Decide(s, claim, domain.Env{Now: now, CommandID: "try"})
			if ready[ref] != free || free != (err == nil) {
				t.Fatalf("step %s/%s: ready %v, blocker %q, claim %v", c.ID, st.ID, ready[ref], s.Blocker(c.ID, st.ID, now), err)
			}
		}
	}
}
