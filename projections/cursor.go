package projections

import "math"

// cursor walks the rows of one user in one state, in one order. It is valid as
// long as the index is locked.
type cursor struct {
	run   *run
	spot  spot
	query *query
	row   *row // nil at the end
}

// lastID is behind every id.
const lastID = "\xff"

// cursors returns one cursor for each state, at its first row behind the place.
func (x *Index) cursors(q *query, from *place) []cursor {
	o, ok := x.owners.Get(&owner{user: q.user})
	if !ok {
		return nil
	}
	cursors := make([]cursor, len(q.states))
	for i, state := range q.states {
		cursors[i] = cursor{run: o.run(state, q.order.updated), query: q}
		cursors[i].begin(from)
	}
	return cursors
}

// foremost returns the cursor whose row comes next, nil if all are at the end.
func foremost(o order, cursors []cursor) *cursor {
	var first *cursor
	for i := range cursors {
		c := &cursors[i]
		if c.row == nil {
			continue
		}
		if first == nil || o.before(o.time(c.row), c.row.id, o.time(first.row), first.row.id) {
			first = c
		}
	}
	return first
}

// begin goes to the first row behind the place and inside of the range.
func (c *cursor) begin(from *place) {
	after, before := c.query.span()
	if c.query.order.descending {
		c.descend(from, before)
	} else {
		c.ascend(from, after)
	}
}

func (c *cursor) ascend(from *place, after int64) {
	at, id := after, lastID
	if after == math.MinInt64 {
		id = ""
	}
	if from != nil && c.query.order.before(at, id, from.Time, from.ID) {
		at, id = from.Time, from.ID
	}
	c.spot = c.run.find(at, id)
	if r := c.run.at(c.spot); r != nil && c.query.order.time(r) == at && r.id == id {
		c.spot = c.run.next(c.spot)
	}
	c.settle()
}

func (c *cursor) descend(from *place, before int64) {
	at, id := before, ""
	if before == math.MaxInt64 {
		id = lastID
	}
	if from != nil && c.query.order.before(at, id, from.Time, from.ID) {
		at, id = from.Time, from.ID
	}
	c.spot = c.run.prev(c.run.find(at, id))
	c.settle()
}

// next goes one row on.
func (c *cursor) next() {
	if c.query.order.descending {
		c.spot = c.run.prev(c.spot)
	} else {
		c.spot = c.run.next(c.spot)
	}
	c.settle()
}

// settle takes the row of the spot, unless the walk is over.
func (c *cursor) settle() {
	c.row = c.run.at(c.spot)
	if c.row != nil && !c.inSpan(c.row) {
		c.row = nil
	}
}

// inSpan reports whether the walk goes on; a row outside of the far end of the
// range is the end of it.
func (c *cursor) inSpan(r *row) bool {
	after, before := c.query.span()
	at := c.query.order.time(r)
	if c.query.order.descending {
		return at > after || after == math.MinInt64
	}
	return at < before || before == math.MaxInt64
}
