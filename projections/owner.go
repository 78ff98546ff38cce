package projections

import (
	"cmp"
	"slices"
)

// fewRows is up to how many sessions of a user are kept without any order and
// sorted when somebody asks: most users of a large service.
const fewRows = 32

// owner is a user with sessions.
type owner struct {
	user string
	// Either few has all rows, or many has them by their states.
	few  []*row
	many *[stateCount]ordered
}

// ordered are the rows of one user in one state, in both orders.
type ordered struct{ created, updated run }

func byUser(a, b *owner) bool { return a.user < b.user }

// add takes a row in.
func (o *owner) add(r *row) {
	r.owner = o
	if o.many != nil {
		o.insert(r)
		return
	}
	o.few = append(o.few, r)
	if len(o.few) > fewRows {
		o.many = new([stateCount]ordered)
		for _, each := range o.few {
			o.insert(each)
		}
		o.few = nil
	}
}

func (o *owner) insert(r *row) {
	o.many[r.state].created.insert(r.created, r)
	o.many[r.state].updated.insert(r.updated, r)
}

// remove takes a row out.
func (o *owner) remove(r *row) {
	if o.many == nil {
		i := slices.Index(o.few, r)
		o.few = slices.Delete(o.few, i, i+1)
		return
	}
	o.many[r.state].created.remove(r.created, r)
	o.many[r.state].updated.remove(r.updated, r)
}

// change writes a newer version of a row over it. Where state and time of
// creation stay, as they mostly do, one order alone changes.
func (o *owner) change(r *row, to row) {
	to.owner, to.id = r.owner, r.id // shares the strings
	switch {
	case o.many == nil:
		*r = to
	case r.state != to.state || r.created != to.created:
		o.remove(r)
		*r = to
		o.insert(r)
	case r.updated != to.updated:
		byUpdate := &o.many[r.state].updated
		byUpdate.remove(r.updated, r)
		*r = to
		byUpdate.insert(r.updated, r)
	default:
		*r = to
	}
}

// run returns the rows in a state, in one of the orders.
func (o *owner) run(state uint8, updated bool) *run {
	switch {
	case o.many == nil:
		return o.sorted(state, updated)
	case updated:
		return &o.many[state].updated
	}
	return &o.many[state].created
}

// sorted makes a run of the few rows.
func (o *owner) sorted(state uint8, updated bool) *run {
	var stops []stop
	for _, r := range o.few {
		if r.state == state {
			stops = append(stops, stop{r.time(updated), r})
		}
	}
	if stops == nil {
		return &run{}
	}
	slices.SortFunc(stops, func(a, b stop) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.row.id, b.row.id)) })
	return &run{chunks: [][]stop{stops}, rows: len(stops)}
}

// counts returns how many rows there are by state.
func (o *owner) counts() [stateCount]int {
	var n [stateCount]int
	for _, r := range o.few {
		n[r.state]++
	}
	if o.many != nil {
		for state := range o.many {
			n[state] = o.many[state].created.rows
		}
	}
	return n
}

// empty reports whether the user has no session any more.
func (o *owner) empty() bool { return o.counts() == [stateCount]int{} }

// copyBehind appends copies of the rows behind last, which may be of another
// user, to a chunk until that has lockedRows.
func (o *owner) copyBehind(last *row, chunk []row) []row {
	mine := last != nil && last.owner.user == o.user
	for state := range uint8(stateCount) {
		if mine && state < last.state {
			continue
		}
		rows, from := o.run(state, false), spot{}
		if mine && state == last.state {
			from = rows.find(last.created, last.id)
			if r := rows.at(from); r != nil && r.id == last.id && r.created == last.created {
				from = rows.next(from)
			}
		}
		for ; rows.at(from) != nil && len(chunk) < lockedRows; from = rows.next(from) {
			chunk = append(chunk, *rows.at(from))
		}
	}
	return chunk
}
