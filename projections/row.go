package projections

import (
	"math"
	"slices"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// stateCount is the number of session states.
const stateCount = 6

// row is an entry as the index keeps it: small. The one in the index changes
// under its lock.
type row struct {
	owner            *owner // who has the session; nil in one that is not stored
	id               string
	created, updated int64 // Unix time in nanoseconds
	version, seq     uint64
	deadline, due    int64 // 0: none
	rare             *rareParts
	waits            *Waits
	chains, steps    uint16
	done, inFlight   uint16
	priority         int16
	chainStates      bits
	stepStates       bits
	state            uint8 // its place in domain.States
	held             bool
	proven           bool // from the events, not from a view's header
}

// rareParts are what few rows have; they are never changed.
type rareParts struct {
	message  string
	metadata map[string]string
}

func rareOf(message string, metadata map[string]string) *rareParts {
	if message == "" && len(metadata) == 0 {
		return nil
	}
	return &rareParts{message, metadata}
}

// newRow makes a row of an entry.
func newRow(e Entry) row {
	return row{
		id: e.ID, created: nanos(e.CreatedAt), updated: nanos(e.UpdatedAt),
		version: e.Version, seq: e.Seq, deadline: instant(e.Deadline), due: instant(e.StepDue),
		rare: rareOf(e.Error, e.Metadata), waits: e.Waits.shared(),
		chains: small(e.Chains), steps: small(e.Steps), done: small(e.StepsDone), inFlight: small(e.InFlight),
		priority:    int16(e.Priority),
		chainStates: bitsOf(e.ChainStates, chainStatuses),
		stepStates:  bitsOf(e.StepStates, stepStatuses),
		state:       stateIndex(e.State), held: e.Held,
	}
}

// rowOf makes the row of a session: newRow of NewEntry, by the short way.
func rowOf(a eventstore.Aggregate, declared []string) row {
	s, t := a.Session, tallyOf(a.Session)
	r := row{
		id: a.Key.Session, created: nanos(s.CreatedAt), updated: nanos(s.UpdatedAt),
		version: s.Version, seq: a.Seq, deadline: instant(s.Deadline), due: instant(t.due),
		rare:   rareOf(shortError(s), pick(s.Metadata, declared)),
		chains: small(len(s.Chains)), steps: small(t.all), done: small(t.done), inFlight: small(s.InFlight),
		priority:    int16(s.Priority),
		chainStates: t.chains, stepStates: t.steps,
		state: stateIndex(s.State), held: s.Hold != nil,
	}
	if moving(s.State, s.InFlight) {
		r.waits = waitsOf(s).shared()
	}
	return r
}

// small keeps a number that a session's bounds keep far below the limit.
func small(n int) uint16 { return uint16(min(max(n, 0), math.MaxUint16)) }

// time returns the time by which an order sorts.
func (r *row) time(updated bool) int64 {
	if updated {
		return r.updated
	}
	return r.created
}

// metadata returns the declared keys; they must not be changed.
func (r *row) metadata() map[string]string {
	if r.rare == nil {
		return nil
	}
	return r.rare.metadata
}

// entry returns the row as it was; its metadata must not be changed.
func (r *row) entry() Entry {
	e := Entry{
		Schema: eventstore.SchemaVersion, ID: r.id, User: r.owner.user, State: states[r.state],
		CreatedAt: moment(r.created), UpdatedAt: moment(r.updated), Version: r.version, Seq: r.seq,
		Chains: int(r.chains), Steps: int(r.steps), StepsDone: int(r.done),
		ChainStates: members(r.chainStates, chainStatuses),
		StepStates:  members(r.stepStates, stepStatuses),
		InFlight:    int(r.inFlight), Priority: int(r.priority), Held: r.held, Metadata: r.metadata(),
		Deadline: optional(r.deadline), StepDue: optional(r.due), Waits: r.waits,
	}
	if r.rare != nil {
		e.Error = r.rare.message
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
