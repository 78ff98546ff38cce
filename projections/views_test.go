package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// untilSwept waits until the comparison with which the holder begins is over:
// until then it may put what it finds to be late.
func untilSwept(t *testing.T, v *Views) {
	t.Helper()
	eventually(t, "all views to be compared", func() bool { return v.Progress().Sweeps > 0 && v.Progress().Waiting == 0 })
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
	untilSwept(t, v)
	before := v.Progress().Puts
	for range 50 {
		w.do(a, &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(w.n)}})
	}
	w.wait(r)
	w.wait(v)
	if n := v.Progress().Puts - before; n != 1 {
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
	untilSwept(t, v)
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
