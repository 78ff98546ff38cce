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

// patience is how long a test waits for what has to happen.
const patience = time.Minute

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is an event store that a test commands.
type world struct {
	t      *testing.T
	driver *eventstore.Memory
	store  *eventstore.Store
	n      int
	report *reports
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return openWorld(t, eventstore.NewMemory(), eventstore.Config{})
}

// openWorld opens another store over a driver, as another process does.
func openWorld(t *testing.T, driver *eventstore.Memory, cfg eventstore.Config) *world {
	t.Helper()
	cfg.Driver = driver
	store, err := eventstore.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, driver: driver, store: store, report: &reports{}}
}

func key(user, session string) eventstore.Key { return eventstore.Key{User: user, Session: session} }

// do decides and appends one command.
func (w *world) do(k eventstore.Key, c domain.Command) eventstore.Aggregate {
	w.t.Helper()
	w.n++
	base, err := w.store.Load(w.t.Context(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	base, err = w.store.Confirm(w.t.Context(), base)
	if err != nil {
		w.t.Fatal(err)
	}
	id := fmt.Sprintf("%s-%d-%d", k.Session, base.Session.Version, w.n)
	env := domain.Env{Now: epoch.Add(time.Duration(w.n) * time.Second), Actor: "ada", CommandID: id, Head: base.Hash}
	d, err := domain.Decide(base.Session, c, env)
	if err != nil {
		w.t.Fatalf("%s %s: %v", k, c.Verb(), err)
	}
	commit := &domain.Commit{
		ID: id, Session: k.Session, User: k.User, Version: base.Session.Version + 1, Time: d.Time,
		Actor: "ada", Cause: c.Verb(), State: d.Next.State, Digest: domain.Digest(c.Verb(), []byte(id)), Events: d.Events,
	}
	after, err := w.store.Append(w.t.Context(), eventstore.Proposal{Base: base, Commit: commit, Next: domain.Apply(base.Session, commit)})
	if err != nil {
		w.t.Fatal(err)
	}
	return after
}

func (w *world) create(k eventstore.Key) eventstore.Aggregate {
	w.t.Helper()
	return w.do(k, plan(map[string]string{"team": "red", "secret": "x<y"}))
}

// plan is a definition with two steps.
func plan(metadata map[string]string) *domain.Create {
	return &domain.Create{Definition: domain.Definition{
		Metadata: metadata,
		Chains:   []domain.ChainDef{{ID: "c", Steps: []domain.StepDef{{Action: "build", Input: []byte(`{"a":"<b>"}`)}, {Action: "test"}}}},
	}}
}

func (w *world) purge(k eventstore.Key) eventstore.Aggregate {
	w.t.Helper()
	return w.do(k, &domain.Delete{Reason: "done", Force: true})
}

func (w *world) end() uint64 {
	w.t.Helper()
	info, err := w.store.Info(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Last
}

func (w *world) at(seq uint64) contract.Position { return w.store.Position(seq) }

// runner starts a runner over projections; it ends with the test or by stop.
func (w *world) runner(projections ...Projection) (r *Runner, stop func()) {
	w.t.Helper()
	r, err := NewRunner(RunnerConfig{Source: w.store, Projections: projections, Report: w.report.add})
	if err != nil {
		w.t.Fatal(err)
	}
	return r, w.background(r.Run)
}

// background runs something until stop or the end of the test; it has to end
// without an error.
func (w *world) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("it ended with %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) views(store ViewStore, change ...func(*ViewsConfig)) *Views {
	w.t.Helper()
	cfg := ViewsConfig{Source: w.store, Store: store, Declared: []string{"team"}, Report: w.report.add, MinAge: time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	v, err := NewViews(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) index(views ViewStore, declared ...string) *Index {
	w.t.Helper()
	x, err := NewIndex(IndexConfig{Source: w.store, Views: views, Declared: declared, Report: w.report.add})
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// wait waits until what is in the store now is in the projection.
func (w *world) wait(p interface {
	WaitFor(context.Context, contract.Position) error
},
) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := p.WaitFor(ctx, w.at(w.end())); err != nil {
		w.t.Fatalf("wait for sequence %d: %v", w.end(), err)
	}
}

// expect compares all stored views with a fold of the events.
func (w *world) expect(store ViewStore, keys ...eventstore.Key) {
	w.t.Helper()
	want := map[string]View{}
	for _, k := range keys {
		a, err := w.store.Load(w.t.Context(), k)
		if err == nil {
			a, err = w.store.Confirm(w.t.Context(), a)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		v, err := encodeView(a, []string{"team"})
		if err != nil {
			w.t.Fatal(err)
		}
		want[v.Key] = v
	}
	same(w.t, dump(w.t, store), want)
}

func same(t *testing.T, got, want map[string]View) {
	t.Helper()
	for k, v := range want {
		if g := got[k]; string(g.Body) != string(v.Body) || string(g.Index) != string(v.Index) {
			t.Errorf("view %s is\n%s\n%s\nand should be\n%s\n%s", k, g.Index, g.Body, v.Index, v.Body)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("view %s should not be there", k)
		}
	}
}

func dump(t *testing.T, store ViewStore) map[string]View {
	t.Helper()
	all := map[string]View{}
	err := store.Scan(t.Context(), true, func(v View) error { all[v.Key] = v; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// eventually polls.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// reports collects what was reported.
type reports struct {
	mu   sync.Mutex
	list []error
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, err)
}

func (r *reports) count(target error) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, err := range r.list {
		if errors.Is(err, target) {
			n++
		}
	}
	return n
}
