package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// hold starts a runner and the holder of the views.
func (w *world) hold(v *Views) (stop func()) {
	w.t.Helper()
	_, stopRunner := w.runner(v)
	stopViews := w.background(v.Run)
	return func() { stopViews(); stopRunner() }
}

func TestViewsFollowTheEvents(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		a, b, c := key("ada", "s1"), key("user with spaces", "s1"), key("ada", "s3")
		w.create(a)
		v := w.views(store)
		stop := w.hold(v)
		w.wait(v)
		w.expect(store, a)
		w.create(b)
		w.do(a, &domain.Start{})
		w.create(c)
		w.purge(c)
		w.wait(v)
		w.expect(store, a, b)
		if p := v.Progress(); !p.Holding || p.Lag != 0 || p.Rebuilding || p.Purges == 0 || p.Position.Seq != w.end() || p.Commits < 4 {
			t.Errorf("%+v", p)
		}
		snap, err := v.Snapshot(t.Context(), a)
		if err != nil || snap.Seq != 3 || snap.Session.State != domain.StateRunning || snap.Schema != eventstore.SchemaVersion {
			t.Errorf("%+v %v", snap, err)
		}
		if _, err := v.Snapshot(t.Context(), c); !errors.Is(err, ErrNoView) {
			t.Errorf("purged: %v", err)
		}
		stop()
		if err := v.Rebuild(t.Context()); !errors.Is(err, ErrStandby) {
			t.Error(err)
		}
	})
}

// What is a view is told to clients: it is a contract.
func TestViewAsClientsReadIt(t *testing.T) {
	w := newWorld(t)
	a := w.create(key("ada", "s1"))
	for range domain.RecentMin + 5 {
		a = w.do(a.Key, &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(w.n)}})
	}
	v, err := encodeView(a, []string{"team", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	var view struct {
		Schema  int
		Seq     uint64
		Hash    string
		ID      string
		State   string
		Version uint64
		Recent  []domain.Applied
		Chains  []domain.Chain
	}
	if err := json.Unmarshal(v.Body, &view); err != nil {
		t.Fatal(err)
	}
	if view.Seq != a.Seq || view.Hash != a.Hash || view.ID != "s1" || view.State != "PENDING" || view.Version != a.Session.Version || len(view.Chains) != 1 {
		t.Errorf("%+v", view)
	}
	if n := len(view.Recent); n != domain.RecentMin || view.Recent[n-1].Version != a.Session.Version {
		t.Errorf("%d remembered", n)
	}
	e, err := parseEntry(v.Key, v.Index)
	if err != nil || e.Chains != 1 || e.Steps != 2 || len(e.Metadata) != 1 || e.Metadata["team"] != "red" {
		t.Errorf("%+v %v", e, err)
	}
	for _, bad := range []View{{Key: v.Key, Body: []byte("{")}, {Key: "eve.s1", Body: v.Body}, {Key: v.Key, Body: []byte("{}")}} {
		if _, err := decodeView(bad); err == nil {
			t.Errorf("decoded %s", bad.Body)
		}
	}
}

func TestCommitsOfASessionFoldIntoOnePut(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	v := w.views(store, func(c *ViewsConfig) { c.MinAge, c.MaxAge = time.Hour, time.Hour })
	r, _ := w.runner(v)
	w.background(v.Run)
	a := key("ada", "s1")
	w.create(a)
	w.wait(v)
	before := v.Progress().Puts
	for range 50 {
		w.do(a, &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(w.n)}})
	}
	w.wait(r)
	w.wait(v)
	if n := v.Progress().Puts - before; n < 1 || n > 2 {
		t.Errorf("50 commits made %d puts", n)
	}
	w.expect(store, a)
}

func TestViewsKeepOnlyKeysBeyondTheirBound(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	v := w.views(store, func(c *ViewsConfig) { c.MaxBatch = 2; c.FoldLimit = 1 })
	var keys []eventstore.Key
	for i := range 5 {
		keys = append(keys, key("ada", fmt.Sprint("s", i)))
		w.create(keys[i])
	}
	w.hold(v)
	w.wait(v)
	for _, k := range keys {
		w.do(k, &domain.Start{})
	}
	w.wait(v)
	w.expect(store, keys...)
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range 3 {
		v.mark(key("ada", fmt.Sprint("t", i)), eventstore.Aggregate{Session: &domain.Session{}})
	}
	if v.dirty[key("ada", "t2")].Session != nil {
		t.Error("a third state was kept")
	}
	clear(v.dirty)
}

func TestPaceFollowsTheLoad(t *testing.T) {
	w := newWorld(t)
	v := w.views(NewMemoryViews(), func(c *ViewsConfig) { c.MinAge, c.MaxAge = 50*time.Millisecond, time.Second })
	tn := &tenure{v: v, w: writer(t, v.cfg.Store), interval: v.cfg.MinAge}
	flush := func(n int) {
		t.Helper()
		v.mu.Lock()
		for i := range n {
			v.mark(key("ada", fmt.Sprint("s", i)), eventstore.Aggregate{})
		}
		v.mu.Unlock()
		if err := tn.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		flush(busyPuts)
	}
	if tn.interval != time.Second {
		t.Errorf("under load: %s", tn.interval)
	}
	for range 10 {
		flush(1)
	}
	if tn.interval != 50*time.Millisecond {
		t.Errorf("at rest: %s", tn.interval)
	}
}

func TestRebuildGivesTheSameBytes(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		var keys []eventstore.Key
		for i := range 20 {
			k := key("ada", fmt.Sprint("s", i))
			keys = append(keys, k)
			w.create(k)
			w.do(k, &domain.Start{})
			w.do(k, &domain.Claim{Chain: "c", Step: "1", Worker: "w", Action: "build"})
			if i%2 == 0 {
				w.do(k, &domain.Fail{Chain: "c", Step: "1", Attempt: 1, Worker: "w", Action: "build", Error: domain.ReportError{Message: "it <broke>"}})
			}
		}
		gone := key("ada", "gone")
		w.create(gone)
		w.purge(gone)
		v := w.views(store, func(c *ViewsConfig) { c.MaxBatch, c.FoldLimit = 7, 3 })
		w.hold(v)
		w.wait(v)
		before := dump(t, store)
		w.expect(store, keys...)
		if err := v.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wait(v)
		same(t, dump(t, store), before)
		if p := v.Progress(); p.Rebuilding || p.Position.Seq != w.end() {
			t.Errorf("%+v", p)
		}
	})
}

func TestViewsGoOnFromTheCheckpoint(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		a, b := key("ada", "s1"), key("ada", "s2")
		w.create(a)
		w.create(b)
		v := w.views(store)
		stop := w.hold(v)
		w.wait(v)
		stop()
		w.do(a, &domain.Start{})

		again := openWorld(t, w.driver, eventstore.Config{Snapshots: SnapshotsOf(store)})
		next := again.views(store)
		again.hold(next)
		again.wait(next)
		again.expect(store, a, b)
		if n := next.Progress().Puts; n != 1 {
			t.Errorf("%d puts after a restart with one commit", n)
		}
	})
}

// A holder that ends writes what it has.
func TestViewsArePutAtTheEnd(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	v := w.views(store, func(c *ViewsConfig) { c.MinAge = time.Hour })
	a, b := key("ada", "s1"), key("ada", "s2")
	w.create(a)
	r, _ := w.runner(v)
	stop := w.background(v.Run)
	w.wait(v)
	w.create(b)
	w.wait(r)
	stop()
	w.expect(store, a, b)
}

func TestStandbyBecomesHolder(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		other := openWorld(t, w.driver, eventstore.Config{})
		a, b := key("ada", "s1"), key("ada", "s2")
		w.create(a)

		first, second := w.views(store), other.views(store)
		w.runner(first)
		waiting, _ := other.runner(second)
		stop := w.background(first.Run)
		w.wait(first)
		w.do(a, &domain.Start{})
		w.create(b)
		other.wait(waiting)
		if p := second.Progress(); p.Holding || p.Puts != 0 || p.Waiting != 0 {
			t.Errorf("standing by: %+v", p)
		}
		stop()
		w.do(a, &domain.Pause{}) // nobody holds
		done := make(chan struct{})
		go func() { // and goes on through the switch
			defer close(done)
			for range 50 {
				w.do(b, &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(w.n)}})
			}
		}()
		other.background(second.Run)
		<-done
		other.wait(second)
		other.expect(store, a, b)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := first.WaitFor(ctx, w.at(1000)); !errors.Is(err, ErrStopped) && !errors.Is(err, context.Canceled) {
			t.Errorf("who ended: %v", err)
		}
	})
}

func TestOldHolderIsFenced(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		other := openWorld(t, w.driver, eventstore.Config{})
		a := key("ada", "s1")
		w.create(a)
		first, second := w.views(store), other.views(store)
		w.runner(first)
		other.runner(second)
		ended := make(chan error, 1)
		go func() { ended <- first.Run(context.Background()) }()
		w.wait(first)
		if err := first.Run(t.Context()); !errors.Is(err, ErrUsed) {
			t.Errorf("twice at once: %v", err)
		}
		other.background(second.Run)
		eventually(t, "the new holder", func() bool { return second.Progress().Holding })
		other.wait(second)
		w.do(a, &domain.Start{})
		if err := <-ended; !errors.Is(err, ErrFenced) {
			t.Errorf("the old holder: %v", err)
		}
		other.wait(second)
		other.expect(store, a)
		w.background(first.Run) // it may take the role again
		eventually(t, "the role", func() bool { return first.Progress().Holding })
		w.wait(first)
	})
}

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
		var healed []eventstore.Aggregate
		next := again.views(store, func(c *ViewsConfig) {
			c.Healed = func(a eventstore.Aggregate) { healed = append(healed, a) }
		})
		stop = again.hold(next)
		eventually(t, "the zombie to go", func() bool { return len(dump(t, store)) == 1 })
		stop()
		again.expect(store, b)
		if len(healed) != 1 || healed[0].Session.Gone == nil {
			t.Errorf("healed %+v", healed)
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

func TestViewsPassOverDamage(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	a := key("ada", "s1")
	w.create(a)
	w.driver.Inject(key("ada", "s2"), nil, []byte("{"))
	v := w.views(store)
	w.hold(v)
	w.wait(v)
	w.driver.Inject(key("ada", "s2"), nil, []byte("{"))
	w.wait(v)
	w.expect(store, a)
}

func TestViewsReportWhatTheyCantWrite(t *testing.T) {
	w := newWorld(t)
	a := w.create(key("ada", "s1"))
	tn := &tenure{v: w.views(NewMemoryViews())}
	tn.v.cfg.Source = &failing{Source: w.store, left: 1, err: &eventstore.CommitError{}}
	views, err := tn.encode(t.Context(), map[eventstore.Key]eventstore.Aggregate{a.Key: {}})
	if len(views) != 0 || err != nil || w.report.count(eventstore.ErrCorrupt) != 1 {
		t.Errorf("%v %v", views, err)
	}
	tn.v.cfg.Source = &failing{Source: w.store, left: 1}
	if _, err = tn.encode(t.Context(), map[eventstore.Key]eventstore.Aggregate{a.Key: {}}); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Error(err)
	}
	tn.w = tooLarge{}
	if err := tn.write(t.Context(), map[eventstore.Key]eventstore.Aggregate{a.Key: a}, 1); err != nil || w.report.count(ErrTooLarge) != 1 {
		t.Error(err)
	}
}

type tooLarge struct{ ViewWriter }

func (tooLarge) Write(context.Context, []View) error { return ErrTooLarge }

func TestViewsEndWithTheirStore(t *testing.T) {
	broken := errors.New("broken")
	for _, at := range []string{"open", "scan", "checkpoint", "write", "set"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t)
			w.create(key("ada", "s1"))
			v := w.views(&brokenViews{MemoryViews: NewMemoryViews(), at: at, err: broken})
			w.runner(v)
			if err := v.Run(t.Context()); !errors.Is(err, broken) {
				t.Error(err)
			}
			if v.Progress().Holding {
				t.Error("it still holds the role")
			}
		})
	}
}

// brokenViews fails at one thing.
type brokenViews struct {
	*MemoryViews
	at  string
	err error
}

func (b *brokenViews) fails(at string) error {
	if b.at == at {
		return b.err
	}
	return nil
}

func (b *brokenViews) Open(ctx context.Context) (ViewWriter, error) {
	w, err := b.MemoryViews.Open(ctx)
	return brokenWriter{w, b}, errors.Join(err, b.fails("open"))
}

func (b *brokenViews) Scan(ctx context.Context, bodies bool, fn func(View) error) error {
	return errors.Join(b.fails("scan"), b.MemoryViews.Scan(ctx, bodies, fn))
}

func (b *brokenViews) Checkpoint(ctx context.Context) (Checkpoint, error) {
	c, err := b.MemoryViews.Checkpoint(ctx)
	return c, errors.Join(err, b.fails("checkpoint"))
}

type brokenWriter struct {
	ViewWriter
	b *brokenViews
}

func (w brokenWriter) Write(ctx context.Context, views []View) error {
	return errors.Join(w.b.fails("write"), w.ViewWriter.Write(ctx, views))
}

func (w brokenWriter) SetCheckpoint(ctx context.Context, c Checkpoint) error {
	return errors.Join(w.b.fails("set"), w.ViewWriter.SetCheckpoint(ctx, c))
}

func TestViewsBeforeTheyRun(t *testing.T) {
	w := newWorld(t)
	v := w.views(NewMemoryViews())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := v.WaitFor(ctx, w.at(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.runner(v)
	if err := v.WaitFor(t.Context(), contract.Position{Incarnation: "x"}); !errors.Is(err, ErrIncarnation) {
		t.Error(err)
	}
	for _, cfg := range []ViewsConfig{{}, {Source: w.store}} {
		if _, err := NewViews(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	cfg, err := ViewsConfig{Source: w.store, Store: NewMemoryViews()}.withDefaults()
	if err != nil || cfg.MinAge != defaultMinAge || cfg.MaxAge != defaultMaxAge || cfg.MaxBatch != defaultMaxBatch {
		t.Errorf("%+v", cfg)
	}
	cfg.Report(nil)
	cfg.Healed(eventstore.Aggregate{})
}

// Many writers at once, while the views are put: at the end every view is the
// fold of the events.
func TestViewsUnderLoad(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		v := w.views(store, func(c *ViewsConfig) { c.MaxBatch = 8 })
		x := w.index(store, "team")
		r, _ := w.runner(v, x)
		w.background(v.Run)
		var wg sync.WaitGroup
		var keys []eventstore.Key
		for i := range 4 {
			mine := openWorld(t, w.driver, eventstore.Config{Snapshots: SnapshotsOf(store)})
			for j := range 4 {
				keys = append(keys, key(fmt.Sprint("u", i), fmt.Sprint("s", j)))
			}
			wg.Go(func() {
				for n := range 60 {
					k := key(fmt.Sprint("u", i), fmt.Sprint("s", n%4))
					if n < 4 {
						mine.create(k)
					} else {
						mine.do(k, &domain.SetMetadata{Set: map[string]string{"team": fmt.Sprint(n)}})
					}
				}
			})
		}
		wg.Wait()
		w.wait(r)
		w.wait(v)
		w.expect(store, keys...)
		for _, k := range keys {
			a, err := w.store.Load(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := x.Get(k); !ok || e.Seq != a.Seq || e.Metadata["team"] != a.Session.Metadata["team"] {
				t.Errorf("the index has %+v", e)
			}
		}
	})
}
