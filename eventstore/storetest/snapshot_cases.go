package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

var snapshotCases = []testCase{
	{"a snapshot on the history is used", snapshotUsed},
	{"a snapshot that does not prove itself is not used", snapshotRefused},
	{"a snapshot ahead of the events loses", snapshotAhead},
	{"a snapshot of a history that was restored from a backup loses", snapshotOfOtherHistory},
	{"a snapshot that can't be had is none", snapshotFails},
	{"a history of one commit, or none, needs no snapshot", snapshotNotAsked},
	{"a repeated command is known beyond what a snapshot remembers", recentFilled},
	{"command ids that are too old by now are not looked for", recentTooOld},
	{"damage before a snapshot is found when command ids are looked for", recentDamaged},
}

// kept is a Snapshots that knows one state.
type kept struct {
	snapshot eventstore.Snapshot
	err      error
}

// Snapshot returns it for every session.
func (k kept) Snapshot(context.Context, eventstore.Key) (eventstore.Snapshot, error) {
	return k.snapshot, k.err
}

// snapshotOf keeps an aggregate as a view does: with the last command ids only.
func snapshotOf(agg eventstore.Aggregate) eventstore.Snapshot {
	s := *agg.Session
	s.Recent = s.Recent[max(0, len(s.Recent)-domain.RecentMin):]
	return eventstore.Snapshot{Schema: eventstore.SchemaVersion, Seq: agg.Seq, Hash: agg.Hash, Session: &s}
}

// from opens a store that caches nothing and has one snapshot.
func (w *world) from(s eventstore.Snapshot) *eventstore.Store {
	return w.store(eventstore.Config{Snapshots: kept{snapshot: s}, CacheBytes: -1})
}

func snapshotUsed(w *world) {
	after := w.history(w.store(eventstore.Config{}), key(1), 10)
	want := after[9]
	for i, agg := range after {
		s := w.from(snapshotOf(agg))
		got, err := s.Load(w.ctx, key(1))
		w.must(err)
		w.equal(fmt.Sprint("the aggregate from snapshot ", i), got, want)
		if st := s.Stats(); st.SnapshotLoads != 1 || st.FullLoads != 0 || st.SnapshotsRefused != 0 {
			w.Errorf("snapshot %d was not used: %+v", i, st)
		}
	}
}

func snapshotRefused(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 6)
	other := w.history(s, key(2), 6)[3]
	for name, poison := range map[string]func(s *eventstore.Snapshot){
		"no session":          func(s *eventstore.Snapshot) { s.Session = nil },
		"newer schema":        func(s *eventstore.Snapshot) { s.Schema = eventstore.SchemaVersion + 1 },
		"older schema":        func(s *eventstore.Snapshot) { s.Schema = eventstore.SchemaVersion - 1 },
		"no sequence":         func(s *eventstore.Snapshot) { s.Seq = 0 },
		"another hash":        func(s *eventstore.Snapshot) { s.Hash = after[2].Hash },
		"another version":     func(s *eventstore.Snapshot) { s.Session.Version++ },
		"another state":       func(s *eventstore.Snapshot) { s.Session.State = domain.StateFailed },
		"another session":     func(s *eventstore.Snapshot) { s.Session.ID = "s2" },
		"another user":        func(s *eventstore.Snapshot) { s.Session.User = "eve" },
		"another's commit":    func(s *eventstore.Snapshot) { s.Seq, s.Hash = other.Seq, other.Hash },
		"a sequence between":  func(s *eventstore.Snapshot) { s.Seq = other.Seq },
		"an earlier commit":   func(s *eventstore.Snapshot) { s.Seq = after[2].Seq },
		"beyond the sequence": func(s *eventstore.Snapshot) { s.Seq += 1000 },
	} {
		poisoned := snapshotOf(after[3])
		poisoned.Session.Metadata = map[string]string{"note": "poison"}
		poison(&poisoned)
		reader := w.from(poisoned)
		got, err := reader.Load(w.ctx, key(1))
		w.must(err)
		w.equal("the aggregate beside a snapshot with "+name, got, after[5])
		if st := reader.Stats(); st.SnapshotLoads != 0 || st.FullLoads != 1 {
			w.Errorf("a snapshot with %s was used: %+v", name, st)
		}
	}
}

func snapshotAhead(w *world) {
	s := w.store(eventstore.Config{})
	want := w.history(s, key(1), 3)[2]
	p := w.propose(want, "c4", note("never stored"))
	ahead := eventstore.Aggregate{Key: want.Key, Session: p.Next, Seq: want.Seq + 1, Hash: eventstore.Hash([]byte("x"))}
	reader := w.from(snapshotOf(ahead))
	got, err := reader.Load(w.ctx, key(1))
	w.must(err)
	w.equal("the aggregate", got, want)
	w.run(s, key(2), plan(1)) // the sequence exists now, for another session
	got, err = reader.Load(w.ctx, key(1))
	w.must(err)
	w.equal("the aggregate", got, want)
	none, err := reader.Load(w.ctx, key(7))
	w.must(err)
	if none.Seq != 0 || none.Session.Exists() {
		w.Errorf("a session without events is %+v", none)
	}
}

func snapshotOfOtherHistory(w *world) {
	// The history that the snapshots were taken of is in another store.
	lost := &world{T: w.T, ctx: w.ctx, Backend: Backend{Driver: eventstore.NewMemory()}}
	other := lost.history(lost.store(eventstore.Config{}), key(1), 8)
	s := w.store(eventstore.Config{})
	w.history(s, key(1), 3)
	want := w.run(s, key(1), note("another"), note("history"), note("altogether"))[2]
	for i, agg := range other {
		got, err := w.from(snapshotOf(agg)).Load(w.ctx, key(1))
		w.must(err)
		w.equal(fmt.Sprint("the aggregate beside snapshot ", i), got, want)
	}
	for _, agg := range other[3:] {
		got, err := s.Confirm(w.ctx, agg)
		w.must(err)
		w.equal("the confirmed aggregate", got, want)
	}
}

func snapshotFails(w *world) {
	want := w.history(w.store(eventstore.Config{}), key(1), 3)[2]
	s := w.store(eventstore.Config{Snapshots: kept{err: errors.New("no bucket")}})
	got, err := s.Load(w.ctx, key(1))
	w.must(err)
	w.equal("the aggregate", got, want)
}

// counted is a Snapshots that has none and counts how often it is asked.
type counted struct{ asked int }

// Snapshot returns that there is none.
func (c *counted) Snapshot(context.Context, eventstore.Key) (eventstore.Snapshot, error) {
	c.asked++
	return eventstore.Snapshot{}, errors.New("there is none")
}

func snapshotNotAsked(w *world) {
	after := w.history(w.store(eventstore.Config{}), key(1), 1)
	w.history(w.store(eventstore.Config{}), key(2), 2)
	asked := &counted{}
	s := w.store(eventstore.Config{Snapshots: asked})
	got, err := s.Load(w.ctx, key(1))
	w.must(err)
	w.equal("the aggregate", got, after[0])
	_, err = s.Load(w.ctx, key(7))
	w.must(err)
	if asked.asked != 0 {
		w.Errorf("a snapshot was asked for %d times", asked.asked)
	}
	_, err = s.Load(w.ctx, key(2))
	w.must(err)
	if asked.asked != 1 {
		w.Errorf("a snapshot was asked for %d times; a history of two commits may have one", asked.asked)
	}
}

func recentFilled(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 140)
	want := after[139]
	if n := len(want.Session.Recent); n != 121 {
		w.Fatalf("the session remembers %d commands; at one a second it should be those of two minutes", n)
	}
	for _, at := range []int{40, 100, 139} {
		got, err := w.from(snapshotOf(after[at])).Load(w.ctx, key(1))
		w.must(err)
		w.equal(fmt.Sprint("the aggregate from snapshot ", at), got, want)
	}
	got, err := w.from(snapshotOf(after[20])).Load(w.ctx, key(1))
	w.must(err)
	w.equal("the aggregate", got, want)
	c, ok, err := s.FindCommand(w.ctx, want, "c25")
	w.must(err)
	if !ok || c.Commit.ID != "c25" || c.Seq != after[24].Seq {
		w.Errorf("the command is %v %+v", ok, c)
	}
}

// recentTooOld loads at moments behind the last commit of a session with a commit
// a second.
func recentTooOld(w *world) {
	after := w.history(w.store(eventstore.Config{}), key(1), 140)
	last := after[139]
	for behind, want := range map[time.Duration]int{0: 121, time.Minute: 71, 24 * time.Hour: domain.RecentMin} {
		now := last.Session.UpdatedAt.Add(behind)
		s := w.store(eventstore.Config{
			Snapshots: kept{snapshot: snapshotOf(last)}, CacheBytes: -1, Clock: func() time.Time { return now },
		})
		got, err := s.Load(w.ctx, key(1))
		w.must(err)
		if n := len(got.Session.Recent); n != want {
			w.Errorf("%s after its last commit the session remembers %d commands; it should be %d", behind, n, want)
		}
		next := &domain.Commit{ID: "next", Version: last.Session.Version + 1, Time: now}
		w.equal("the session after the next commit", domain.Apply(got.Session, next), domain.Apply(last.Session, next))
	}
}

func recentDamaged(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 3)
	seq := w.forge(after[2], after[2].Session.Version+1, after[1].Hash)
	agg := after[2]
	m, err := w.Driver.Get(w.ctx, seq)
	w.must(err)
	forged, err := eventstore.Codec{}.Decode(m)
	w.must(err)
	agg.Session, agg.Seq, agg.Hash = domain.Apply(agg.Session, forged.Commit), seq, forged.Hash
	snapshot := snapshotOf(agg)
	snapshot.Session.Recent = snapshot.Session.Recent[3:]
	_, err = w.from(snapshot).Load(w.ctx, key(1))
	w.wantDamage(err, eventstore.KindHashChain, key(1), seq)
}
