package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// epoch is when the sessions of the tests begin.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a store in memory whose sessions are decided as an engine does.
type world struct {
	testing.TB
	driver *eventstore.Memory
	store  *eventstore.Store
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, driver: eventstore.NewMemory()}
	w.store = openStore(t, w.driver)
	return w
}

func openStore(t testing.TB, driver eventstore.Driver) *eventstore.Store {
	t.Helper()
	s, err := eventstore.Open(t.Context(), eventstore.Config{Driver: driver, CacheBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// do decides commands on a session, one commit each.
func (w *world) do(key eventstore.Key, commands ...domain.Command) eventstore.Aggregate {
	w.Helper()
	agg, err := w.store.Load(w.Context(), key)
	w.must(err)
	for _, c := range commands {
		agg, err = decide(w.Context(), w.store, agg, c)
		w.must(err)
	}
	return agg
}

func decide(ctx context.Context, store *eventstore.Store, agg eventstore.Aggregate, c domain.Command) (eventstore.Aggregate, error) {
	id := fmt.Sprintf("%s-%d", agg.Key.Session, agg.Session.Version)
	env := domain.Env{Now: epoch.Add(time.Duration(agg.Session.Commits) * time.Second), Actor: "ann", CommandID: id, Head: agg.Hash}
	d, err := domain.Decide(agg.Session, c, env)
	if err != nil {
		return agg, fmt.Errorf("%s on %s: %w", c.Verb(), agg.Key, err)
	}
	commit := &domain.Commit{
		ID: id, Session: agg.Key.Session, User: agg.Key.User, Version: agg.Session.Version + 1, Time: d.Time, Actor: "ann",
		Cause: c.Verb(), State: d.Next.State, Digest: domain.Digest(c.Verb(), []byte(id)), Events: d.Events,
	}
	return store.Append(ctx, eventstore.Proposal{
		Base: agg, Commit: commit, Next: domain.Apply(agg.Session, commit), TraceParent: "00-" + id + "-01",
	})
}

func (w *world) key(user string, n int) eventstore.Key {
	return eventstore.Key{User: user, Session: fmt.Sprintf("s%d", n)}
}

// plan is a session of two steps by hand, the first with an input of that size.
func plan(size int) *domain.Create {
	input := []byte(`"` + strings.Repeat("<é", size/3) + `"`)
	chain := domain.ChainDef{ID: "main", Steps: []domain.StepDef{{Manual: true, Input: input}, {Manual: true}}}
	return &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{chain}, Metadata: map[string]string{"team": "red"}}}
}

func done(step string, size int) *domain.SucceedManual {
	return &domain.SucceedManual{Chain: "main", Step: step, Output: []byte(`"` + strings.Repeat("o", size) + `"`)}
}

// live makes the nth of many sessions; its kind repeats after eight.
func (w *world) live(user string, n int) eventstore.Key {
	key := w.key(user, n)
	switch n % 8 {
	case 0:
		w.do(key, plan(9))
	case 1:
		w.do(key, plan(30), &domain.Start{})
	case 2:
		w.do(key, plan(9000), &domain.Start{}, done("1", 9000), done("2", 3))
	case 3:
		w.do(key, plan(9), &domain.Start{}, &domain.Pause{}, &domain.Resume{}, &domain.Pause{})
	case 4:
		w.do(key, plan(9), &domain.Start{}, &domain.FailManual{Chain: "main", Step: "1", Error: domain.ReportError{Message: "no", Stack: strings.Repeat("at x\n", 2000)}})
	case 5:
		w.do(key, plan(9), &domain.Start{}, &domain.Cancel{})
	case 6:
		w.do(key, plan(9), &domain.PutHold{Reason: "court"}, &domain.SetMetadata{Set: map[string]string{"note": "ü"}})
	case 7:
		agg := w.do(key, plan(9), &domain.Delete{Reason: "old"})
		if n%16 == 7 {
			w.must(w.store.Compact(w.Context(), agg))
		}
	}
	return key
}

// populate makes sessions 0 to n-1 of two users.
func (w *world) populate(n int) {
	for i := range n {
		w.live([]string{"ann", "bob@example.org"}[i%3%2], i)
	}
}

// export returns everything as a file.
func (w *world) export(o ExportOptions) ([]byte, ExportReport) {
	w.Helper()
	var out bytes.Buffer
	o.Now = func() time.Time { return epoch }
	report, err := Export(w.Context(), w.store, &out, o)
	w.must(err)
	return out.Bytes(), report
}

func (w *world) load(file []byte, o ImportOptions) (ImportReport, error) {
	return Import(w.Context(), w.store, from(file), o)
}

func from(file []byte) Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }
}

// all returns every history of a store by session: the verified bytes.
func (w *world) all() map[string]string { return everything(w.TB, w.store) }

func everything(t testing.TB, store *eventstore.Store) map[string]string {
	t.Helper()
	info, err := store.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	err = eachArrival(t.Context(), store, "", 1, info.Last, func(list []arrival, _ uint64) error {
		for _, a := range list {
			h, err := readHistory(t.Context(), store, a.key, 0)
			if err != nil {
				return err
			}
			var text strings.Builder
			err = h.each(t.Context(), store, func(c held) error {
				fmt.Fprintf(&text, "%s%s\n", headerText(c.Header), c.Body)
				return nil
			})
			found[a.key.String()] = text.String()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// same fails the test unless both have the same sessions, byte for byte.
func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	for key, text := range want {
		if got[key] != text {
			t.Fatalf("session %s is\n%.2000s\nand should be\n%.2000s", key, got[key], text)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("there are %d sessions and should be %d", len(got), len(want))
	}
}

func wantError(t testing.TB, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("the error is %v; it should be: %v", err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Fatalf("the error %q does not say %q", err, word)
		}
	}
}
