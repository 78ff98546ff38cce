package cleanup

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/killpoint"
	"reprise/projections"
)

// Sessions is what cleanup needs of an event store; *eventstore.Store is one.
type Sessions interface {
	Info(ctx context.Context) (eventstore.Info, error)
	Position(seq uint64) contract.Position
	Load(ctx context.Context, key eventstore.Key) (eventstore.Aggregate, error)
	Confirm(ctx context.Context, a eventstore.Aggregate) (eventstore.Aggregate, error)
	Raw(ctx context.Context, f eventstore.Filter, fn func(eventstore.Message) error) error
	Present(ctx context.Context, seq uint64) (bool, error)
	FinishPurge(ctx context.Context, key eventstore.Key) error
	Expire(ctx context.Context, key eventstore.Key, seq uint64) error
	Bury(ctx context.Context, b eventstore.Burial) (eventstore.Aggregate, error)
}

// Index is what cleanup needs of the list of sessions; *projections.Index is one.
type Index interface {
	Each(fn func(projections.Entry) bool) error
}

// Views is what cleanup needs of the views; *projections.Views is one.
type Views interface {
	Compare(ctx context.Context, heads iter.Seq2[eventstore.Key, projections.Head]) ([]projections.Finding, error)
	Heal(ctx context.Context, keys ...eventstore.Key) error
	Rebuild(ctx context.Context) error
}

// Traces are what sessions leave outside of the events and the views; see
// NewTraces.
type Traces interface {
	// Find calls fn for every trace of the sessions for which of is true.
	Find(ctx context.Context, of func(eventstore.Key) bool, fn func(Trace) error) error
	// Remove removes a trace; one that is gone already is fine. A queued command
	// is kept as a dead letter that says why it was not applied.
	Remove(ctx context.Context, t Trace, why error) error
}

// Trace is a task, a lease, a queued command or a dead letter.
type Trace struct {
	Reason  contract.CleanupReason
	Key     eventstore.Key
	Subject string
	// Seq and Time are those of a queued command and of a dead letter.
	Seq  uint64
	Time time.Time
}

// Archiver keeps the history of a session elsewhere. It returns when the copy
// was read back and found complete, and says where it is. upTo is the session as
// it has to be in the copy.
type Archiver interface {
	Archive(ctx context.Context, key eventstore.Key, upTo eventstore.Aggregate) (ref string, err error)
}

// Order is a purge of one session, to be decided like any command.
type Order struct {
	Key eventstore.Key
	// ID is the command id; the same order again has the same one.
	ID, Actor string
	// Version is the one the session has to have.
	Version uint64
	Command *domain.Purge
}

// Config says what a Cleaner works on. Sessions, Index, Views and Purge are
// required.
type Config struct {
	Sessions Sessions
	Index    Index
	Views    Views
	// Purge has a session purged, and usually compacted too. It returns the
	// sequence of the tombstone.
	Purge func(ctx context.Context, o Order) (seq uint64, err error)
	// Reach waits until index and views hold a position; nil doesn't wait.
	Reach func(ctx context.Context, p contract.Position) error
	// Traces may be nil: then none are looked for.
	Traces Traces
	// Audit keeps a report under a topic; nil keeps none.
	Audit func(ctx context.Context, topic string, report any) error
	// Clock returns the time; time.Now if nil.
	Clock  func() time.Time
	Logger *slog.Logger

	// fault is asked before every step of a purge; its error ends the run there,
	// as a crash would. For tests.
	fault func(point string, item contract.CleanupItem) error
}

// Cleaner scans, purges and repairs. It is safe for concurrent use; runs side by
// side only spoil each other's numbers.
type Cleaner struct{ cfg Config }

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Cleaner, error) {
	if cfg.Sessions == nil || cfg.Index == nil || cfg.Views == nil || cfg.Purge == nil {
		return nil, errors.New("cleanup: a Cleaner needs Sessions, Index, Views and Purge")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Audit == nil {
		cfg.Audit = func(context.Context, string, any) error { return nil }
	}
	if cfg.Reach == nil {
		cfg.Reach = func(context.Context, contract.Position) error { return nil }
	}
	if cfg.Traces == nil {
		cfg.Traces = noTraces{}
	}
	if cfg.fault == nil {
		cfg.fault = func(point string, _ contract.CleanupItem) error {
			killpoint.Pass(point)
			return nil
		}
	}
	return &Cleaner{cfg: cfg}, nil
}

// Watch is told how a run goes, by one goroutine at a time. Both may be nil.
type Watch struct {
	Progress func(contract.CleanupProgress)
	// Results has what became of the next items.
	Results func([]contract.CleanupResult)
}

func (w *Watch) progress(p contract.CleanupProgress) {
	if w.Progress != nil {
		w.Progress(p)
	}
}

func (w *Watch) results(some []contract.CleanupResult) {
	if w.Results != nil && len(some) > 0 {
		w.Results(some)
	}
}

// newID makes the id of a plan or a run.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// current returns the state of a session as it is now.
func (c *Cleaner) current(ctx context.Context, key eventstore.Key) (eventstore.Aggregate, error) {
	a, err := c.cfg.Sessions.Load(ctx, key)
	if err != nil {
		return a, err
	}
	return c.cfg.Sessions.Confirm(ctx, a)
}

func (c *Cleaner) now() time.Time { return c.cfg.Clock().UTC().Round(0) }

// noTraces is where nothing is left behind.
type noTraces struct{}

// Find finds none.
func (noTraces) Find(context.Context, func(eventstore.Key) bool, func(Trace) error) error {
	return nil
}

// Remove has nothing to do.
func (noTraces) Remove(context.Context, Trace, error) error { return nil }
