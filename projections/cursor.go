package projections

import (
	"math"

	"github.com/tidwall/btree"
)

// cursor walks the rows of one user in one state, in one order. It is valid as
// long as the index is locked.
type cursor struct {
	iter  btree.IterG[*row]
	query *query
	state uint8
	row   *row // nil at the end
}

// lastID is behind every id.
const lastID = "\xff"

// cursors returns one cursor for each state, at its first row behind the place.
func (x *Index) cursors(q *query, from *place) []cursor {
	tree := x.created
	if q.order.updated {
		tree = x.updated
	}
	cursors := make([]cursor, len(q.states))
	for i, state := range q.states {
		cursors[i] = cursor{iter: tree.Iter(), query: q, state: state}
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

// pivot makes a row that stands at a place.
func (c *cursor) pivot(time int64, id string) *row {
	return &row{user: c.query.user, state: c.state, created: time, updated: time, id: id}
}

func (c *cursor) ascend(from *place, after int64) {
	at, id := after, lastID
	if after == math.MinInt64 {
		id = ""
	}
	if from != nil && c.query.order.before(at, id, from.Time, from.ID) {
		at, id = from.Time, from.ID
	}
	ok := c.iter.Seek(c.pivot(at, id))
	if ok && c.query.order.time(c.iter.Item()) == at && c.iter.Item().id == id && c.mine(c.iter.Item()) {
		ok = c.iter.Next()
	}
	c.settle(ok)
}

func (c *cursor) descend(from *place, before int64) {
	at, id := before, ""
	if before == math.MaxInt64 {
		id = lastID
	}
	if from != nil && c.query.order.before(at, id, from.Time, from.ID) {
		at, id = from.Time, from.ID
	}
	if c.iter.Seek(c.pivot(at, id)) {
		c.settle(c.iter.Prev())
	} else {
		c.settle(c.iter.Last())
	}
}

// next goes one row on.
func (c *cursor) next() {
	if c.query.order.descending {
		c.settle(c.iter.Prev())
	} else {
		c.settle(c.iter.Next())
	}
}

// settle takes the row of the iterator, unless the walk is over.
func (c *cursor) settle(ok bool) {
	c.row = nil
	if ok && c.mine(c.iter.Item()) && c.inSpan(c.iter.Item()) {
		c.row = c.iter.Item()
	}
}

func (c *cursor) mine(r *row) bool { return r.user == c.query.user && r.state == c.state }

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
