package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"reprise/domain"
	"reprise/eventstore"
)

var appendCases = []testCase{
	{"what was appended is what is loaded", loadsWhatWasAppended},
	{"a session that was never created is empty", neverCreated},
	{"64 writers lose and double nothing", concurrentWriters},
	{"a lost acknowledgement is found out", lostAck},
	{"a commit that is sent again is one commit", sentAgain},
	{"a commit that lost is a conflict, with the same id too", sameIDOtherBody},
	{"an append over two sessions is both or neither", pairs},
	{"a lost acknowledgement of two is found out", lostPair},
	{"a commit that is too large stores nothing", tooLarge},
	{"a stale aggregate is found out by Confirm", confirms},
	{"the cache follows what others write", observes},
	{"headers say what is inside", headers},
	{"a restart loses nothing", restarts},
}

func loadsWhatWasAppended(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 12)
	w.history(s, key(2), 3)
	last := after[11]
	for _, reader := range []*eventstore.Store{s, w.cold(), w.store(eventstore.Config{})} {
		got, err := reader.Load(w.ctx, key(1))
		w.must(err)
		w.equal("the aggregate", got, last)
	}
}

func neverCreated(w *world) {
	s := w.store(eventstore.Config{})
	agg, err := s.Load(w.ctx, key(1))
	w.must(err)
	if agg.Seq != 0 || agg.Last != 0 || agg.Hash != "" || agg.Session.Exists() || agg.Session.ID != "s1" {
		w.Errorf("it is %+v", agg)
	}
	again, err := s.Confirm(w.ctx, agg)
	w.must(err)
	w.equal("the confirmed one", again, agg)
}

func concurrentWriters(w *world) {
	const writers, each, sessions = 64, 4, 4
	stores := []*eventstore.Store{w.store(eventstore.Config{}), w.cold(), w.store(eventstore.Config{})}
	for n := range sessions {
		w.run(stores[0], key(n), plan(1))
	}
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for i := range each {
				if err := w.insist(stores[n%len(stores)], key(n%sessions), fmt.Sprintf("w%d-%d", n, i)); err != nil {
					w.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for n := range sessions {
		w.must(w.cold().Commits(w.ctx, key(n), 0, func(c eventstore.Committed) error {
			seen[c.Commit.ID]++
			return nil
		}))
	}
	for n := range writers {
		for i := range each {
			if id := fmt.Sprintf("w%d-%d", n, i); seen[id] != 1 {
				w.Errorf("commit %s is stored %d times", id, seen[id])
			}
		}
	}
}

// insist appends a note, deciding again after each conflict.
func (w *world) insist(s *eventstore.Store, k eventstore.Key, id string) error {
	for {
		agg, err := s.Load(w.ctx, k)
		if err == nil {
			agg, err = s.Confirm(w.ctx, agg)
		}
		if err != nil {
			return err
		}
		p, err := proposal(agg, id, note(id))
		if err != nil {
			return err
		}
		if _, err = s.Append(w.ctx, p); !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
}

func lostAck(w *world) {
	lose := false
	s := w.store(eventstore.Config{Driver: lossy{w.Driver, func() bool { return lose }}})
	before := w.history(s, key(1), 3)[2]
	lose = true
	agg, err := s.Append(w.ctx, w.propose(before, "c4", note("x")))
	w.must(err)
	got, err := w.cold().Load(w.ctx, key(1))
	w.must(err)
	w.equal("the aggregate", agg, got)
	if got.Session.Commits != 4 {
		w.Errorf("there are %d commits", got.Session.Commits)
	}
}

func sentAgain(w *world) {
	s := w.store(eventstore.Config{})
	before := w.history(s, key(1), 3)[2]
	p := w.propose(before, "c4", note("x"))
	first, err := s.Append(w.ctx, p)
	w.must(err)
	second, err := s.Append(w.ctx, p)
	w.must(err)
	w.equal("the second answer", second, first)
	later := w.run(s, key(1), note("y"), note("z"))
	third, err := s.Append(w.ctx, p)
	w.must(err)
	w.equal("the third answer", third, first)
	got, err := s.Load(w.ctx, key(1))
	w.must(err)
	w.equal("the session", got, later[1])
}

func sameIDOtherBody(w *world) {
	s := w.store(eventstore.Config{})
	before := w.history(s, key(1), 3)[2]
	_, err := s.Append(w.ctx, w.propose(before, "c4", note("x")))
	w.must(err)
	_, err = s.Append(w.ctx, w.propose(before, "c4", note("y")))
	w.want(err, eventstore.ErrConflict)
	_, err = s.Append(w.ctx, w.propose(before, "other", note("x")))
	w.want(err, eventstore.ErrConflict)
	got, err := s.Load(w.ctx, key(1))
	w.must(err)
	if got.Session.Commits != 4 || got.Session.Metadata["note"] != "x" {
		w.Errorf("the session is %+v", got.Session)
	}
}

// move proposes to move a chain from one session to another.
func (w *world) move(from, to eventstore.Aggregate, id string) (eventstore.Proposal, eventstore.Proposal) {
	w.Helper()
	env := domain.Env{Now: epoch.Add(1e12), Actor: "ada", CommandID: id}
	c := &domain.MoveChain{Chain: "main", To: to.Key.Session}
	out, in, err := domain.DecideMove(from.Session, to.Session, c, env)
	w.must(err)
	return propose(from, env, c.Verb(), out), propose(to, env, c.Verb(), in)
}

// movable makes a session whose chain can move to another one.
func (w *world) movable(s *eventstore.Store) (from, to eventstore.Aggregate) {
	w.Helper()
	empty := &domain.Create{Definition: domain.Definition{KeepOpen: true}}
	return w.run(s, key(1), plan(2))[0], w.run(s, key(2), empty)[0]
}

func pairs(w *world) {
	s := w.store(eventstore.Config{})
	from, to := w.movable(s)
	a, b := w.move(from, to, "m1")
	staleFrom := w.run(s, key(1), note("moved on"))[0]
	_, _, err := s.AppendPair(w.ctx, a, b)
	w.want(err, eventstore.ErrConflict)
	got, err := w.cold().Load(w.ctx, key(2))
	w.must(err)
	w.equal("the session that was to get the chain", got, to)
	a, b = w.move(staleFrom, to, "m2")
	left, right, err := s.AppendPair(w.ctx, a, b)
	w.must(err)
	for _, want := range []eventstore.Aggregate{left, right} {
		got, err := w.cold().Load(w.ctx, want.Key)
		w.must(err)
		w.equal("the session", got, want)
	}
	if len(left.Session.Chains) != 0 || len(right.Session.Chains) != 1 {
		w.Error("the chain has not moved")
	}
	if _, _, err := s.AppendPair(w.ctx, a, a); err == nil {
		w.Error("a pair of one session is accepted")
	}
}

func lostPair(w *world) {
	lose := false
	s := w.store(eventstore.Config{Driver: lossy{w.Driver, func() bool { return lose }}})
	from, to := w.movable(s)
	a, b := w.move(from, to, "m1")
	lose = true
	left, right, err := s.AppendPair(w.ctx, a, b)
	w.must(err)
	again, _, err := s.AppendPair(w.ctx, a, b)
	w.must(err)
	w.equal("the second answer", again, left)
	got, err := w.cold().Load(w.ctx, right.Key)
	w.must(err)
	w.equal("the session", got, right)
}

func tooLarge(w *world) {
	s := w.store(eventstore.Config{MaxMessage: 4096})
	before := w.history(s, key(1), 2)[1]
	_, err := s.Append(w.ctx, w.propose(before, "c3", &domain.SucceedManual{Chain: "main", Step: "1", Output: big(5000)}))
	w.want(err, eventstore.ErrTooLarge)
	got, err := w.cold().Load(w.ctx, key(1))
	w.must(err)
	w.equal("the session", got, before)
}

func confirms(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(w.store(eventstore.Config{}), key(1), 6)
	for i, old := range after {
		got, err := s.Confirm(w.ctx, old)
		w.must(err)
		w.equal(fmt.Sprint("confirmed from ", i), got, after[5])
	}
	cached, ok := s.Cached(key(1))
	if !ok {
		w.Fatal("what was confirmed is not cached")
	}
	w.equal("the cached one", cached, after[5])
}

func observes(w *world) {
	s, other := w.store(eventstore.Config{}), w.store(eventstore.Config{})
	w.history(other, key(1), 3)
	_, err := s.Load(w.ctx, key(1))
	w.must(err)
	newest := w.run(other, key(1), note("x"), note("y"))[1]
	commits, _ := w.replay(s, eventstore.Filter{})
	for _, c := range commits {
		s.Observe(c)
	}
	got, ok := s.Cached(key(1))
	if !ok {
		w.Fatal("the session has left the cache")
	}
	w.equal("the cached aggregate", got, newest)
	newest = w.run(other, key(1), note("1"), note("2"))[1]
	commits, _ = w.replay(s, eventstore.Filter{From: newest.Seq})
	s.Observe(commits[0])
	if _, ok := s.Cached(key(1)); ok {
		w.Error("an aggregate that a commit does not follow on stays cached")
	}
}

func headers(w *world) {
	s := w.store(eventstore.Config{Source: "test-engine"})
	agg := w.history(s, key(1), 2)[1]
	p := w.propose(agg, "c3", note("x"))
	p.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	agg, err := s.Append(w.ctx, p)
	w.must(err)
	m, err := w.Driver.Get(w.ctx, agg.Seq)
	w.must(err)
	w.equal("the headers", m.Header, map[string]string{
		"ce-specversion": "1.0", "ce-id": fmt.Sprintf("ada.s1.%d", agg.Session.Version), "ce-source": "test-engine",
		"ce-type": "reprise.commit.v1", "ce-time": "2026-03-01T12:00:02Z", "ce-subject": "ada.s1",
		"Reprise-Types": "metadata.set", "traceparent": p.TraceParent,
	})
	if !m.Guarded || m.Prev != p.Base.Seq {
		w.Errorf("the guard is %v %d", m.Guarded, m.Prev)
	}
}

func restarts(w *world) {
	if !w.Driver.Features().Durable {
		if w.Restart != nil {
			w.Error("the backend can restart but does not declare that it is durable")
		}
		return
	}
	s := w.store(eventstore.Config{})
	var want []eventstore.Aggregate
	for n := range 5 {
		want = append(want, w.history(s, key(n), 3+n)[2+n])
	}
	before, err := s.Info(w.ctx)
	w.must(err)
	w.Driver = w.Restart(w.T)
	s = w.store(eventstore.Config{})
	after, err := s.Info(w.ctx)
	w.must(err)
	w.equal("the store", after, before)
	for _, agg := range slices.Backward(want) {
		got, err := s.Load(w.ctx, agg.Key)
		w.must(err)
		w.equal("the session", got, agg)
	}
	w.run(s, key(0), note("after the restart"))
}
