package projections

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/cputime"
)

// Whatever is put into a run and taken out of it, it walks in order both ways
// and finds every place, and its chunks stay small.
func TestARunIsInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var r run
	var model []stop
	for n := range 20_000 {
		grow := 3 + 4*(n/5000%2) // it grows, shrinks, grows and shrinks
		if random.IntN(10) < grow || len(model) == 0 {
			s := stop{int64(random.IntN(3000)), &row{id: fmt.Sprint(n)}}
			if random.IntN(3) == 0 {
				s.at = int64(n) // later than most
			}
			i, _ := slices.BinarySearchFunc(model, s, compareStops)
			model = slices.Insert(model, i, s)
			r.insert(s.at, s.row)
		} else {
			i := random.IntN(len(model))
			r.remove(model[i].at, model[i].row)
			model = slices.Delete(model, i, i+1)
		}
		if n%1000 == 0 || n > 19_990 {
			checkRun(t, &r, model)
		}
	}
}

func compareStops(a, b stop) int {
	switch {
	case a.before(b.at, b.row.id):
		return -1
	case b.before(a.at, a.row.id):
		return 1
	}
	return 0
}

func checkRun(t *testing.T, r *run, model []stop) {
	t.Helper()
	var forth, back []*row
	for s := (spot{}); r.at(s) != nil; s = r.next(s) {
		forth = append(forth, r.at(s))
	}
	for s := r.prev(r.find(1<<40, "")); r.at(s) != nil; s = r.prev(s) {
		back = append(back, r.at(s))
	}
	slices.Reverse(back)
	var want []*row
	for _, s := range model {
		want = append(want, s.row)
		if r.at(r.find(s.at, s.row.id)) != s.row {
			t.Fatalf("row %s at %d is not found", s.row.id, s.at)
		}
	}
	if !slices.Equal(forth, want) || !slices.Equal(back, want) || r.rows != len(want) {
		t.Fatalf("%d forth, %d back, %d counted; %d are there", len(forth), len(back), r.rows, len(want))
	}
	for i, c := range r.chunks {
		if len(c) == 0 || len(c) > chunkRows || i > 0 && len(c)+len(r.chunks[i-1]) < mergedRows/2 {
			t.Fatalf("chunk %d has %d rows", i, len(c))
		}
	}
}

// The short way from a session to a row is the long one.
func TestRowsOfSessionsAreThoseOfTheirEntries(t *testing.T) {
	w := newWorld(t)
	k := key("ada", "s1")
	steps := []eventstore.Aggregate{w.create(k), w.do(k, &domain.Start{})}
	steps = append(steps, w.do(k, &domain.Claim{Chain: "c", Step: "1", Worker: "w", Action: "build"}))
	steps = append(steps, w.do(k, &domain.Fail{Chain: "c", Step: "1", Attempt: 1, Worker: "w", Action: "build", Error: domain.ReportError{Message: "no"}}))
	for _, a := range steps {
		short, long := rowOf(a, []string{"team"}), newRow(NewEntry(a, []string{"team"}))
		if !reflect.DeepEqual(short, long) {
			t.Errorf("\n%+v\n%+v", short, long)
		}
	}
}

// While sessions change, every page of a list is in its order and holds no
// session twice, one that does not change is in it, and Each meets it once.
func TestListsWhileSessionsChange(t *testing.T) {
	x := filled(t)
	const all, still = 2000, 500
	for n := range all {
		e := entry("ada", n, domain.StatePending)
		x.put(key("ada", e.ID), newRow(e), true)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for n := all; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			e := entry("ada", still+n%(all-still), domain.States()[n/all%2])
			e.Seq, e.UpdatedAt = uint64(n+2), after(200_000+n)
			x.put(key("ada", e.ID), newRow(e), true)
		}
	})
	defer wg.Wait()
	defer close(stop)
	for range 20 {
		for _, sort := range []string{"created", "-updated"} {
			checkPages(t, x, sort, still)
		}
		met := map[string]int{}
		if err := x.Each(func(e Entry) bool { met[e.ID]++; return true }); err != nil {
			t.Fatal(err)
		}
		for n := range still {
			if id := entry("ada", n, domain.StatePending).ID; met[id] != 1 {
				t.Fatalf("%s is met %d times", id, met[id])
			}
		}
	}
}

// checkPages reads one list; the first sessions in it do not change.
func checkPages(t *testing.T, x *Index, sort string, still int) {
	t.Helper()
	seen := map[string]bool{}
	quiet := 0
	req := contract.ListRequest{Sort: sort, Limit: 200}
	for {
		reply, err := x.List("ada", req)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(reply.Sessions, func(a, b contract.Row) int {
			if sort == "created" {
				return a.CreatedAt.Compare(b.CreatedAt)
			}
			return b.UpdatedAt.Compare(a.UpdatedAt)
		}) {
			t.Fatal("a page is out of order")
		}
		for _, r := range reply.Sessions {
			if seen[r.ID] && sort == "created" {
				t.Fatalf("%s came twice", r.ID)
			}
			if !seen[r.ID] && r.UpdatedAt.Before(after(200_000)) && r.CreatedAt.Before(after(still)) {
				quiet++
			}
			seen[r.ID] = true
		}
		if req.Page = reply.Next; req.Page == "" {
			break
		}
	}
	if quiet != still {
		t.Fatalf("%d of %d that did not change", quiet, still)
	}
}

// BenchmarkIndexApply is what one commit costs the index: most change nothing
// but the time of the last change.
func BenchmarkIndexApply(b *testing.B) {
	for _, sessions := range []int{1000, 100_000} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			x, changes := filled(b), benchChanges(b, sessions)
			for _, c := range changes {
				apply(b, x, c, 0)
			}
			random := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			used := cputime.Used()
			for n := 1; b.Loop(); n++ {
				apply(b, x, changes[random.IntN(sessions)], n)
			}
			measure(b, used, b.N)
		})
	}
}

// benchChanges are sessions of a hundred users with a step in flight.
func benchChanges(b *testing.B, sessions int) []Change {
	b.Helper()
	a, err := history(b, 1, false).Load(b.Context(), key("ada", "s0"))
	if err != nil {
		b.Fatal(err)
	}
	changes := make([]Change, sessions)
	for n := range changes {
		s := *a.Session
		s.State, s.CreatedAt, s.UpdatedAt = domain.StateRunning, after(n), after(n)
		changes[n].After = eventstore.Aggregate{Key: key(fmt.Sprint("u", n%100), fmt.Sprintf("0198f1c2-7c1b-7d43-%08d", n)), Session: &s, Seq: uint64(n + 1)}
	}
	return changes
}

// apply applies one more commit of a session; every tenth changes its state.
func apply(b *testing.B, x *Index, c Change, n int) {
	b.Helper()
	s := *c.After.Session
	s.UpdatedAt = epoch.Add(1e6*time.Second + time.Duration(n)*time.Millisecond)
	if n%10 == 9 {
		s.State = domain.StateCompleted
	}
	c.Seq = uint64(n + 1_000_000)
	c.After.Seq, c.After.Session = c.Seq, &s
	if err := x.Apply(b.Context(), c); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkIndexMemory says how much memory a session takes in the index, among
// many of one user and where each has a user of its own.
func BenchmarkIndexMemory(b *testing.B) {
	for _, users := range []int{1, 100, 100_000} {
		b.Run(fmt.Sprint("users=", users), func(b *testing.B) {
			const sessions = 100_000
			var before, end runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				x := filled(b)
				for n := range sessions {
					e := Entry{User: fmt.Sprintf("user-%06d", n%users), ID: fmt.Sprintf("0198f1c2-7c1b-7d43-%08d", n), State: domain.StatePending, CreatedAt: after(n), UpdatedAt: after(n * 7919 % sessions)}
					x.put(key(e.User, e.ID), newRow(e), true)
				}
				runtime.GC()
				runtime.ReadMemStats(&end)
				runtime.KeepAlive(x)
			}
			b.ReportMetric(float64(end.HeapAlloc-before.HeapAlloc)/sessions, "B/row")
		})
	}
}
