package projections

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"reprise/contract"
	"reprise/domain"
)

// order is a sort of a list.
type order struct {
	name       string
	updated    bool // by time of update, else of creation
	descending bool
}

// The sorts, by their names in a request; the first is the default.
var orders = []order{
	{name: "created"},
	{name: "-created", descending: true},
	{name: "updated", updated: true},
	{name: "-updated", updated: true, descending: true},
}

// time returns what the order sorts by.
func (o order) time(r *row) int64 { return r.time(o.updated) }

// before reports whether a place comes before another one in a list.
func (o order) before(at int64, aid string, bt int64, bid string) bool {
	if o.descending {
		at, aid, bt, bid = bt, bid, at, aid
	}
	return at < bt || at == bt && aid < bid
}

// place is where a page ended: it goes on behind it.
type place struct {
	// Sort binds the token to the order it was made in.
	Sort string `json:"s"`
	Time int64  `json:"t"`
	ID   string `json:"i"`
}

// token writes a place as the opaque text that clients send back.
func (p place) token() string {
	raw, err := domain.Marshal(p)
	if err != nil {
		panic("projections: a page token can't be written: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// parsePlace reads a token; nil for the empty one.
func parsePlace(token, sort string) (*place, error) {
	if token == "" {
		return nil, nil //nolint:nilnil // nil is the first page
	}
	var p place
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(raw, &p) != nil || !domain.ValidID(p.ID) {
		return nil, domain.Invalid("page", "this is not a page token; send the one that the reply before gave as next, or none")
	}
	if p.Sort != sort {
		return nil, domain.Invalid("page", "the token is of a list sorted by %q and this one is sorted by %q; keep the sort or begin without a token", p.Sort, sort)
	}
	return &p, nil
}

// query is a checked request.
type query struct {
	user        string
	order       order
	states      []uint8
	chainStates bits // empty: any
	stepStates  bits
	waiting     bits // empty: any
	present     Present
	metadata    map[string]string
	// The ranges are exclusive on both sides.
	createdAfter, createdBefore int64
	updatedAfter, updatedBefore int64
}

// matches reports whether the row passes all conditions but those of state and
// waiting, which the search takes care of.
func (q *query) matches(r *row) bool {
	if q.chainStates != 0 && q.chainStates&r.chainStates == 0 || q.stepStates != 0 && q.stepStates&r.stepStates == 0 {
		return false
	}
	if r.created <= q.createdAfter || r.created >= q.createdBefore || r.updated <= q.updatedAfter || r.updated >= q.updatedBefore {
		return false
	}
	for key, want := range q.metadata {
		if have, ok := r.metadata()[key]; !ok || have != want {
			return false
		}
	}
	return true
}

// place returns where a row stands in the list.
func (q *query) place(r *row) place {
	return place{Sort: q.order.name, Time: q.order.time(r), ID: r.id}
}

// free reports whether every row of the right state matches.
func (q *query) free(f contract.Filter) bool {
	return q.chainStates == 0 && q.stepStates == 0 && q.waiting == 0 && len(q.metadata) == 0 &&
		f.CreatedAfter.IsZero() && f.CreatedBefore.IsZero() && f.UpdatedAfter.IsZero() && f.UpdatedBefore.IsZero()
}

// span returns the range, exclusive on both sides, of what the order sorts by.
func (q *query) span() (after, before int64) {
	if q.order.updated {
		return q.updatedAfter, q.updatedBefore
	}
	return q.createdAfter, q.createdBefore
}

// parseOrder finds a sort by its name.
func parseOrder(name string) (order, error) {
	if name == "" {
		return orders[0], nil
	}
	var names []string
	for _, o := range orders {
		if o.name == name {
			return o, nil
		}
		names = append(names, o.name)
	}
	return order{}, domain.Invalid("sort", "%.40q is not a sort; use one of %s", name, strings.Join(names, ", "))
}

// parseLimit checks a page size.
func parseLimit(limit int) (int, error) {
	switch {
	case limit == 0:
		return contract.DefaultPage, nil
	case limit < 0 || limit > contract.MaxPage:
		return 0, domain.Invalid("limit", "a page has 1 to %d sessions, not %d", contract.MaxPage, limit)
	}
	return limit, nil
}

// parse checks the conditions of a request of one user.
func (x *Index) parse(user string, f contract.Filter, o order) (*query, error) {
	q := &query{user: user, order: o, metadata: f.Metadata}
	q.createdAfter, q.createdBefore = bounds(f.CreatedAfter, f.CreatedBefore)
	q.updatedAfter, q.updatedBefore = bounds(f.UpdatedAfter, f.UpdatedBefore)
	wanted, err := among("states", f.States, states)
	if err == nil {
		q.chainStates, err = among("chainStates", f.ChainState, chainStatuses)
	}
	if err == nil {
		q.stepStates, err = among("stepStates", f.StepState, stepStatuses)
	}
	if err == nil {
		q.waiting, err = among("waiting", f.Waiting, waitings)
	}
	if err == nil {
		err = x.checkMetadata(f.Metadata)
	}
	if err != nil {
		return nil, err
	}
	for i := range uint8(stateCount) {
		if (wanted == 0 || wanted&(1<<i) != 0) && (q.waiting == 0 || q.waiting&mayWaitFor(i) != 0) {
			q.states = append(q.states, i)
		}
	}
	return q, nil
}

// begin looks at the present for a request, once the index can answer it.
func (x *Index) begin(q *query) error {
	if !x.Ready() {
		return warming()
	}
	q.present = x.cfg.Present()
	return q.present.knows(q.waiting)
}

// checkMetadata rejects keys that were not declared.
func (x *Index) checkMetadata(metadata map[string]string) error {
	for key := range metadata {
		if slices.Contains(x.cfg.Declared, key) {
			continue
		}
		if len(x.cfg.Declared) == 0 {
			return domain.Invalid("metadata", "key %.64q is not declared, and neither is any other: declare it to the engine to filter by it", key)
		}
		return domain.Invalid("metadata", "key %.64q is not declared; lists filter by %s", key, strings.Join(x.cfg.Declared, ", "))
	}
	return nil
}

// among returns the set of values, all of which have to be among those known.
func among[T ~string](field string, values, known []T) (bits, error) {
	for _, v := range values {
		if !slices.Contains(known, v) {
			names := make([]string, len(known))
			for i, k := range known {
				names[i] = string(k)
			}
			return 0, domain.Invalid(field, "%.40q is none of %s", string(v), strings.Join(names, ", "))
		}
	}
	return bitsOf(values, known), nil
}
