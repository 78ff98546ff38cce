package projections

import (
	"container/list"
	"context"

	"reprise/domain"
	"reprise/eventstore"
)

// defaultFoldLimit is how many sessions a folder keeps at hand.
const defaultFoldLimit = 16384

// load returns the newest state of a session. What the store has in memory may
// be older than what was seen in the stream, so it is confirmed.
func load(ctx context.Context, source Source, key eventstore.Key) (eventstore.Aggregate, error) {
	a, err := source.Load(ctx, key)
	if err != nil {
		return a, err
	}
	return source.Confirm(ctx, a)
}

// folder follows the states of the sessions it sees commits of. It keeps those
// seen last and loads what it doesn't know. It is for one goroutine.
type folder struct {
	limit  int
	source Source
	states map[eventstore.Key]*list.Element // of *eventstore.Aggregate
	recent *list.List                       // most recently seen first
}

func newFolder(limit int, source Source) *folder {
	if limit <= 0 {
		limit = defaultFoldLimit
	}
	return &folder{limit: limit, source: source, states: map[eventstore.Key]*list.Element{}, recent: list.New()}
}

// fold returns the state of the session after the commit, or after a later one.
// The error is that of loading, or a *eventstore.CommitError if the commit does
// not continue the history.
func (f *folder) fold(ctx context.Context, c eventstore.Committed) (eventstore.Aggregate, error) {
	if known, ok := f.known(c); ok {
		return f.keep(known), nil
	}
	loaded, err := load(ctx, f.source, c.Key)
	if err != nil {
		return eventstore.Aggregate{}, err
	}
	if after, ok := follow(loaded, c); ok {
		return f.keep(after), nil
	}
	return eventstore.Aggregate{}, &eventstore.CommitError{
		Key: c.Key, Seq: c.Seq, Kind: "version gap", Detail: "the commit does not continue the session's history",
	}
}

// known folds without loading, if it can.
func (f *folder) known(c eventstore.Committed) (eventstore.Aggregate, bool) {
	if element, ok := f.states[c.Key]; ok {
		return follow(*aggregateOf(element), c)
	}
	if c.Commit.Version != 1 {
		return eventstore.Aggregate{}, false
	}
	return follow(eventstore.Aggregate{Key: c.Key, Session: domain.New(c.Key.User, c.Key.Session)}, c)
}

func (f *folder) keep(a eventstore.Aggregate) eventstore.Aggregate {
	if element, ok := f.states[a.Key]; ok {
		*aggregateOf(element) = a
		f.recent.MoveToFront(element)
		return a
	}
	stored := a
	f.states[a.Key] = f.recent.PushFront(&stored)
	if f.recent.Len() > f.limit {
		oldest := f.recent.Back()
		f.recent.Remove(oldest)
		delete(f.states, aggregateOf(oldest).Key)
	}
	return a
}

// aggregateOf is what an element of recent holds.
func aggregateOf(element *list.Element) *eventstore.Aggregate {
	return element.Value.(*eventstore.Aggregate) //nolint:forcetypeassert // keep puts nothing else there
}

// follow returns the state after the commit: the base itself if it is as far
// already, the base and the commit if the commit is the very next one.
func follow(base eventstore.Aggregate, c eventstore.Committed) (eventstore.Aggregate, bool) {
	switch {
	case base.Session == nil:
		return eventstore.Aggregate{}, false
	case base.Seq >= c.Seq:
		return base, true
	case c.Commit.Version != base.Session.Version+1 || c.Commit.Prev != base.Hash:
		return eventstore.Aggregate{}, false
	}
	return eventstore.Aggregate{
		Key: c.Key, Session: domain.Apply(base.Session, c.Commit), Seq: c.Seq, Last: c.Seq, Hash: c.Hash,
	}, true
}
