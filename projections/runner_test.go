package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// tape is a projection that records what it is told.
type tape struct {
	from  uint64
	start error
	fail  error

	mu       sync.Mutex
	changes  []Change
	skipped  []uint64
	caughtUp []uint64
}

func (p *tape) Name() string { return "tape" }

func (p *tape) Start(context.Context, eventstore.Info) (uint64, error) { return p.from, p.start }

func (p *tape) Apply(_ context.Context, c Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = append(p.changes, c)
	return p.fail
}

func (p *tape) Skip(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipped = append(p.skipped, seq)
}

func (p *tape) CaughtUp(end uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.caughtUp = append(p.caughtUp, end)
}

func (p *tape) all() []Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes
}

func TestRunnerFeedsEveryProjectionInOnePass(t *testing.T) {
	for _, cache := range []int64{0, -1} {
		t.Run(fmt.Sprintf("cache %d", cache), func(t *testing.T) {
			w := openWorld(t, eventstore.NewMemory(), eventstore.Config{CacheBytes: cache})
			a := key("ada", "s1")
			w.create(a)
			w.do(a, &domain.Start{})
			first, second := &tape{}, &tape{from: 1}
			r, _ := w.runner(first, second)
			w.wait(r)
			w.do(a, &domain.Pause{})
			w.wait(r)
			if n, m := len(first.all()), len(second.all()); n != 3 || m != 2 {
				t.Fatalf("one got %d and the other %d commits", n, m)
			}
			for i, c := range first.all() {
				if c.Seq != uint64(i+1) || c.After.Seq < c.Seq || c.After.Session == nil {
					t.Errorf("commit %d: sequence %d, state at %d", i, c.Seq, c.After.Seq)
				}
			}
			if s := first.all()[2].After.Session.State; s != domain.StatePaused {
				t.Errorf("state %s", s)
			}
			if len(first.caughtUp) != 1 || first.caughtUp[0] != 2 {
				t.Errorf("caught up: %v", first.caughtUp)
			}
		})
	}
}

func TestRunnerSkipsDamage(t *testing.T) {
	w := newWorld(t)
	a := key("ada", "s1")
	w.create(a)
	foreign := w.driver.Inject(key("ada", "s2"), nil, []byte("{"))
	p := &tape{}
	r, _ := w.runner(p)
	w.wait(r)
	later := w.driver.Inject(key("ada", "s3"), nil, []byte("{"))
	w.wait(r)
	w.do(a, &domain.Start{})
	w.wait(r)
	if len(p.all()) != 2 || len(p.skipped) != 2 || p.skipped[0] != foreign || p.skipped[1] != later {
		t.Errorf("%d commits, skipped %v", len(p.all()), p.skipped)
	}
	if n := w.report.count(eventstore.ErrCorrupt); n != 2 {
		t.Errorf("%d reports", n)
	}
	progress, err := r.Progress(t.Context())
	if err != nil || progress.Skipped != 2 || progress.Lag != 0 || progress.Rebuilding || progress.Position != w.at(4) {
		t.Errorf("%+v %v", progress, err)
	}
}

func TestRunnerWaitFor(t *testing.T) {
	w := newWorld(t)
	a := key("ada", "s1")
	w.create(a)
	r, stop := w.runner(&tape{})
	w.wait(r)

	var wrong *IncarnationError
	err := r.WaitFor(t.Context(), contract.Position{Incarnation: "other", Seq: 1})
	if !errors.Is(err, ErrIncarnation) || !errors.As(err, &wrong) || wrong.Asked != "other" || err.Error() == "" {
		t.Errorf("another incarnation: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitFor(ctx, w.at(99)); !errors.Is(err, context.Canceled) {
		t.Errorf("beyond the end: %v", err)
	}
	woken := make(chan error, 10)
	for i := range 5 {
		go func() { woken <- r.WaitFor(t.Context(), w.at(uint64(i+2))) }()
	}
	eventually(t, "all waiters", func() bool {
		r.gate.mu.Lock()
		defer r.gate.mu.Unlock()
		return len(r.gate.waiting) == 5
	})
	for range 5 {
		w.do(a, &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(w.n)}})
	}
	for range 5 {
		if err := <-woken; err != nil {
			t.Error(err)
		}
	}
	go func() { woken <- r.WaitFor(t.Context(), w.at(1000)) }()
	eventually(t, "a waiter", func() bool { return r.gate.least() == 1000 })
	stop()
	if err := <-woken; !errors.Is(err, ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
	if err := r.WaitFor(t.Context(), w.at(1000)); !errors.Is(err, ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, ErrUsed) {
		t.Errorf("run again: %v", err)
	}
}

func TestRunnerBeforeItRuns(t *testing.T) {
	w := newWorld(t)
	r, err := NewRunner(RunnerConfig{Source: w.store, Projections: []Projection{&tape{start: errors.New("no")}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitFor(ctx, w.at(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if p := r.Position(); p != (contract.Position{}) {
		t.Error(p)
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("a projection that can't start stopped nothing")
	}
	if err := r.WaitFor(t.Context(), w.at(1)); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
	for _, cfg := range []RunnerConfig{{}, {Source: w.store}} {
		if _, err := NewRunner(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestRunnerEndsWithAProjectionThatFails(t *testing.T) {
	w := newWorld(t)
	w.create(key("ada", "s1"))
	full := errors.New("full")
	r, err := NewRunner(RunnerConfig{Source: w.store, Projections: []Projection{&tape{fail: full}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, full) {
		t.Error(err)
	}
}

func TestRunnerTriesAgainWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	a := key("ada", "s1")
	w.create(a)
	w.do(a, &domain.Start{})

	other := openWorld(t, w.driver, eventstore.Config{CacheBytes: -1})
	source := &failing{Source: other.store, left: 2}
	r, err := NewRunner(RunnerConfig{Source: source, Projections: []Projection{&tape{from: 1}}, Report: w.report.add})
	if err != nil {
		t.Fatal(err)
	}
	w.background(r.Run)
	w.wait(r)
	if n := w.report.count(eventstore.ErrUnavailable); n != 2 {
		t.Errorf("%d reports", n)
	}
}

// TestRunnerStartsWhileTheStoreIsAway: a runner that starts while a cluster elects
// its leaders waits for them, and goes on with the commit behind the last one it got.
func TestRunnerStartsWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	a := key("ada", "s1")
	w.create(a)
	w.do(a, &domain.Start{})
	w.create(key("ada", "s2"))
	source := &leaderless{Source: w.store, infos: 2, scans: 3}
	p := &tape{}
	r, err := NewRunner(RunnerConfig{Source: source, Projections: []Projection{w.index(NewMemoryViews()), p}, Report: w.report.add})
	if err != nil {
		t.Fatal(err)
	}
	w.background(r.Run)
	w.wait(r)
	if n := w.report.count(eventstore.ErrUnavailable); n != 5 || len(p.all()) != 3 {
		t.Errorf("%d reports, %d of 3 commits", n, len(p.all()))
	}
}

// leaderless is a store that can't be read for a while, and whose scans break off
// after one commit then.
type leaderless struct {
	Source
	infos, scans int
}

func (l *leaderless) Info(ctx context.Context) (eventstore.Info, error) {
	if l.infos--; l.infos >= 0 {
		return eventstore.Info{}, eventstore.ErrUnavailable
	}
	return l.Source.Info(ctx)
}

func (l *leaderless) Scan(ctx context.Context, f eventstore.Filter, fn func(eventstore.Committed, error) error) error {
	if l.scans--; l.scans < 0 {
		return l.Source.Scan(ctx, f, fn)
	}
	f.To = f.From
	return errors.Join(l.Source.Scan(ctx, f, fn), eventstore.ErrUnavailable)
}

func TestRunnerSkipsACommitOfAHistoryThatCantBeRead(t *testing.T) {
	w := newWorld(t)
	a, b := key("ada", "s1"), key("ada", "s2")
	w.create(a)
	w.do(a, &domain.Start{})
	w.create(b)
	other := openWorld(t, w.driver, eventstore.Config{CacheBytes: -1})
	p := &tape{from: 1}
	source := &failing{Source: other.store, left: 1, err: &eventstore.CommitError{Key: a, Seq: 1, Kind: "bytes"}}
	r, err := NewRunner(RunnerConfig{Source: source, Projections: []Projection{p}, Report: w.report.add})
	if err != nil {
		t.Fatal(err)
	}
	w.background(r.Run)
	w.wait(r)
	if len(p.skipped) != 1 || p.skipped[0] != 2 || len(p.all()) != 1 || w.report.count(eventstore.ErrCorrupt) != 1 {
		t.Errorf("skipped %v, %d commits", p.skipped, len(p.all()))
	}
}

// failing can't load for a while.
type failing struct {
	Source
	mu   sync.Mutex
	left int
	err  error
}

func (f *failing) Load(ctx context.Context, k eventstore.Key) (eventstore.Aggregate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left > 0 {
		f.left--
		if f.err != nil {
			return eventstore.Aggregate{}, f.err
		}
		return eventstore.Aggregate{}, eventstore.ErrUnavailable
	}
	return f.Source.Load(ctx, k)
}

func TestMeter(t *testing.T) {
	m := meter{}
	m.add(5)
	m.since = time.Now().Add(-2 * meterWindow)
	if r := m.rate(); r <= 0 || r > 3 {
		t.Errorf("%f a second", r)
	}
	m.since = time.Now().Add(-2 * meterWindow)
	if r := m.rate(); r != 0 {
		t.Errorf("%f a second, idle", r)
	}
}

// counting counts loads.
type counting struct {
	Source
	n *int
}

func (c *counting) Load(ctx context.Context, k eventstore.Key) (eventstore.Aggregate, error) {
	*c.n++
	return c.Source.Load(ctx, k)
}

// What the store has in memory may lie behind the stream.
func TestLoadIsNeverBehind(t *testing.T) {
	w := newWorld(t)
	k := key("ada", "s1")
	w.create(k)
	behind := openWorld(t, w.driver, eventstore.Config{})
	if a, err := behind.store.Load(t.Context(), k); err != nil || a.Seq != 1 {
		t.Fatal(a, err)
	}
	w.do(k, &domain.Start{})
	if a, err := load(t.Context(), behind.store, k); err != nil || a.Seq != 2 {
		t.Errorf("state at %d: %v", a.Seq, err)
	}
}

func TestFolderForgets(t *testing.T) {
	loads := 0
	w := newWorld(t)
	f := newFolder(1, &counting{w.store, &loads})
	for _, id := range []string{"s1", "s2"} {
		w.create(key("ada", id))
	}
	w.do(key("ada", "s1"), &domain.Start{})
	err := w.store.Scan(t.Context(), eventstore.Filter{}, func(c eventstore.Committed, _ error) error {
		a, err := f.fold(t.Context(), c)
		if err == nil && a.Seq != c.Seq {
			t.Errorf("state at %d after %d", a.Seq, c.Seq)
		}
		return err
	})
	if err != nil || loads != 1 || f.recent.Len() != 1 || len(f.states) != 1 {
		t.Errorf("%d loads, %d kept, %v", loads, f.recent.Len(), err)
	}
	lost := eventstore.Committed{Key: key("ada", "s1"), Seq: 99, Commit: &domain.Commit{Version: 50, Prev: "x"}}
	if _, err := f.fold(t.Context(), lost); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("a gap: %v", err)
	}
}
