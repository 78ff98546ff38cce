package projections

import (
	"cmp"
	"slices"
	"time"
	"unique"

	"reprise/domain"
)

// maxHeaderActions is how many actions the header of a view names: the server
// takes 64 KB of headers in a message.
const maxHeaderActions = 64

// Waits says what the steps of a session wait for, by their actions. It is never
// changed once it is in a row.
type Waits struct {
	// Ready are the actions of steps that workers may claim, now or when their
	// backoff is over, in the order of their names.
	Ready []ReadyAction `json:"ready,omitempty"`
	// InFlight are the actions of steps in flight, in the order of their names.
	InFlight []string `json:"inFlight,omitempty"`
	// Person says that a manual step is ready, Plan that nothing is left to do
	// until somebody adds to an open chain or session, or closes it.
	Person bool `json:"person,omitempty"`
	Plan   bool `json:"plan,omitempty"`
	// Cut says that there are more actions than a header has room for.
	Cut bool `json:"cut,omitempty"`
}

// ReadyAction are the ready steps of one action.
type ReadyAction struct {
	Action string `json:"action"`
	Steps  int    `json:"steps"`
	// First is when the first of them may be claimed, and Last when the last of
	// them; zero is at once.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// waitsOf returns what a session waits for, nil for nothing.
func waitsOf(s *domain.Session) *Waits {
	w := Waits{Person: len(s.Manual()) > 0, Plan: s.AwaitsPlan()}
	for _, r := range s.Ready() {
		w.ready(r)
	}
	if s.InFlight > 0 {
		w.flights(s)
	}
	if len(w.Ready) == 0 && len(w.InFlight) == 0 && !w.Person && !w.Plan {
		return nil
	}
	return &w
}

// ready adds a step.
func (w *Waits) ready(r domain.Ready) {
	at, known := slices.BinarySearchFunc(w.Ready, r.Action, func(a ReadyAction, action string) int { return cmp.Compare(a.Action, action) })
	if !known {
		w.Ready = slices.Insert(w.Ready, at, ReadyAction{Action: r.Action, First: r.NotBefore, Last: r.NotBefore})
	}
	a := &w.Ready[at]
	a.Steps++
	if r.NotBefore.Before(a.First) {
		a.First = r.NotBefore
	}
	if r.NotBefore.After(a.Last) {
		a.Last = r.NotBefore
	}
}

// flights adds the steps in flight.
func (w *Waits) flights(s *domain.Session) {
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.Status != domain.StepStatusRunning || st.Manual {
				continue
			}
			if at, known := slices.BinarySearch(w.InFlight, st.Action); !known {
				w.InFlight = slices.Insert(w.InFlight, at, st.Action)
			}
		}
	}
}

// bounded returns what a header has room for.
func (w *Waits) bounded() *Waits {
	if w == nil || len(w.Ready) <= maxHeaderActions && len(w.InFlight) <= maxHeaderActions {
		return w
	}
	some := *w
	some.Ready = some.Ready[:min(len(some.Ready), maxHeaderActions)]
	some.InFlight = some.InFlight[:min(len(some.InFlight), maxHeaderActions)]
	some.Cut = true
	return &some
}

// equal reports whether both say the same.
func (w *Waits) equal(other *Waits) bool {
	if w == nil || other == nil {
		return w == other
	}
	return w.Person == other.Person && w.Plan == other.Plan && w.Cut == other.Cut &&
		slices.Equal(w.InFlight, other.InFlight) && slices.Equal(w.Ready, other.Ready)
}

// append writes what domain.Marshal does.
func (w *Waits) append(to *domain.Appender) {
	to.Raw("{")
	if len(w.Ready) > 0 {
		to.Name("ready")
		domain.Array(to, w.Ready, func(a ReadyAction) {
			to.Raw("{")
			to.String("action", a.Action)
			to.Int("steps", a.Steps)
			to.TimeOpt("first", a.First)
			to.TimeOpt("last", a.Last)
			to.Raw("}")
		})
	}
	domain.TextsOpt(to, "inFlight", w.InFlight)
	to.BoolOpt("person", w.Person)
	to.BoolOpt("plan", w.Plan)
	to.BoolOpt("cut", w.Cut)
	to.Raw("}")
}

// shared makes the names of actions those that all rows share, and returns w.
func (w *Waits) shared() *Waits {
	if w == nil {
		return nil
	}
	for i := range w.Ready {
		w.Ready[i].Action = unique.Make(w.Ready[i].Action).Value()
	}
	for i := range w.InFlight {
		w.InFlight[i] = unique.Make(w.InFlight[i]).Value()
	}
	return w
}

// ActionLoad is what there is of one action, over all users.
type ActionLoad struct {
	// Ready is the number of steps that workers may claim, now or when their
	// backoff is over.
	Ready int `json:"ready"`
	// InFlight is the number of sessions with a step of the action in flight.
	InFlight int `json:"inFlight"`
}

// burden counts what a session waits for, or no longer does; the caller holds
// the lock.
func (x *Index) burden(w *Waits, by int) {
	if w == nil {
		return
	}
	for _, r := range w.Ready {
		x.load(r.Action, by*r.Steps, 0)
	}
	for _, action := range w.InFlight {
		x.load(action, 0, by)
	}
}

func (x *Index) load(action string, ready, inFlight int) {
	l := x.loads[action]
	if l == nil {
		l = &ActionLoad{}
		x.loads[action] = l
	}
	l.Ready += ready
	l.InFlight += inFlight
	if *l == (ActionLoad{}) {
		delete(x.loads, action)
	}
}

// Actions returns what there is of every action with a step that is ready or in
// flight, over all users. It is for operators.
func (x *Index) Actions() map[string]ActionLoad {
	x.mu.RLock()
	defer x.mu.RUnlock()
	loads := make(map[string]ActionLoad, len(x.loads))
	for action, l := range x.loads {
		loads[action] = *l
	}
	return loads
}
