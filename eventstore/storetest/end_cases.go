package storetest

import (
	"sync"

	"reprise/domain"
	"reprise/eventstore"
)

var endCases = []testCase{
	{"a purged session can't be reborn", notReborn},
	{"a compacted history is its tombstone", compactedHistory},
	{"a session that lives can't be compacted", onlyTheDead},
	{"a load meets a compaction half way", compactionMeanwhile},
}

// dead deletes a session that has some history.
func (w *world) dead(s *eventstore.Store, k eventstore.Key) eventstore.Aggregate {
	w.Helper()
	w.run(s, k, plan(1), note("a"), note("b"))
	return w.run(s, k, &domain.Delete{})[0]
}

func notReborn(w *world) {
	s := w.store(eventstore.Config{})
	before, err := s.Load(w.ctx, key(1))
	w.must(err)
	birth := w.propose(before, "again", plan(1))
	gone := w.dead(s, key(1))
	for range 2 {
		_, err = s.Append(w.ctx, birth)
		w.want(err, eventstore.ErrConflict)
		agg, err := w.cold().Load(w.ctx, key(1))
		w.must(err)
		if agg.Session.Gone == nil || agg.Session.Exists() {
			w.Fatalf("the session is %+v", agg.Session)
		}
		if _, err := proposal(agg, "again", plan(1)); err == nil {
			w.Fatal("a dead session is created again")
		}
		w.must(s.Compact(w.ctx, gone))
	}
}

func compactedHistory(w *world) {
	s := w.store(eventstore.Config{})
	gone := w.dead(s, key(1))
	w.must(s.Compact(w.ctx, gone))
	w.must(s.Compact(w.ctx, gone))
	agg, err := w.cold().Load(w.ctx, key(1))
	w.must(err)
	w.equal("the tombstone", agg.Session.Gone, gone.Session.Gone)
	if agg.Seq != gone.Seq || agg.Hash != gone.Hash || agg.Session.Version != gone.Session.Version {
		w.Errorf("the aggregate is %+v", agg)
	}
	n := 0
	w.must(w.cold().Commits(w.ctx, key(1), 0, func(c eventstore.Committed) error {
		n++
		if c.Commit.Tombstone() == nil {
			w.Error("the commit is no tombstone")
		}
		return nil
	}))
	if n != 1 {
		w.Errorf("the history has %d commits", n)
	}
	for _, cut := range []eventstore.Cut{{Version: 1}, {Seq: 1}, {Time: epoch}, {Seq: gone.Seq}} {
		agg, err := s.At(w.ctx, key(1), cut)
		w.must(err)
		if agg.Session.Gone == nil {
			w.Errorf("at %+v the session is %+v", cut, agg.Session)
		}
	}
	c, ok, err := s.FindCommand(w.ctx, agg, "c4")
	w.must(err)
	if !ok || c.Seq != gone.Seq {
		w.Error("the command that deleted the session is not found")
	}
}

func onlyTheDead(w *world) {
	s := w.store(eventstore.Config{})
	agg := w.history(s, key(1), 3)[2]
	if err := s.Compact(w.ctx, agg); err == nil {
		w.Error("a living session was compacted")
	}
	got, err := w.cold().Load(w.ctx, key(1))
	w.must(err)
	w.equal("the session", got, agg)
}

// compactionMeanwhile loads sessions while they are deleted and compacted: each
// load sees the session whole or gone, never a gap.
func compactionMeanwhile(w *world) {
	s := w.store(eventstore.Config{})
	for n := range 20 {
		w.run(s, key(n), plan(1), note("a"), note("b"), note("c"))
	}
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			for i := 0; ; i++ {
				agg, err := w.cold().Load(w.ctx, key(n))
				if err != nil {
					w.Error(err)
					return
				}
				if agg.Session.Gone != nil || i > 10000 {
					return
				}
			}
		})
	}
	for n := range 20 {
		gone := w.run(s, key(n), &domain.Delete{})[0]
		w.must(s.Compact(w.ctx, gone))
	}
	wg.Wait()
}
