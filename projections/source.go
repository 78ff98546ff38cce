package projections

import (
	"context"

	"reprise/eventstore"
)

// Source is what projections need of the event store; *eventstore.Store is one.
// All methods are safe for concurrent use.
type Source interface {
	Info(ctx context.Context) (eventstore.Info, error)
	// Load returns the state of a session, which may be an older one.
	Load(ctx context.Context, key eventstore.Key) (eventstore.Aggregate, error)
	// Confirm returns the newest state.
	Confirm(ctx context.Context, a eventstore.Aggregate) (eventstore.Aggregate, error)
	// Cached returns the newest state that is in memory, without any I/O.
	Cached(key eventstore.Key) (eventstore.Aggregate, bool)
	// Observe tells the cache what was committed, by whomever.
	Observe(c eventstore.Committed)
	// Scan calls fn for every selected commit up to the end; a commit that
	// can't be read arrives as an error that is a *eventstore.CommitError.
	Scan(ctx context.Context, f eventstore.Filter, fn func(eventstore.Committed, error) error) error
	// Raw is Scan without decoding.
	Raw(ctx context.Context, f eventstore.Filter, fn func(eventstore.Message) error) error
	// Follow is Scan that goes on for ever, until ctx ends.
	Follow(ctx context.Context, from uint64, fn func(eventstore.Committed, error) error) error
}

var _ Source = (*eventstore.Store)(nil)

// Change is a commit together with what it made of its session.
type Change struct {
	eventstore.Committed
	// After is the session after this commit or after a later one; its Seq
	// says which. It is the same for every projection and must not be changed.
	After eventstore.Aggregate
}

// Projection is fed by a Runner. The runner calls the methods one at a time and
// in this order: Start once, then Apply and Skip in the order of the stream,
// with one CaughtUp among them.
type Projection interface {
	// Name is a short stable name for reports.
	Name() string
	// Start prepares the projection and returns the sequence up to which it
	// needs no commits. info is the stream as the runner found it.
	Start(ctx context.Context, info eventstore.Info) (from uint64, err error)
	// Apply takes in one commit. An error ends the runner.
	Apply(ctx context.Context, c Change) error
	// Skip says that the message at seq can't be used and was reported.
	Skip(seq uint64)
	// CaughtUp says that everything up to end, the last sequence of info, was
	// applied or skipped.
	CaughtUp(end uint64)
}
