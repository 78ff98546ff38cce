package domain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Blocker says in one sentence why a PENDING step can't be claimed at that
// time, or completed if it is manual; it is empty for a step that is ready.
func (s *Session) Blocker(chain, step string, now time.Time) string {
	c := s.Chain(chain)
	if c == nil {
		return fmt.Sprintf("there is no chain %q", chain)
	}
	st := c.Step(step)
	if st == nil {
		return fmt.Sprintf("there is no step %q in chain %q", step, chain)
	}
	switch s.State {
	case StateRunning:
	case StatePaused:
		return "the session is PAUSED"
	case StateNone, StatePending, StateCompleted, StateFailed, StateCancelled:
		return fmt.Sprintf("the session is %s", s.State)
	}
	return s.blocker(c, st, now)
}

// clock is the time that counts for what does not run: it stands still while
// the session is PAUSED.
func (s *Session) clock(now time.Time) time.Time {
	if s.State == StatePaused {
		return s.PausedAt
	}
	return now
}

// blocker is Blocker without the state of the session.
func (s *Session) blocker(c *Chain, st *Step, now time.Time) string {
	if st.Status != StepStatusPending {
		return fmt.Sprintf("the step is %s", st.Status)
	}
	if c.Status == ChainStatusFailed || c.Status == ChainStatusCancelled {
		return fmt.Sprintf("its chain is %s", c.Status)
	}
	if waits := s.openWaits(c); len(waits) > 0 {
		return "its chain waits for " + nameAll("chain", waits)
	}
	if waits := c.openWaits(st); len(waits) > 0 {
		return "it waits for " + nameAll("step", waits)
	}
	if st.NotBefore.After(now) {
		return "it is due at " + st.NotBefore.UTC().Format(time.RFC3339Nano)
	}
	return ""
}

// openWaits lists the chains that c waits for and that are not COMPLETED.
func (s *Session) openWaits(c *Chain) []string {
	var open []string
	for _, id := range c.WaitsFor {
		if w := s.Chain(id); w != nil && w.Status != ChainStatusCompleted {
			open = append(open, id)
		}
	}
	return open
}

// openWaits lists the steps that st waits for and that are not done.
func (c *Chain) openWaits(st *Step) []string {
	var open []string
	for _, id := range st.WaitsFor {
		if w := c.Step(id); w != nil && !w.Status.Done() {
			open = append(open, id)
		}
	}
	return open
}

// waits reports whether there are such steps.
func (c *Chain) waits(st *Step) bool {
	return slices.ContainsFunc(st.WaitsFor, func(id string) bool {
		w := c.Step(id)
		return w != nil && !w.Status.Done()
	})
}

func nameAll(kind string, ids []string) string {
	if len(ids) > 1 {
		kind += "s"
	}
	return kind + " " + strings.Join(ids, ", ")
}

// StepRef names a step of a session.
type StepRef struct {
	Chain string `json:"chain"`
	Step  string `json:"step"`
}

// Ready is a step that waits for a worker, now or from a time on.
type Ready struct {
	StepRef
	Action string
	// Attempt is the number that its claim will get.
	Attempt int
	// NotBefore is zero, or when the backoff is over.
	NotBefore time.Time
}

// Ready lists the steps that workers may claim, now or as soon as their backoff
// is over. Manual steps are not among them.
func (s *Session) Ready() []Ready {
	if s.State != StateRunning {
		return nil
	}
	var ready []Ready
	for _, c := range s.Chains {
		if !c.Status.Unfinished() || len(s.openWaits(c)) > 0 {
			continue
		}
		for _, st := range c.Steps {
			if st.Status == StepStatusPending && !st.Manual && !c.waits(st) {
				ready = append(ready, Ready{StepRef{c.ID, st.ID}, st.Action, st.Attempt + 1, st.NotBefore})
			}
		}
	}
	return ready
}

// Timer is a time at which the engine has to look at the session.
type Timer struct {
	At time.Time
	// Step is empty for the session's own timeout.
	Step StepRef
	// Attempt names the attempt whose deadline it is; 0 for a manual step.
	Attempt int
}

// Timers lists the deadlines that are running: of the session, of attempts in
// flight and of manual steps that are ready.
func (s *Session) Timers() []Timer {
	var timers []Timer
	if s.State == StateRunning && !s.Deadline.IsZero() {
		timers = append(timers, Timer{At: s.Deadline})
	}
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.Deadline.IsZero() {
				continue
			}
			switch {
			case st.Status == StepStatusRunning:
				timers = append(timers, Timer{At: st.Deadline, Step: StepRef{c.ID, st.ID}, Attempt: st.Attempt})
			case st.Status == StepStatusPending && s.State == StateRunning:
				timers = append(timers, Timer{At: st.Deadline, Step: StepRef{c.ID, st.ID}})
			}
		}
	}
	return timers
}
