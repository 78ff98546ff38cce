package projections

import (
	"cmp"
	"math"
	"slices"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// stateCount is the number of session states.
const stateCount = 6

// row is an entry as the index keeps it: small and comparable. It is never
// changed once it is stored.
type row struct {
	user, id         string
	created, updated int64 // Unix time in nanoseconds
	version, seq     uint64
	deadline, due    int64 // 0: none
	message          string
	metadata         map[string]string
	waits            *Waits
	chains, steps    int32
	done, inFlight   int32
	priority         int16
	chainStates      bits
	stepStates       bits
	state            uint8 // its place in domain.States
	held             bool
	proven           bool // from the events, not from a view's header
}

func newRow(e Entry) *row {
	return &row{
		user: e.User, id: e.ID, created: nanos(e.CreatedAt), updated: nanos(e.UpdatedAt),
		version: e.Version, seq: e.Seq, deadline: instant(e.Deadline), due: instant(e.StepDue),
		message: e.Error, metadata: e.Metadata, waits: e.Waits.shared(),
		chains: int32(e.Chains), steps: int32(e.Steps), done: int32(e.StepsDone), inFlight: int32(e.InFlight),
		priority:    int16(e.Priority),
		chainStates: bitsOf(e.ChainStates, chainStatuses),
		stepStates:  bitsOf(e.StepStates, stepStatuses),
		state:       stateIndex(e.State), held: e.Held,
	}
}

// entry returns the row as it was; its metadata must not be changed.
func (r *row) entry() Entry {
	e := Entry{
		Schema: eventstore.SchemaVersion, ID: r.id, User: r.user, State: states[r.state],
		CreatedAt: moment(r.created), UpdatedAt: moment(r.updated), Version: r.version, Seq: r.seq,
		Chains: int(r.chains), Steps: int(r.steps), StepsDone: int(r.done),
		ChainStates: members(r.chainStates, chainStatuses),
		StepStates:  members(r.stepStates, stepStatuses),
		InFlight:    int(r.inFlight), Priority: int(r.priority), Held: r.held, Error: r.message, Metadata: r.metadata,
		Deadline: optional(r.deadline), StepDue: optional(r.due), Waits: r.waits,
	}
	if e.moving() {
		e.Shape = entryShape
	}
	return e
}

// stateIndex returns the place of a state that exists; one that doesn't is a
// programming error.
func stateIndex(s domain.State) uint8 {
	i := slices.Index(states, s)
	if i < 0 {
		panic("projections: a session in state " + string(s))
	}
	return uint8(i)
}

// byCreated and byUpdated are the two orders of the index.
func byCreated(a, b *row) bool {
	return compare(a, b, a.created, b.created) < 0
}

func byUpdated(a, b *row) bool {
	return compare(a, b, a.updated, b.updated) < 0
}

// compare orders by user, state, time and id.
func compare(a, b *row, at, bt int64) int {
	if c := cmp.Compare(a.user, b.user); c != 0 {
		return c
	}
	if c := cmp.Compare(a.state, b.state); c != 0 {
		return c
	}
	if c := cmp.Compare(at, bt); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// nanos returns the Unix time in nanoseconds; what lies outside of the years
// 1678 to 2261 counts as the nearest that can be said.
func nanos(t time.Time) int64 {
	switch year := t.Year(); {
	case year < 1678:
		return math.MinInt64
	case year > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func moment(n int64) time.Time { return time.Unix(0, n).UTC() }

// instant is nanos where the zero time is none.
func instant(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return nanos(t)
}

func optional(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return moment(n)
}
