package projections

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// maxEntryError bounds the error sentence of an Entry in bytes.
const maxEntryError = 256

// The states and statuses in their order; nothing changes them.
var (
	states        = domain.States()
	chainStatuses = domain.ChainStatuses()
	stepStatuses  = domain.StepStatuses()
)

// Entry is what lists and timers need to know of a session. It is the value of
// the header Reprise-Index of a view, and a row of the index.
type Entry struct {
	Schema    int          `json:"schema"`
	ID        string       `json:"id"`
	User      string       `json:"user"`
	State     domain.State `json:"state"`
	CreatedAt time.Time    `json:"createdAt"`
	UpdatedAt time.Time    `json:"updatedAt"`
	Version   uint64       `json:"version"`
	// Seq is the stream sequence of the session's last commit.
	Seq uint64 `json:"seq"`
	// Chains and Steps are how many there are; StepsDone of those are SUCCESS
	// or SKIPPED.
	Chains    int `json:"chains"`
	Steps     int `json:"steps"`
	StepsDone int `json:"stepsDone"`
	// ChainStates and StepStates are those present, each once, in the order
	// of domain.ChainStatuses and domain.StepStatuses.
	ChainStates []domain.ChainStatus `json:"chainStates,omitempty"`
	StepStates  []domain.StepStatus  `json:"stepStates,omitempty"`
	InFlight    int                  `json:"inFlight"`
	Priority    int                  `json:"priority,omitempty"`
	Held        bool                 `json:"held,omitempty"`
	// Error is the session's error sentence, cut to 256 bytes.
	Error string `json:"error,omitempty"`
	// Metadata holds the declared keys alone.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Deadline is when the session times out; zero if it doesn't.
	Deadline time.Time `json:"deadline,omitzero"`
	// StepDue is the earliest deadline or end of a backoff of a step.
	StepDue time.Time `json:"stepDue,omitzero"`
	// Waits is what a started session waits for; nil for nothing.
	Waits *Waits `json:"waits,omitempty"`
	// Shape is entryShape where Waits may be there; headers that were written
	// before there were Waits have none.
	Shape int `json:"shape,omitempty"`
}

// entryShape is raised when an Entry says something new.
const entryShape = 1

// whole reports whether the entry says everything that the index has to know.
func (e Entry) whole() bool {
	return !e.moving() || e.Shape >= entryShape && (e.Waits == nil || !e.Waits.Cut)
}

// moving reports whether the session may wait for something that its state does
// not say.
func (e Entry) moving() bool { return moving(e.State, e.InFlight) }

func moving(state domain.State, inFlight int) bool {
	return state == domain.StateRunning || inFlight > 0
}

// NewEntry makes the entry of a session; of its metadata it keeps the declared
// keys.
func NewEntry(a eventstore.Aggregate, declared []string) Entry {
	s, t := a.Session, tallyOf(a.Session)
	e := Entry{
		Schema: eventstore.SchemaVersion, ID: a.Key.Session, User: a.Key.User, State: s.State,
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Version: s.Version, Seq: a.Seq,
		Chains: len(s.Chains), Steps: t.all, StepsDone: t.done, InFlight: s.InFlight,
		ChainStates: members(t.chains, chainStatuses), StepStates: members(t.steps, stepStatuses),
		Priority: s.Priority, Held: s.Hold != nil, Error: shortError(s), Metadata: pick(s.Metadata, declared),
		Deadline: s.Deadline, StepDue: t.due,
	}
	if e.moving() {
		e.Waits, e.Shape = waitsOf(s), entryShape
	}
	return e
}

// shortError returns the error sentence of a session, shortened; "" for none.
func shortError(s *domain.Session) string {
	if s.Error == nil {
		return ""
	}
	return cut(s.Error.Message, maxEntryError)
}

// tally is what one pass over the steps of a session counts.
type tally struct {
	chains, steps bits
	all, done     int
	due           time.Time // the earliest deadline or end of a backoff
}

func tallyOf(s *domain.Session) tally {
	var t tally
	for _, c := range s.Chains {
		t.chains.set(slices.Index(chainStatuses, c.Status))
		for _, st := range c.Steps {
			t.step(st)
		}
	}
	return t
}

func (t *tally) step(st *domain.Step) {
	t.steps.set(slices.Index(stepStatuses, st.Status))
	t.all++
	if st.Status.Done() {
		t.done++
	}
	if st.Status != domain.StepStatusPending && st.Status != domain.StepStatusRunning {
		return
	}
	t.due = earlier(t.due, st.Deadline)
	if st.Status == domain.StepStatusPending {
		t.due = earlier(t.due, st.NotBefore)
	}
}

// appendJSON writes the entry as domain.Marshal does.
func (e Entry) appendJSON(buf []byte) ([]byte, error) {
	w := domain.Appender{Buf: buf}
	w.Raw("{")
	w.Int("schema", e.Schema)
	w.String("id", e.ID)
	w.String("user", e.User)
	w.String("state", string(e.State))
	w.Time("createdAt", e.CreatedAt)
	w.Time("updatedAt", e.UpdatedAt)
	w.Uint("version", e.Version)
	w.Uint("seq", e.Seq)
	w.Int("chains", e.Chains)
	w.Int("steps", e.Steps)
	w.Int("stepsDone", e.StepsDone)
	domain.TextsOpt(&w, "chainStates", e.ChainStates)
	domain.TextsOpt(&w, "stepStates", e.StepStates)
	w.Int("inFlight", e.InFlight)
	w.IntOpt("priority", e.Priority)
	w.BoolOpt("held", e.Held)
	w.StringOpt("error", e.Error)
	w.MapOpt("metadata", e.Metadata)
	w.TimeOpt("deadline", e.Deadline)
	w.TimeOpt("stepDue", e.StepDue)
	if e.Waits != nil {
		w.Name("waits")
		e.Waits.append(&w)
	}
	w.IntOpt("shape", e.Shape)
	w.Raw("}")
	return w.Buf, w.Err
}

// Row returns the entry as lists show it.
func (e Entry) Row() contract.Row {
	return contract.Row{
		ID: e.ID, User: e.User, State: e.State, Version: e.Version,
		CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
		Chains: e.Chains, Steps: e.Steps, StepsDone: e.StepsDone, InFlight: e.InFlight,
		Priority: e.Priority, Held: e.Held, Error: e.Error, Metadata: e.Metadata,
	}
}

// parseEntry reads the header of a view and checks that it is of that key.
func parseEntry(key string, header []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(header, &e); err != nil {
		return Entry{}, fmt.Errorf("view %s: header %s: %w", key, contract.HeaderIndex, err)
	}
	if contract.ViewKey(e.User, e.ID) != key || !e.State.Valid() {
		return Entry{}, fmt.Errorf("view %s: header %s is of session %q of user %q in state %q", key, contract.HeaderIndex, e.ID, e.User, e.State)
	}
	return e, nil
}

// bits is a small set of indexes.
type bits uint16

// set adds an index; a negative one, of an unknown status, is left out.
func (b *bits) set(i int) {
	if i >= 0 {
		*b |= 1 << i
	}
}

// bitsOf returns the set of those values that are among all.
func bitsOf[T comparable](values, all []T) bits {
	var b bits
	for _, v := range values {
		b.set(slices.Index(all, v))
	}
	return b
}

func members[T any](b bits, all []T) []T {
	var out []T
	for i, v := range all {
		if b&(1<<i) != 0 {
			out = append(out, v)
		}
	}
	return out
}

// pick returns the entries of m under these keys, nil if there are none.
func pick(m map[string]string, keys []string) map[string]string {
	var out map[string]string
	for _, k := range keys {
		v, ok := m[k]
		if !ok {
			continue
		}
		if out == nil {
			out = make(map[string]string, len(keys))
		}
		out[k] = v
	}
	return out
}

// earlier returns the earlier of two times, where zero is no time.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// cut shortens text to at most n bytes of whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
