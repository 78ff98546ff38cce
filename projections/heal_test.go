package projections

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/domain"
	"reprise/eventstore"
)

func TestViewsOfTombstonesStayPurged(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		a, b := key("ada", "s1"), key("ada", "s2")
		alive := w.create(a)
		w.create(b)
		v := w.views(store)
		stop := w.hold(v)
		w.wait(v)
		w.purge(a)
		w.wait(v)
		stop()
		w.expect(store, b)

		zombie, err := encodeView(alive, []string{"team"})
		if err != nil {
			t.Fatal(err)
		}
		raise(t, store, zombie)
		again := openWorld(t, w.driver, eventstore.Config{Snapshots: SnapshotsOf(store)})
		healed := make(chan eventstore.Aggregate, 16)
		next := again.views(store, func(c *ViewsConfig) {
			c.Healed = func(a eventstore.Aggregate) { healed <- a }
		})
		stop = again.hold(next)
		eventually(t, "the zombie to go", func() bool { return len(dump(t, store)) == 1 && len(healed) > 0 })
		stop()
		again.expect(store, b)
		if a := <-healed; a.Session.Gone == nil || len(healed) > 0 {
			t.Errorf("healed %+v, and %d more", a, len(healed))
		}
	})
}

// raise writes views behind the back of whoever holds the role, and keeps the
// checkpoint.
func raise(t *testing.T, store ViewStore, views ...View) {
	t.Helper()
	write(t, writer(t, store), views...)
}

func TestPoisonedViewsHeal(t *testing.T) {
	poison := map[string]func(v View, a eventstore.Aggregate) []View{
		"ahead of the events": func(v View, a eventstore.Aggregate) []View {
			a.Seq += 1000
			ahead, _ := encodeView(a, []string{"team"})
			return []View{ahead}
		},
		"behind": func(v View, a eventstore.Aggregate) []View {
			a.Seq--
			b, _ := encodeView(a, []string{"team"})
			return []View{b}
		},
		"no JSON": func(v View, _ eventstore.Aggregate) []View {
			return []View{{Key: v.Key, Body: []byte("x"), Index: []byte("y")}}
		},
		"of nobody": func(v View, _ eventstore.Aggregate) []View {
			return []View{{Key: "eve.s9", Body: v.Body, Index: v.Index}}
		},
		"missing":        func(v View, _ eventstore.Aggregate) []View { return []View{{Key: v.Key}} },
		"without header": func(v View, _ eventstore.Aggregate) []View { return []View{{Key: v.Key, Body: v.Body}} },
		"not a view":     func(View, eventstore.Aggregate) []View { return []View{{Key: "eve.s9", Body: []byte("x")}} },
	}
	for name, poisoned := range poison {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := NewMemoryViews()
			a, b := w.create(key("ada", "s1")), w.create(key("ada", "s2"))
			v := w.views(store)
			stop := w.hold(v)
			w.wait(v)
			stop()
			raise(t, store, poisoned(dump(t, store)["ada.s1"], a)...)

			again := openWorld(t, w.driver, eventstore.Config{Snapshots: SnapshotsOf(store)})
			next := again.views(store)
			again.hold(next)
			eventually(t, "the view to heal", func() bool { return next.Progress().Healed == 1 })
			again.do(b.Key, &domain.Start{})
			again.wait(next)
			eventually(t, "all to be put", func() bool { return next.Progress().Waiting == 0 })
			again.do(b.Key, &domain.Pause{})
			again.wait(next)
			again.expect(store, a.Key, b.Key)
		})
	}
}

func TestViewsOfANewerSchemaAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	a, b := w.create(key("ada", "s1")), w.create(key("ada", "s2"))
	v := w.views(store)
	stop := w.hold(v)
	w.wait(v)
	stop()
	newer := View{Key: "ada.s1", Body: []byte(`{"schema":99,"id":"s1","user":"ada","new":1}`), Index: []byte(`{"schema":99,"id":"s1","user":"ada","state":"PENDING"}`)}
	raise(t, store, newer)

	again := openWorld(t, w.driver, eventstore.Config{Snapshots: SnapshotsOf(store)})
	next := again.views(store)
	again.hold(next)
	again.wait(next)
	again.do(a.Key, &domain.Start{})
	again.do(b.Key, &domain.Start{})
	again.wait(next)
	check := func() {
		t.Helper()
		all := dump(t, store)
		if string(all["ada.s1"].Body) != string(newer.Body) {
			t.Errorf("it was overwritten with %s", all["ada.s1"].Body)
		}
		if e, err := parseEntry("ada.s2", all["ada.s2"].Index); err != nil || e.State != domain.StateRunning {
			t.Errorf("%+v %v", e, err)
		}
	}
	check()
	if err := next.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	x := again.index(store, "team")
	r, _ := again.runner(x)
	again.wait(r)
	if e, ok := x.Get(a.Key); !ok || e.State != domain.StateRunning {
		t.Errorf("the index has %+v", e)
	}
}

func TestACheckpointThatDoesNotFitMeansAllAnew(t *testing.T) {
	good := func(c Checkpoint) Checkpoint { return c }
	tests := []struct {
		name   string
		change func(Checkpoint) Checkpoint
		anew   bool
	}{
		{"as it was", good, false},
		{"another incarnation", func(c Checkpoint) Checkpoint { c.Incarnation = "x"; return c }, true},
		{"beyond the end", func(c Checkpoint) Checkpoint { c.Seq += 100; return c }, true},
		{"another hash", func(c Checkpoint) Checkpoint { c.Hash = "x"; return c }, true},
		{"another schema", func(c Checkpoint) Checkpoint { c.Schema++; return c }, true},
		{"other keys", func(c Checkpoint) Checkpoint { c.Declared = []string{"x"}; return c }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			store := NewMemoryViews()
			a, b := w.create(key("ada", "s1")), w.create(key("ada", "s2"))
			v := w.views(store)
			stop := w.hold(v)
			w.wait(v)
			stop()
			c, _ := store.Checkpoint(t.Context())
			stale := View{Key: "bob.gone", Body: []byte("{}"), Index: []byte("{}")}
			wr := writer(t, store)
			write(t, wr, stale)
			if err := wr.SetCheckpoint(t.Context(), test.change(c)); err != nil {
				t.Fatal(err)
			}
			next := w.views(store)
			x := w.index(store, "team")
			w.runner(next, x)
			w.background(next.Run)
			w.wait(next)
			if anew := next.Progress().Puts >= 2; anew != test.anew {
				t.Errorf("%d puts", next.Progress().Puts)
			}
			eventually(t, "the stale view to go", func() bool { return len(dump(t, store)) == 2 })
			w.expect(store, a.Key, b.Key)
			eventually(t, "the index", x.Ready)
			if x.Len() != 2 {
				t.Errorf("%d in the index", x.Len())
			}
		})
	}
}

// The commit of the checkpoint may have been compacted since.
func TestCheckpointOfACompactedSession(t *testing.T) {
	w := newWorld(t)
	a, b := w.create(key("ada", "s1")), w.create(key("ada", "s2"))
	info, err := w.store.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := Checkpoint{Incarnation: info.Incarnation, Seq: b.Seq, Hash: b.Hash, User: "ada", Session: "s2"}
	proven := func(want bool) {
		t.Helper()
		now, err := w.store.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.proven(t.Context(), w.store, now); err != nil || got != want {
			t.Errorf("%+v: %v %v", c, got, err)
		}
	}
	proven(true)
	stone := w.purge(b.Key)
	if err := w.driver.Compact(t.Context(), b.Key, stone.Seq); err != nil {
		t.Fatal(err)
	}
	proven(true)
	c.Session = "s1"
	proven(false)
	c.Session = ""
	proven(false)
	_ = a
}

// An older event store beside newer views: the events win.
func TestViewsOfALostFutureAreReplaced(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	a := key("ada", "s1")
	w.create(a)
	w.do(a, &domain.Start{})
	w.create(key("ada", "later"))
	v := w.views(store)
	stop := w.hold(v)
	w.wait(v)
	stop()

	restored := newWorld(t)
	restored.create(a)
	next := restored.views(store)
	restored.hold(next)
	restored.wait(next)
	eventually(t, "what was lost to go", func() bool { return len(dump(t, store)) == 1 })
	restored.expect(store, a)
}

// A bucket that is deleted under its holder is made again by the next tenure,
// with the same views in it.
func TestDeletedBucketIsMadeAgain(t *testing.T) {
	s := serve(t, t.TempDir())
	w, views := onServer(t, s)
	a := key("ada", "s1")
	w.create(a)
	v := w.views(views)
	_, stopRunner := w.runner(v)
	defer stopRunner()
	stop := w.background(v.Run)
	w.wait(v)
	before := dump(t, views)
	stop()

	api, err := jetstream.New(dial(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if err := api.DeleteKeyValue(t.Context(), bucketConfig.Bucket); err != nil {
		t.Fatal(err)
	}
	stop = w.background(v.Run)
	defer stop()
	eventually(t, "it holds", func() bool { return v.Progress().Holding })
	w.wait(v)
	same(t, dump(t, views), before)
}
