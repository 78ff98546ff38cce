package projections

import (
	"math"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// List returns one page of the sessions of one user, and never one of anybody
// else. The pages of a list sorted by creation are stable: a session that was
// there all the time comes exactly once. One that is updated moves in a list
// sorted by update.
//
// The error is a *domain.Rejection: invalid for a request that can't be
// answered, warming until the index is ready.
func (x *Index) List(user string, req contract.ListRequest) (contract.ListReply, error) {
	o, err := parseOrder(req.Sort)
	if err != nil {
		return contract.ListReply{}, err
	}
	limit, err := parseLimit(req.Limit)
	if err != nil {
		return contract.ListReply{}, err
	}
	from, err := parsePlace(req.Page, o.name)
	if err != nil {
		return contract.ListReply{}, err
	}
	q, err := x.parse(user, req.Filter, o)
	if err != nil {
		return contract.ListReply{}, err
	}
	if err := x.begin(q); err != nil {
		return contract.ListReply{}, err
	}
	return x.list(q, from, limit), nil
}

func (x *Index) list(q *query, from *place, limit int) contract.ListReply {
	reply := contract.ListReply{Sessions: []contract.Row{}}
	var last place
	more := false
	reply.Position = x.search(q, from, func(r *row) bool {
		if len(reply.Sessions) == limit {
			more = true
			return false
		}
		shown := r.entry().Row()
		shown.Waiting, shown.Unserved = x.explain(q.present, r.state, r.waits, contract.MaxUnserved)
		reply.Sessions, last = append(reply.Sessions, shown), q.place(r)
		return true
	})
	if more {
		reply.Next = last.token()
	}
	return reply
}

// Count returns how many sessions of one user match, by state. Errors are
// those of List.
func (x *Index) Count(user string, req contract.CountRequest) (contract.CountReply, error) {
	q, err := x.parse(user, req.Filter, orders[0])
	if err != nil {
		return contract.CountReply{}, err
	}
	if err := x.begin(q); err != nil {
		return contract.CountReply{}, err
	}
	var counts [stateCount]int
	var position contract.Position
	if q.free(req.Filter) {
		counts, position = x.counted(user)
	} else {
		position = x.search(q, nil, func(r *row) bool { counts[r.state]++; return true })
	}
	reply := contract.CountReply{States: map[domain.State]int{}, Position: position}
	for _, i := range q.states {
		reply.States[states[i]] = counts[i]
		reply.Total += counts[i]
	}
	return reply, nil
}

func (x *Index) counted(user string) ([stateCount]int, contract.Position) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if o, ok := x.owners.Get(&owner{user: user}); ok {
		return o.counts(), x.position
	}
	return [stateCount]int{}, x.position
}

// search calls fn for every matching row behind a place, in order, until fn
// returns false. The lock is let go of now and then. The position is that of
// the first look: everything up to there is in the answer.
func (x *Index) search(q *query, from *place, fn func(*row) bool) contract.Position {
	var first contract.Position
	for look := 0; ; look++ {
		last, position := x.look(q, from, fn)
		if look == 0 {
			first = position
		}
		if last == nil {
			return first
		}
		from = last
	}
}

// look is one search under the lock; it returns the place of the last row it
// looked at if there may be more behind it.
func (x *Index) look(q *query, from *place, fn func(*row) bool) (*place, contract.Position) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	cursors := x.cursors(q, from)
	var last place
	for range lockedRows {
		c := foremost(q.order, cursors)
		if c == nil {
			return nil, x.position
		}
		last = q.place(c.row)
		if q.matches(c.row) && x.awaits(q, c.row) && !fn(c.row) {
			return nil, x.position
		}
		c.next()
	}
	return &last, x.position
}

// awaits reports whether the row waits for one of the things that are asked for.
func (x *Index) awaits(q *query, r *row) bool {
	return q.waiting == 0 || q.waiting&x.kinds(q.present, r.state, r.waits) != 0
}

// bounds returns the times of a range, exclusive on both sides; zero is open.
func bounds(after, before time.Time) (int64, int64) {
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	if !after.IsZero() {
		low = nanos(after)
	}
	if !before.IsZero() {
		high = nanos(before)
	}
	return low, high
}
