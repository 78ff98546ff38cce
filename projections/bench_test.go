package projections

import (
	"context"
	"fmt"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/cputime"
)

// history fills a store with sessions of five commits each, one after another
// or all side by side.
func history(b *testing.B, sessions int, sideBySide bool) *eventstore.Store {
	b.Helper()
	return historyIn(b, eventstore.NewMemory(), sessions, sideBySide)
}

func historyIn(b *testing.B, driver eventstore.Driver, sessions int, sideBySide bool) *eventstore.Store {
	b.Helper()
	store, err := eventstore.Open(context.Background(), eventstore.Config{Driver: driver})
	if err != nil {
		b.Fatal(err)
	}
	w := &benchWorld{b: b, store: store}
	commands := []domain.Command{
		plan(map[string]string{"team": "red"}), &domain.Start{},
		&domain.Claim{Chain: "c", Step: "1", Worker: "w", Action: "build"},
		&domain.Succeed{Chain: "c", Step: "1", Attempt: 1, Worker: "w", Action: "build", Output: []byte(`{"ok":true}`)},
		&domain.Pause{},
	}
	for i := range sessions * len(commands) {
		session, step := i/len(commands), i%len(commands)
		if sideBySide {
			session, step = i%sessions, i/sessions
		}
		w.do(key("ada", fmt.Sprint("s", session)), commands[step])
	}
	cold, err := eventstore.Open(context.Background(), eventstore.Config{Driver: driver, CacheBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	return cold
}

type benchWorld struct {
	b     *testing.B
	store *eventstore.Store
	n     int
}

func (w *benchWorld) do(k eventstore.Key, c domain.Command) {
	w.n++
	ctx := context.Background()
	base, err := w.store.Load(ctx, k)
	if err != nil {
		w.b.Fatal(err)
	}
	id := fmt.Sprint("c", w.n)
	d, err := domain.Decide(base.Session, c, domain.Env{Now: after(w.n), Actor: "ada", CommandID: id})
	if err != nil {
		w.b.Fatal(err)
	}
	commit := &domain.Commit{
		ID: id, Session: k.Session, User: k.User, Version: base.Session.Version + 1, Time: d.Time, Actor: "ada",
		Cause: c.Verb(), State: d.Next.State, Digest: domain.Digest(c.Verb(), []byte(id)), Events: d.Events,
	}
	if _, err := w.store.Append(ctx, eventstore.Proposal{Base: base, Commit: commit, Next: domain.Apply(base.Session, commit)}); err != nil {
		w.b.Fatal(err)
	}
}

func benchmarkRebuild(b *testing.B, source *eventstore.Store, store ViewStore) {
	b.Helper()
	info, err := source.Info(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	v, err := NewViews(ViewsConfig{Source: source, Store: store})
	if err != nil {
		b.Fatal(err)
	}
	w, err := store.Open(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	commits, used := 0, cputime.Used()
	for b.Loop() {
		t := &tenure{v: v, w: w}
		if err := t.catchUp(context.Background(), 0, info.Last); err != nil {
			b.Fatal(err)
		}
		commits += int(info.Last)
	}
	measure(b, used, commits)
	b.ReportMetric(float64(commits)/b.Elapsed().Seconds(), "commits/s")
}

// rebuilt is the number of sessions that are rebuilt.
const rebuilt = 10_000

func BenchmarkRebuildOneAfterAnother(b *testing.B) {
	benchmarkRebuild(b, history(b, rebuilt, false), NewMemoryViews())
}

func BenchmarkRebuildSideBySide(b *testing.B) {
	benchmarkRebuild(b, history(b, rebuilt, true), NewMemoryViews())
}

// BenchmarkRebuildOnJetStream has events and views on one server in files, which
// runs in this process: its work counts too.
func BenchmarkRebuildOnJetStream(b *testing.B) {
	s := serve(b, b.TempDir())
	benchmarkRebuild(b, historyIn(b, driverOn(b, s), rebuilt/2, false), openBucket(b, s, bucketConfig))
}

// measure reports the CPU time that each of n operations took since used.
func measure(b *testing.B, used time.Duration, n int) {
	b.Helper()
	b.ReportMetric(float64(cputime.Used()-used)/float64(n), "cpu-ns/op")
}
