package projections

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// filled is an index of made-up sessions, ready to be asked.
func filled(t testing.TB, entries ...Entry) *Index {
	t.Helper()
	x, err := NewIndex(IndexConfig{Source: (*eventstore.Store)(nil), Declared: []string{"team", "region"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		x.put(key(e.User, e.ID), newRow(e), true)
	}
	x.CaughtUp(7)
	return x
}

// entry makes a session that was created n seconds after the epoch.
func entry(user string, n int, state domain.State) Entry {
	return Entry{
		ID: fmt.Sprintf("s%06d", n), User: user, State: state, Seq: uint64(n + 1), Version: 1,
		CreatedAt: epoch.Add(time.Duration(n) * time.Second), UpdatedAt: epoch.Add(time.Duration(100000-n) * time.Second),
	}
}

func ids(rows []contract.Row) string {
	var out []string
	for _, r := range rows {
		out = append(out, strings.TrimLeft(strings.TrimPrefix(r.ID, "s"), "0")+string(r.State[0]))
	}
	return strings.Join(out, " ")
}

func after(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

func TestListFiltersAndSorts(t *testing.T) {
	e := func(n int, s domain.State, change func(*Entry)) Entry {
		made := entry("ada", n, s)
		if change != nil {
			change(&made)
		}
		return made
	}
	x := filled(t,
		e(1, domain.StatePending, func(e *Entry) { e.Metadata = map[string]string{"team": "red", "region": "eu"} }),
		e(2, domain.StateRunning, func(e *Entry) {
			e.Metadata = map[string]string{"team": "red"}
			e.StepStates = []domain.StepStatus{domain.StepStatusRunning, domain.StepStatusFailed}
		}),
		e(3, domain.StateFailed, func(e *Entry) { e.ChainStates = []domain.ChainStatus{domain.ChainStatusFailed} }),
		e(4, domain.StateRunning, nil),
		e(5, domain.StatePending, func(e *Entry) { e.CreatedAt = after(4) }),
		entry("bob", 6, domain.StatePending), entry("ad", 7, domain.StatePending), entry("adb", 8, domain.StatePending),
	)
	tests := []struct {
		name string
		sort string
		f    contract.Filter
		want string
	}{
		{"all", "", contract.Filter{}, "1P 2R 3F 4R 5P"},
		{"newest first", "-created", contract.Filter{}, "5P 4R 3F 2R 1P"},
		{"updated", "updated", contract.Filter{}, "5P 4R 3F 2R 1P"},
		{"last updated first", "-updated", contract.Filter{}, "1P 2R 3F 4R 5P"},
		{"a state", "", contract.Filter{States: []domain.State{domain.StateRunning}}, "2R 4R"},
		{"two states, backwards", "-created", contract.Filter{States: []domain.State{domain.StateRunning, domain.StateFailed}}, "4R 3F 2R"},
		{"a chain state", "", contract.Filter{ChainState: []domain.ChainStatus{domain.ChainStatusFailed}}, "3F"},
		{"a step state", "", contract.Filter{StepState: []domain.StepStatus{domain.StepStatusFailed, domain.StepStatusTimeout}}, "2R"},
		{"metadata", "", contract.Filter{Metadata: map[string]string{"team": "red"}}, "1P 2R"},
		{"two keys", "", contract.Filter{Metadata: map[string]string{"team": "red", "region": "eu"}}, "1P"},
		{"created after", "", contract.Filter{CreatedAfter: after(2)}, "3F 4R 5P"},
		{"created before", "", contract.Filter{CreatedBefore: after(2)}, "1P"},
		{"created between, backwards", "-created", contract.Filter{CreatedAfter: after(1), CreatedBefore: after(4)}, "3F 2R"},
		{"updated after, by creation", "", contract.Filter{UpdatedAfter: after(100000 - 3)}, "1P 2R"},
		{"updated before, by update", "updated", contract.Filter{UpdatedBefore: after(100000 - 3)}, "5P 4R"},
		{"updated between, backwards", "-updated", contract.Filter{UpdatedAfter: after(100000 - 4), UpdatedBefore: after(100000 - 1)}, "2R 3F"},
		{"far away times", "", contract.Filter{CreatedAfter: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), CreatedBefore: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, "1P 2R 3F 4R 5P"},
		{"nothing", "", contract.Filter{States: []domain.State{domain.StateCancelled}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for limit := 1; limit <= 6; limit++ {
				if got := ids(pages(t, x, "ada", contract.ListRequest{Filter: test.f, Sort: test.sort, Limit: limit})); got != test.want {
					t.Errorf("pages of %d: %q, not %q", limit, got, test.want)
				}
			}
			count, err := x.Count("ada", contract.CountRequest{Filter: test.f})
			if err != nil || count.Total != len(strings.Fields(test.want)) || count.Position.Seq != 7 {
				t.Errorf("count %+v %v", count, err)
			}
		})
	}
}

// pages reads a list to its end.
func pages(t *testing.T, x *Index, user string, req contract.ListRequest) []contract.Row {
	t.Helper()
	var all []contract.Row
	for {
		reply, err := x.List(user, req)
		if err != nil {
			t.Fatal(err)
		}
		if len(reply.Sessions) > req.Limit || reply.Sessions == nil || reply.Position.Seq != 7 {
			t.Fatalf("%+v", reply)
		}
		all = append(all, reply.Sessions...)
		if req.Page = reply.Next; req.Page == "" {
			return all
		}
	}
}

func TestListRejects(t *testing.T) {
	x := filled(t, entry("ada", 1, domain.StatePending), entry("ada", 2, domain.StatePending))
	first, err := x.List("ada", contract.ListRequest{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		req   contract.ListRequest
		field string
		says  string
	}{
		{contract.ListRequest{Sort: "size"}, "sort", "-updated"},
		{contract.ListRequest{Limit: -1}, "limit", "1 to 1000"},
		{contract.ListRequest{Limit: contract.MaxPage + 1}, "limit", "1001"},
		{contract.ListRequest{Page: "?"}, "page", "not a page token"},
		{contract.ListRequest{Page: "e30"}, "page", "not a page token"},
		{contract.ListRequest{Page: first.Next, Sort: "-created"}, "page", "sorted by"},
		{contract.ListRequest{Filter: contract.Filter{States: []domain.State{"DONE"}}}, "states", "COMPLETED"},
		{contract.ListRequest{Filter: contract.Filter{ChainState: []domain.ChainStatus{"DONE"}}}, "chainStates", "COMPLETED"},
		{contract.ListRequest{Filter: contract.Filter{StepState: []domain.StepStatus{"DONE"}}}, "stepStates", "TIMEOUT"},
		{contract.ListRequest{Filter: contract.Filter{Metadata: map[string]string{"color": "x"}}}, "metadata", `"color" is not declared; lists filter by region, team`},
	}
	for _, test := range tests {
		_, err := x.List("ada", test.req)
		var r *domain.Rejection
		if !errors.As(err, &r) || r.Code != domain.CodeInvalid || r.Field != test.field || !strings.Contains(r.Message, test.says) {
			t.Errorf("%+v: %v", test.req, err)
		}
	}
	if _, err := x.Count("ada", contract.CountRequest{Filter: contract.Filter{States: []domain.State{"DONE"}}}); !errors.Is(err, &domain.Rejection{Code: domain.CodeInvalid}) {
		t.Error(err)
	}
	x.cfg.Declared = nil
	_, err = x.List("ada", contract.ListRequest{Filter: contract.Filter{Metadata: map[string]string{"color": "x"}}})
	if err == nil || !strings.Contains(err.Error(), "declare it") {
		t.Error(err)
	}
}

// Pages agree with a plain search through a plain slice, whatever the order in
// which sessions came and changed.
func TestListAgreesWithASearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	x := filled(t)
	model := map[string]Entry{}
	users := []string{"ada", "bob"}
	for seq := range 3000 {
		e := entry(users[random.IntN(2)], random.IntN(400), domain.States()[random.IntN(stateCount)])
		e.Seq, e.UpdatedAt = uint64(seq+1), after(random.IntN(50))
		e.CreatedAt = after(random.IntN(50))
		k := key(e.User, e.ID)
		if random.IntN(10) == 0 {
			x.drop(k, uint64(seq))
			delete(model, k.String())
			continue
		}
		x.put(k, newRow(e), true)
		model[k.String()] = e
	}
	for _, o := range orders {
		for range 50 {
			low := random.IntN(50)
			f := contract.Filter{CreatedAfter: after(low), UpdatedBefore: after(low + 30)}
			for _, s := range domain.States() {
				if random.IntN(2) == 0 {
					f.States = append(f.States, s)
				}
			}
			got := ids(pages(t, x, "ada", contract.ListRequest{Filter: f, Sort: o.name, Limit: 1 + random.IntN(40)}))
			if want := ids(searched(model, "ada", f, o)); got != want {
				t.Fatalf("%s %+v:\n%s\nnot\n%s", o.name, f, got, want)
			}
		}
	}
	if x.Len() != len(model) || x.Users() != 2 {
		t.Errorf("%d sessions of %d users", x.Len(), x.Users())
	}
}

func searched(model map[string]Entry, user string, f contract.Filter, o order) []contract.Row {
	var rows []contract.Row
	for _, e := range model {
		if e.User == user && (len(f.States) == 0 || slices.Contains(f.States, e.State)) &&
			e.CreatedAt.After(f.CreatedAfter) && e.UpdatedAt.Before(f.UpdatedBefore) {
			rows = append(rows, e.Row())
		}
	}
	slices.SortFunc(rows, func(a, b contract.Row) int {
		at, bt := a.CreatedAt, b.CreatedAt
		if o.updated {
			at, bt = a.UpdatedAt, b.UpdatedAt
		}
		c := at.Compare(bt)
		if c == 0 {
			c = strings.Compare(a.ID, b.ID)
		}
		if o.descending {
			return -c
		}
		return c
	})
	return rows
}

// A page of a list by state looks at about as many rows as it returns, out of
// a hundred thousand.
func TestAPageLooksAtFewRows(t *testing.T) {
	x := filled(t)
	for n := range 100_000 {
		state := domain.StateCompleted
		if n%1000 == 0 {
			state = domain.StateFailed
		}
		x.put(key("ada", entry("ada", n, state).ID), newRow(entry("ada", n, state)), true)
	}
	looked := 0
	q, err := x.parse("ada", contract.Filter{States: []domain.State{domain.StateFailed}}, orders[1])
	if err != nil {
		t.Fatal(err)
	}
	x.search(q, nil, func(*row) bool { looked++; return looked < 50 })
	if looked != 50 {
		t.Errorf("%d rows", looked)
	}
	if c, err := x.Count("ada", contract.CountRequest{}); err != nil || c.Total != 100_000 || c.States[domain.StateFailed] != 100 {
		t.Errorf("%+v %v", c, err)
	}
	// One that finds nothing lets go of the lock on its way, and ends.
	reply, err := x.List("ada", contract.ListRequest{Filter: contract.Filter{Metadata: map[string]string{"team": "none"}}})
	if err != nil || len(reply.Sessions) != 0 || reply.Next != "" {
		t.Errorf("%+v %v", reply, err)
	}
	n := 0
	if err := x.Each(func(Entry) bool { n++; return true }); err != nil || n != 100_000 {
		t.Errorf("%d of all: %v", n, err)
	}
	n = 0
	if err := x.Each(func(Entry) bool { n++; return n < 10 }); err != nil || n != 10 {
		t.Errorf("%d of ten: %v", n, err)
	}
}

func BenchmarkListPageByState(b *testing.B) {
	x := filled(b)
	for n := range 100_000 {
		e := entry("ada", n, domain.States()[n%stateCount])
		x.put(key("ada", e.ID), newRow(e), true)
	}
	req := contract.ListRequest{Sort: "-updated", Filter: contract.Filter{States: []domain.State{domain.StateRunning, domain.StateFailed}}}
	for b.Loop() {
		if _, err := x.List("ada", req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListByMetadataThatNothingHas(b *testing.B) {
	x := filled(b)
	for n := range 100_000 {
		e := entry("ada", n, domain.StatePending)
		x.put(key("ada", e.ID), newRow(e), true)
	}
	req := contract.ListRequest{Filter: contract.Filter{Metadata: map[string]string{"team": "none"}}}
	for b.Loop() {
		if _, err := x.List("ada", req); err != nil {
			b.Fatal(err)
		}
	}
}
