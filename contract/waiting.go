package contract

import (
	"time"
)

// Waiting is a kind of thing that a session waits for before it goes on.
type Waiting string

// What a session waits for. A session may wait for several things at once, and
// for some while other steps of it are in flight.
const (
	// WaitingStart: it is PENDING, and nobody has started it.
	WaitingStart Waiting = "start"
	// WaitingPaused: it is PAUSED, and nobody has resumed it.
	WaitingPaused Waiting = "paused"
	// WaitingNoWorker: a step is ready, and no worker serves its action.
	WaitingNoWorker Waiting = "no_worker"
	// WaitingWorker: a step is ready, and a worker that serves its action will take
	// it. It is also said where nobody knows which actions are served.
	WaitingWorker Waiting = "worker"
	// WaitingBackoff: a step is tried again at its time.
	WaitingBackoff Waiting = "backoff"
	// WaitingPerson: a manual step is ready for somebody to complete it.
	WaitingPerson Waiting = "person"
	// WaitingPlan: an open chain, or a session that is kept open, has nothing left
	// to do until somebody adds to it or closes it.
	WaitingPlan Waiting = "plan"
)

// Waitings lists every kind, in the order in which answers name them.
func Waitings() []Waiting {
	return []Waiting{WaitingStart, WaitingPaused, WaitingNoWorker, WaitingWorker, WaitingBackoff, WaitingPerson, WaitingPlan}
}

// RunningStep is a step in flight, with the last sign of life of its worker.
type RunningStep struct {
	Chain   string `json:"chain"`
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`
	Worker  string `json:"worker"`
	// Beat is when the engine last wrote down that the worker is alive; zero
	// until the first heartbeat, and where it can't be read.
	Beat time.Time `json:"beat,omitzero"`
	// Progress is what the worker said then; nil if it said nothing.
	Progress *Progress `json:"progress,omitempty"`
}
