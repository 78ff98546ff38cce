package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// minPositionWait is how long a query waits for the position it asks for.
const minPositionWait = 5 * time.Second

// warmWait is how long a list waits for the index of an engine that has just
// started. It is short, since requests that wait hold up others.
const warmWait = 2 * time.Second

// errPageFull ends a walk over commits.
var errPageFull = errors.New("the page is full")

// queries answers what clients ask. Every method is safe for concurrent use.
type queries struct {
	store *eventstore.Store
	index lister
	// wait returns once the index has seen a position.
	wait func(context.Context, contract.Position) error
	// position is where the index is.
	position func() contract.Position
	// lease reads the signs of life of steps in flight.
	lease leaseReader
}

// asked reads the body of a query strictly and waits for the position it names.
func asked[R any](q *queries, answer func(context.Context, string, R) (any, error)) queryFunc {
	return func(ctx context.Context, user string, body []byte, header nats.Header) (any, error) {
		var request R
		if err := domain.DecodeStrict(body, &request); err != nil {
			return nil, err
		}
		if position := header.Get(contract.HeaderMinPosition); position != "" {
			if err := q.reach(ctx, position); err != nil {
				return nil, err
			}
		}
		return answer(ctx, user, request)
	}
}

// lister is the index of sessions.
type lister interface {
	Warm(ctx context.Context) error
	List(user string, r contract.ListRequest) (contract.ListReply, error)
	Count(user string, r contract.CountRequest) (contract.CountReply, error)
	Waiting(s *domain.Session) ([]contract.Waiting, []string)
}

// get answers with a session as it is now, all payloads filled in, what it waits
// for, and what its steps in flight have said last.
func (q *queries) get(ctx context.Context, user string, r contract.GetRequest) (any, error) {
	a, err := q.current(ctx, user, r.Session)
	if err != nil {
		return nil, err
	}
	s, err := q.whole(ctx, a)
	if err != nil {
		return nil, err
	}
	reply := contract.GetReply{Session: s, Position: q.store.Position(a.Seq), Running: running(ctx, q.lease, a.Key, s)}
	reply.Waiting, reply.Unserved = q.index.Waiting(s)
	return reply, nil
}

// current reads the newest state of a session that exists.
func (q *queries) current(ctx context.Context, user, session string) (eventstore.Aggregate, error) {
	if !domain.ValidID(session) {
		return eventstore.Aggregate{}, domain.Invalid("session", "%.80q is no session id; use 1 to %d of A-Z a-z 0-9 _ -", session, domain.MaxIDLength)
	}
	a, err := q.store.Load(ctx, eventstore.Key{User: user, Session: session})
	if err == nil {
		a, err = q.store.Confirm(ctx, a)
	}
	if err != nil {
		return a, err
	}
	return a, existing(a)
}

// existing rejects a session that does not exist or is gone.
func existing(a eventstore.Aggregate) error {
	s := a.Session
	switch {
	case s.Gone != nil:
		return domain.Reject(domain.CodeGone, domain.StateNone, "session %q is gone: it was removed by %s at %s",
			s.ID, s.Gone.By, s.Gone.Time.UTC().Format(time.RFC3339))
	case !s.Exists():
		return domain.Reject(domain.CodeNotFound, domain.StateNone, "there is no session %q", s.ID)
	}
	return nil
}

// whole returns the session for a client: payloads filled in, and without the
// engine's memory of command ids.
func (q *queries) whole(ctx context.Context, a eventstore.Aggregate) (*domain.Session, error) {
	s, err := q.store.Hydrate(ctx, a)
	if err != nil {
		return nil, err
	}
	bare := *s
	bare.Recent = nil
	return &bare, nil
}

// warm waits for the index for a moment. One that is not ready then says so
// itself.
func (q *queries) warm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, warmWait)
	defer cancel()
	_ = q.index.Warm(ctx)
}

// list answers with a page of the user's sessions.
func (q *queries) list(ctx context.Context, user string, r contract.ListRequest) (any, error) {
	q.warm(ctx)
	position := q.position()
	reply, err := q.index.List(user, r)
	if err != nil {
		return nil, err
	}
	if position.Incarnation != "" { // else the runner began while the index was asked
		reply.Position = position
	}
	return reply, nil
}

// count answers with the number of the user's sessions by state.
func (q *queries) count(ctx context.Context, user string, r contract.CountRequest) (any, error) {
	q.warm(ctx)
	position := q.position()
	reply, err := q.index.Count(user, r)
	if err != nil {
		return nil, err
	}
	if position.Incarnation != "" { // as above
		reply.Position = position
	}
	return reply, nil
}

// history answers with a page of a session's commits, oldest first.
func (q *queries) history(ctx context.Context, user string, r contract.HistoryRequest) (any, error) {
	limit, err := pageSize(r.Limit)
	if err != nil {
		return nil, err
	}
	if err := checkTypes(r.Types); err != nil {
		return nil, err
	}
	a, err := q.current(ctx, user, r.Session)
	if err != nil {
		return nil, err
	}
	reply := contract.HistoryReply{Session: r.Session, Commits: []contract.CommitEntry{}, Position: q.store.Position(a.Seq)}
	bytes := 0
	err = q.store.Commits(ctx, a.Key, max(r.FromVersion, 1), func(c eventstore.Committed) error {
		if !holdsType(c.Commit, r.Types) {
			return nil
		}
		entry, size, err := commitEntry(c)
		if err != nil {
			return err
		}
		if len(reply.Commits) == limit || len(reply.Commits) > 0 && bytes+size > maxHistoryBytes {
			reply.Next = c.Commit.Version
			return errPageFull
		}
		bytes += size
		reply.Commits = append(reply.Commits, entry)
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, err
	}
	return reply, nil
}

// maxHistoryBytes bounds the events in one page of a history, so that the reply
// fits a message.
const maxHistoryBytes = 512 << 10

func pageSize(limit int) (int, error) {
	switch {
	case limit == 0:
		return contract.DefaultPage, nil
	case limit < 0 || limit > contract.MaxPage:
		return 0, domain.Invalid("limit", "%d is outside 1 to %d", limit, contract.MaxPage)
	}
	return limit, nil
}

func checkTypes(types []domain.EventType) error {
	for _, t := range types {
		if domain.NewEvent(t) == nil {
			return domain.Invalid("types", "there is no event type %.80q", string(t))
		}
	}
	return nil
}

func holdsType(c *domain.Commit, types []domain.EventType) bool {
	return len(types) == 0 || slices.ContainsFunc(c.Events, func(e domain.Event) bool {
		return slices.Contains(types, e.Type())
	})
}

// commitEntry writes a commit for a history, and the size of its events.
func commitEntry(c eventstore.Committed) (contract.CommitEntry, int, error) {
	entry := contract.CommitEntry{
		Seq: c.Seq, Version: c.Commit.Version, Commit: c.Commit.ID, Time: c.Commit.Time,
		Actor: c.Commit.Actor, Cause: c.Commit.Cause, State: c.Commit.State,
		Hash: c.Hash, Prev: c.Commit.Prev, Events: make([]contract.EventSummary, len(c.Commit.Events)),
	}
	size := 0
	for i, e := range c.Commit.Events {
		data, err := domain.Marshal(e)
		if err != nil {
			return entry, 0, err
		}
		chain, step := e.About()
		entry.Events[i] = contract.EventSummary{Type: e.Type(), Chain: chain, Step: step, Data: data}
		size += len(data)
	}
	return entry, size, nil
}

// at answers with a session as it was.
func (q *queries) at(ctx context.Context, user string, r contract.AtRequest) (any, error) {
	given := 0
	for _, set := range []bool{r.Version > 0, r.Seq > 0, !r.Time.IsZero()} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, domain.Invalid("", "give exactly one of version, seq and time")
	}
	a, err := q.current(ctx, user, r.Session)
	if err != nil {
		return nil, err
	}
	a, err = q.store.At(ctx, a.Key, eventstore.Cut{Version: r.Version, Seq: r.Seq, Time: r.Time})
	if err != nil {
		return nil, err
	}
	if !a.Session.Exists() {
		return nil, domain.Reject(domain.CodeNotFound, domain.StateNone, "session %q did not exist then", r.Session)
	}
	s, err := q.whole(ctx, a)
	if err != nil {
		return nil, err
	}
	return contract.GetReply{Session: s, Position: q.store.Position(a.Seq)}, nil
}

// reach waits until the index has seen a position that a client asks for.
func (q *queries) reach(ctx context.Context, text string) error {
	p, err := contract.ParsePosition(text)
	if err != nil {
		return domain.Invalid(contract.HeaderMinPosition, "%v", err)
	}
	if here := q.store.Position(0); p.Incarnation != here.Incarnation {
		return domain.Invalid(contract.HeaderMinPosition, "position %s is of another incarnation of the event stream; this one is %s", p, here.Incarnation)
	}
	ctx, cancel := context.WithTimeout(ctx, minPositionWait)
	defer cancel()
	if err := q.wait(ctx, p); err != nil {
		return domain.Reject(domain.CodeUnavailable, domain.StateNone, "position %s was not reached within %s; the engine is at %s", p, minPositionWait, q.position())
	}
	return nil
}
