package cleanup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/projections"
)

// today is the time at which every scan of a test takes place.
var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// world is an event store in memory with a Cleaner on it.
type world struct {
	t      *testing.T
	driver *driver
	store  *eventstore.Store
	keys   []eventstore.Key
	views  *fakeViews
	traces *fakeTraces
	config Config

	mu      sync.Mutex
	n       int
	orders  int
	audited map[string][]any
}

// driver is a memory whose compaction can fail.
type driver struct {
	*eventstore.Memory
	compact func() error
}

func (d *driver) Compact(ctx context.Context, key eventstore.Key, before uint64) error {
	if d.compact != nil {
		if err := d.compact(); err != nil {
			return err
		}
	}
	return d.Memory.Compact(ctx, key, before)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, driver: &driver{Memory: eventstore.NewMemory()}, views: &fakeViews{}, traces: &fakeTraces{}, audited: map[string][]any{}}
	store, err := eventstore.Open(t.Context(), eventstore.Config{Driver: w.driver})
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
	w.config = Config{
		Sessions: store, Index: w, Views: w.views, Purge: w.order, Traces: w.traces,
		Clock: func() time.Time { return today },
		Audit: func(_ context.Context, topic string, report any) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.audited[topic] = append(w.audited[topic], report)
			return nil
		},
	}
	return w
}

func (w *world) cleaner() *Cleaner {
	w.t.Helper()
	c, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// Each is an index that is always right.
func (w *world) Each(fn func(projections.Entry) bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range w.keys {
		a, err := w.store.Load(w.t.Context(), key)
		if err == nil {
			a, err = w.store.Confirm(w.t.Context(), a)
		}
		if err == nil && a.Session.Exists() && !fn(projections.NewEntry(a, nil)) {
			return nil
		}
	}
	return nil
}

// order purges as the engine does.
func (w *world) order(ctx context.Context, o Order) (uint64, error) {
	w.mu.Lock()
	w.orders++
	w.mu.Unlock()
	a, err := w.store.Load(ctx, o.Key)
	if err != nil {
		return 0, err
	}
	if a, err = w.store.Confirm(ctx, a); err != nil {
		return 0, err
	}
	if a.Session.Version != o.Version {
		return 0, domain.Reject(domain.CodeVersionConflict, a.Session.State, "it is at version %d", a.Session.Version)
	}
	after, err := w.append(ctx, a, o.Command, o.Actor, o.ID, today)
	if err != nil {
		return 0, err
	}
	_ = w.store.Compact(ctx, after) // as the engine does it: if it fails it is tried again later
	return after.Seq, nil
}

func (w *world) append(ctx context.Context, base eventstore.Aggregate, c domain.Command, actor, id string, at time.Time) (eventstore.Aggregate, error) {
	d, err := domain.Decide(base.Session, c, domain.Env{Now: at, Actor: actor, CommandID: id, Head: base.Hash})
	if err != nil {
		return base, err
	}
	s := base.Session
	commit := &domain.Commit{
		ID: id, Session: s.ID, User: s.User, Version: s.Version + 1, Time: d.Time, Actor: actor,
		Cause: c.Verb(), State: d.Next.State, Digest: domain.Digest(c.Verb(), []byte(id)), Events: d.Events,
	}
	return w.store.Append(ctx, eventstore.Proposal{Base: base, Commit: commit, Next: domain.Apply(s, commit)})
}

// do decides and appends one command, some days ago.
func (w *world) do(session string, daysAgo float64, c domain.Command) eventstore.Aggregate {
	w.t.Helper()
	key := eventstore.Key{User: "ada", Session: session}
	w.n++
	base, err := w.cleaner().current(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	if base.Last == 0 {
		w.keys = append(w.keys, key)
	}
	a, err := w.append(w.t.Context(), base, c, "ada", fmt.Sprintf("c%d", w.n), ago(daysAgo))
	if err != nil {
		w.t.Fatalf("%s %s: %v", session, c.Verb(), err)
	}
	return a
}

func ago(days float64) time.Time { return today.Add(-time.Duration(days * 24 * float64(time.Hour))) }

// lead leads a session to a state that it reached some days ago.
func (w *world) lead(session string, state domain.State, daysAgo float64) {
	w.t.Helper()
	w.do(session, daysAgo, &domain.Create{Definition: domain.Definition{
		Metadata: map[string]string{"team": session},
		Chains:   []domain.ChainDef{{ID: "c", Steps: []domain.StepDef{{ID: "s", Manual: true}}}},
	}})
	if state == domain.StatePending {
		return
	}
	w.do(session, daysAgo, &domain.Start{})
	step := domain.StepRef{Chain: "c", Step: "s"}
	switch state {
	case domain.StateCompleted:
		w.do(session, daysAgo, &domain.SucceedManual{Chain: step.Chain, Step: step.Step})
	case domain.StateFailed:
		w.do(session, daysAgo, &domain.FailManual{Chain: step.Chain, Step: step.Step, Error: domain.ReportError{Message: "no"}})
	case domain.StateCancelled:
		w.do(session, daysAgo, &domain.Cancel{})
	case domain.StatePaused:
		w.do(session, daysAgo, &domain.Pause{})
	case domain.StateRunning, domain.StateNone, domain.StatePending:
	}
}

func (w *world) scan(r contract.CleanupRequest) (*contract.CleanupPlan, *contract.CleanupReport) {
	w.t.Helper()
	plan, report, err := w.cleaner().Scan(w.t.Context(), r, "olga", Watch{})
	if err != nil {
		w.t.Fatal(err)
	}
	return plan, report
}

func (w *world) purge(r contract.CleanupRequest, o Options) *contract.CleanupReport {
	w.t.Helper()
	o.By = "olga"
	report, err := w.cleaner().Purge(w.t.Context(), r, o, Watch{})
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func (w *world) info() eventstore.Info {
	w.t.Helper()
	info, err := w.store.Info(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

// state is that of a session, or "gone".
func (w *world) state(session string) string {
	w.t.Helper()
	a, err := w.cleaner().current(w.t.Context(), eventstore.Key{User: "ada", Session: session})
	switch {
	case err != nil:
		w.t.Fatal(err)
	case a.Session.Gone != nil:
		return "gone"
	}
	return string(a.Session.State)
}

// found lists what a plan holds as "session reason".
func found(plan *contract.CleanupPlan) map[string]contract.CleanupReason {
	all := map[string]contract.CleanupReason{}
	for _, item := range plan.Items {
		all[item.Session] = item.Reason
	}
	return all
}

// fakeViews are views of which somebody says what is wrong with them.
type fakeViews struct {
	mu       sync.Mutex
	findings []projections.Finding
	healed   []eventstore.Key
	rebuilt  int
	err      error
}

func (v *fakeViews) Compare(context.Context, iter.Seq2[eventstore.Key, projections.Head]) ([]projections.Finding, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.findings, nil
}

func (v *fakeViews) Heal(_ context.Context, keys ...eventstore.Key) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.healed = append(v.healed, keys...)
	return v.err
}

func (v *fakeViews) Rebuild(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rebuilt++
	return v.err
}

// fakeTraces is a list of traces.
type fakeTraces struct {
	mu      sync.Mutex
	there   []Trace
	removed []Trace
}

func (f *fakeTraces) Find(_ context.Context, of func(eventstore.Key) bool, fn func(Trace) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.there {
		if !of(t.Key) {
			continue
		}
		if err := fn(t); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeTraces) Remove(_ context.Context, t Trace, why error) error {
	if why == nil {
		return errors.New("a trace is removed for a reason")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = append(f.removed, t)
	return nil
}

// archive keeps keys, unless it fails.
type archive struct {
	mu   sync.Mutex
	kept []eventstore.Key
	err  error
}

func (a *archive) Archive(_ context.Context, key eventstore.Key, upTo eventstore.Aggregate) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return "", a.err
	}
	if upTo.Session.Gone != nil {
		return "", errors.New("there is nothing left to archive")
	}
	a.kept = append(a.kept, key)
	return "archive/" + key.Session, nil
}
