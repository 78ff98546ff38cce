package projections

import (
	"slices"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// The kinds of waiting in their order; nothing changes them.
var waitings = contract.Waitings()

// The places of the kinds in waitings.
var (
	waitsStart    = waitingBit(contract.WaitingStart)
	waitsPaused   = waitingBit(contract.WaitingPaused)
	waitsNoWorker = waitingBit(contract.WaitingNoWorker)
	waitsWorker   = waitingBit(contract.WaitingWorker)
	waitsBackoff  = waitingBit(contract.WaitingBackoff)
	waitsPerson   = waitingBit(contract.WaitingPerson)
	waitsPlan     = waitingBit(contract.WaitingPlan)
)

func waitingBit(w contract.Waiting) bits { return 1 << slices.Index(waitings, w) }

// Present is what no event says and an answer about waiting needs.
type Present struct {
	// Now is the time of the events' clock: it ends backoffs.
	Now time.Time
	// Known says that Serving is: the actions for whose tasks a worker waits, or
	// did a moment ago. An action with a step in flight is served as well.
	Known   bool
	Serving map[string]bool
}

// knows rejects a filter that needs to know which actions are served, where
// nobody does.
func (p Present) knows(wanted bits) error {
	if p.Known || wanted&(waitsNoWorker|waitsWorker) == 0 {
		return nil
	}
	return domain.Reject(domain.CodeUnavailable, domain.StateNone, "the server does not say at the moment for which actions workers wait; ask again, or without that condition")
}

// mayWaitFor returns what a session in a state, by its place in domain.States, may
// wait for.
func mayWaitFor(state uint8) bits {
	switch states[state] {
	case domain.StatePending:
		return waitsStart
	case domain.StatePaused:
		return waitsPaused
	case domain.StateRunning:
		return waitsNoWorker | waitsWorker | waitsBackoff | waitsPerson | waitsPlan
	case domain.StateNone, domain.StateCompleted, domain.StateFailed, domain.StateCancelled:
	}
	return 0
}

// kinds returns what a session in a state waits for; the caller holds the lock.
func (x *Index) kinds(p Present, state uint8, w *Waits) bits {
	if states[state] != domain.StateRunning {
		return mayWaitFor(state)
	}
	if w == nil {
		return 0
	}
	var found bits
	for _, r := range w.Ready {
		found |= x.readyKinds(p, r)
	}
	if w.Person {
		found |= waitsPerson
	}
	if w.Plan {
		found |= waitsPlan
	}
	return found
}

// readyKinds says what the ready steps of one action wait for.
func (x *Index) readyKinds(p Present, r ReadyAction) bits {
	var found bits
	if r.Last.After(p.Now) {
		found |= waitsBackoff
	}
	switch {
	case r.First.After(p.Now):
	case x.unserved(p, r.Action):
		found |= waitsNoWorker
	default:
		found |= waitsWorker
	}
	return found
}

// unserved reports whether it is known that no worker serves an action: none
// waits for its tasks, and none is at one of its steps. The caller holds the lock.
func (x *Index) unserved(p Present, action string) bool {
	if !p.Known || p.Serving[action] {
		return false
	}
	l := x.loads[action]
	return l == nil || l.InFlight == 0
}

// explain returns what a session in a state waits for, and at most so many of the
// actions that no worker serves; the caller holds the lock.
func (x *Index) explain(p Present, state uint8, w *Waits, limit int) ([]contract.Waiting, []string) {
	kinds := x.kinds(p, state, w)
	if kinds&waitsNoWorker == 0 {
		return members(kinds, waitings), nil
	}
	var unserved []string
	for _, r := range w.Ready {
		if x.readyKinds(p, r)&waitsNoWorker != 0 && len(unserved) < limit {
			unserved = append(unserved, r.Action)
		}
	}
	return members(kinds, waitings), unserved
}

// Waiting returns what a session waits for at the moment, and those of its actions
// that no worker serves.
func (x *Index) Waiting(s *domain.Session) ([]contract.Waiting, []string) {
	present := x.cfg.Present()
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.explain(present, stateIndex(s.State), waitsOf(s), domain.MaxSteps)
}

// Unserved returns the actions with ready steps that no worker serves, and how
// many steps those are; false if the server doesn't say. It is for operators.
func (x *Index) Unserved() (map[string]int, bool) {
	present := x.cfg.Present()
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := map[string]int{}
	for action, l := range x.loads {
		if l.Ready > 0 && x.unserved(present, action) {
			found[action] = l.Ready
		}
	}
	return found, present.Known
}
