package projections

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"reprise/domain"
)

// stalled holds up the first write after stall until release is closed.
type stalled struct {
	*MemoryViews
	mu      sync.Mutex
	reached chan struct{} // nil: nothing is held up
	release chan struct{}
}

// stall returns what is closed once a write is held up.
func (s *stalled) stall() (reached chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reached, s.release = make(chan struct{}), make(chan struct{})
	return s.reached
}

func (s *stalled) Open(ctx context.Context) (ViewWriter, error) {
	w, err := s.MemoryViews.Open(ctx)
	return &stalledWriter{w, s}, err
}

type stalledWriter struct {
	ViewWriter
	store *stalled
}

func (w *stalledWriter) Write(ctx context.Context, views []View) error {
	w.store.mu.Lock()
	reached := w.store.reached
	w.store.reached = nil
	w.store.mu.Unlock()
	if reached != nil {
		close(reached)
		<-w.store.release
	}
	return w.ViewWriter.Write(ctx, views)
}

// What changes while others are being put, and before its own turn, is encoded
// and put once, as it is then.
func TestASessionThatChangesBeforeItsPutIsPutOnce(t *testing.T) {
	const behind = 100
	w := newWorld(t)
	store := &stalled{MemoryViews: NewMemoryViews()}
	v := w.views(store, func(c *ViewsConfig) { c.MinAge, c.MaxAge = time.Hour, time.Hour })
	r, _ := w.runner(v)
	w.background(v.Run)
	w.create(key("ada", "first"))
	w.wait(v)
	untilSwept(t, v)
	before := v.Progress().Puts
	for n := range putChunk + behind {
		w.create(key("ada", fmt.Sprint("s", n)))
	}
	w.wait(r)
	reached := store.stall()
	waiting := w.background(func(ctx context.Context) error { return v.WaitFor(ctx, w.at(w.end())) })
	<-reached
	for n := range putChunk + behind {
		w.do(key("ada", fmt.Sprint("s", n)), &domain.Start{})
	}
	w.wait(r)
	if p := v.Progress(); p.Age <= 0 || p.Waiting != putChunk+behind || p.Lag == 0 {
		t.Errorf("while it is held up: %+v", p)
	}
	close(store.release)
	w.wait(v)
	waiting()
	if n := v.Progress().Puts - before; n != 2*putChunk+behind {
		t.Errorf("%d puts", n)
	}
	if p := v.Progress(); p.Age != 0 || p.Waiting != 0 || p.Lag != 0 {
		t.Errorf("at the end: %+v", p)
	}
	views := dump(t, store)
	for n := range putChunk + behind {
		e, err := parseEntry(fmt.Sprint("ada.s", n), views[fmt.Sprint("ada.s", n)].Index)
		if err != nil || e.State != domain.StateRunning {
			t.Fatalf("%+v %v", e, err)
		}
	}
}

// What is marked while old commits are folded is put behind them: a batch of the
// catch-up may be followed by one with an older state of the same session.
func TestACatchUpNeverEndsWithAnOlderView(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	v := w.views(store, func(c *ViewsConfig) { c.MaxBatch = 1 })
	a := key("ada", "s1")
	w.create(a)
	w.create(key("ada", "s2"))
	w.do(a, &domain.Start{})
	newest := w.do(a, &domain.Pause{})
	v.holding = true
	v.mark(a, newest)
	tn := &tenure{v: v, w: writer(t, store)}
	if err := tn.catchUp(t.Context(), 0, 3); err != nil {
		t.Fatal(err)
	}
	if err := tn.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(store, a, key("ada", "s2"))
}

// Under load the pause between puts grows up to its bound and no further, and
// at rest it falls back.
func TestThePaceFollowsTheLoad(t *testing.T) {
	w := newWorld(t)
	v := w.views(NewMemoryViews(), func(c *ViewsConfig) { c.MinAge, c.MaxAge = 50*time.Microsecond, 2*time.Millisecond })
	writer, err := v.cfg.Store.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a := w.create(key("ada", "s1"))
	tn := &tenure{v: v, w: writer, interval: v.cfg.MinAge}
	for _, step := range []struct {
		changes int
		want    int64 // microseconds
	}{{busyPuts, 200}, {busyPuts, 400}, {busyPuts, 800}, {busyPuts, 1600}, {busyPuts, 2000}, {busyPuts, 2000}, {1, 1000}, {1, 500}, {0, 500}, {1, 250}, {1, 125}, {1, 62}, {1, 50}} {
		v.mu.Lock()
		for n := range step.changes {
			v.mark(key("ada", fmt.Sprint("s", n)), a)
		}
		v.mu.Unlock()
		if err := tn.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := tn.interval.Microseconds(); got != step.want {
			t.Errorf("after %d changes the pause is %d us, not %d", step.changes, got, step.want)
		}
	}
}

// Under load the puts are spread over the time until the next flush, and somebody
// who waits for the views ends that.
func TestPutsAreSpreadUntilSomebodyWaits(t *testing.T) {
	w := newWorld(t)
	v := w.views(NewMemoryViews(), func(c *ViewsConfig) { c.MinAge, c.MaxAge = 24*time.Hour, 24*time.Hour })
	a := w.create(key("ada", "s1"))
	info, err := w.store.Info(t.Context())
	if err == nil {
		_, err = v.Start(t.Context(), info)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range busyPuts {
		v.mark(key("ada", fmt.Sprint("s", n)), a)
	}
	tn := &tenure{v: v, w: writer(t, v.cfg.Store), interval: v.cfg.MinAge}
	flushed := make(chan error, 1)
	go func() { flushed <- tn.flush(t.Context()) }()
	eventually(t, "the first views are put", func() bool { return v.Progress().Puts == pacedChunk })
	if err := v.WaitFor(t.Context(), w.at(a.Seq)); err != nil {
		t.Fatal(err)
	}
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	if n := v.Progress().Puts; n != busyPuts {
		t.Errorf("%d views are put, not %d", n, busyPuts)
	}
}

// A flush that is told to end does not wait for its turns.
func TestASpreadFlushEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	v := w.views(NewMemoryViews(), func(c *ViewsConfig) { c.MinAge, c.MaxAge = 24*time.Hour, 24*time.Hour })
	tn := &tenure{v: v, interval: v.cfg.MaxAge, flushing: true}
	ctx, cancel := context.WithCancel(t.Context())
	p := tn.pace(busyPuts)
	cancel()
	v.rest(ctx, p)
	if p.turn != 0 || p.chunk != putChunk {
		t.Errorf("the pace is still %+v", p)
	}
}
