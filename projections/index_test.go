package projections

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

func TestIndexWarms(t *testing.T) {
	x := filled(t)
	x.warm = make(chan struct{})
	warming := &domain.Rejection{Code: domain.CodeWarming}
	if _, err := x.List("ada", contract.ListRequest{}); !errors.Is(err, warming) {
		t.Error(err)
	}
	if _, err := x.Count("ada", contract.CountRequest{}); !errors.Is(err, warming) {
		t.Error(err)
	}
	if err := x.Each(func(Entry) bool { return true }); !errors.Is(err, warming) {
		t.Error(err)
	}
	if _, err := NewIndex(IndexConfig{}); err == nil {
		t.Error("an index without a source")
	}
}

func TestIndexIsBuiltFromViewsOrEvents(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		a, b, gone := key("ada", "s1"), key("ada", "s2"), key("ada", "s3")
		w.create(a)
		w.create(b)
		v := w.views(store)
		stop := w.hold(v)
		w.wait(v)
		stop()
		w.do(a, &domain.Start{})
		w.create(gone)
		w.purge(gone)

		for name, x := range map[string]*Index{
			"views": w.index(store, "team"), "other keys": w.index(store, "secret"), "events": w.index(nil, "team"),
		} {
			r, _ := w.runner(x)
			w.wait(r)
			reply, err := x.List("ada", contract.ListRequest{})
			if err != nil || ids(reply.Sessions) != "1R 2P" || reply.Position != w.at(w.end()) {
				t.Errorf("%s: %+v %v", name, reply, err)
			}
			if _, ok := x.Get(gone); ok {
				t.Errorf("%s: a purged session", name)
			}
		}
		w.driver.Inject(gone, nil, []byte("x"))
	})
}

func TestIndexWithoutReadableViews(t *testing.T) {
	for _, at := range []string{"checkpoint", "scan"} {
		w := newWorld(t)
		store := NewMemoryViews()
		w.create(key("ada", "s1"))
		stop := w.hold(w.views(store))
		eventually(t, "the view", func() bool { c, _ := store.Checkpoint(t.Context()); return c.Seq > 0 })
		stop()
		x := w.index(&brokenViews{MemoryViews: store, at: at, err: errors.New("broken")}, "team")
		r, _ := w.runner(x)
		w.wait(r)
		if x.Len() != 1 || len(w.report.list) == 0 {
			t.Errorf("%s: %d sessions, reports %v", at, x.Len(), w.report.list)
		}
	}
}

func TestIndexTakesTheTruthOverAView(t *testing.T) {
	w := newWorld(t)
	a := w.create(key("ada", "s1"))
	x := w.index(nil, "team")
	lie := NewEntry(a, nil)
	lie.Seq, lie.State = 1000, domain.StateFailed
	x.put(a.Key, newRow(lie), false)
	x.Replace(a)
	if e, _ := x.Get(a.Key); e.State != domain.StatePending || e.Seq != a.Seq {
		t.Errorf("%+v", e)
	}
	x.put(a.Key, newRow(lie), false)
	if e, _ := x.Get(a.Key); e.State != domain.StatePending {
		t.Errorf("a header replaced what came from the events: %+v", e)
	}
}

func TestIndexLoadsWhatHeadersDontSay(t *testing.T) {
	w := newWorld(t)
	x := w.index(nil, "team")
	a := w.create(key("ada", "s1"))
	broken := &failing{Source: w.store, left: 1, err: &eventstore.CommitError{}}
	x.cfg.Source = broken
	if err := x.loadOdd(t.Context(), []eventstore.Key{a.Key, a.Key}); err != nil || x.Len() != 1 {
		t.Errorf("%d %v", x.Len(), err)
	}
	broken.left, broken.err = 1, nil
	if err := x.loadOdd(t.Context(), []eventstore.Key{a.Key}); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Error(err)
	}
}

func TestEntryRoundTrip(t *testing.T) {
	w := newWorld(t)
	k := key("ada", "s1")
	w.do(k, &domain.Create{Definition: domain.Definition{
		Timeout: domain.Duration(time.Hour), Priority: -7, OnFailure: domain.FailContinue,
		Chains: []domain.ChainDef{
			{ID: "a", Steps: []domain.StepDef{{ID: "1", Action: "x", Timeout: domain.Duration(time.Minute)}, {ID: "2", Action: "x"}}},
			{ID: "b", Steps: []domain.StepDef{{ID: "1", Action: "x"}}},
		},
	}})
	w.do(k, &domain.Start{})
	w.do(k, &domain.Claim{Chain: "a", Step: "1", Worker: "w", Action: "x"})
	w.do(k, &domain.PutHold{Reason: "audit"})
	a := w.do(k, &domain.SkipStep{Chain: "b", Step: "1"})
	e := NewEntry(a, nil)
	if e.Deadline.IsZero() || e.StepDue.IsZero() || !e.Held || e.StepsDone != 1 || e.InFlight != 1 || e.Priority != -7 {
		t.Errorf("%+v", e)
	}
	raw, err := domain.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := parseEntry(k.String(), raw)
	if err != nil {
		t.Fatal(err)
	}
	stored := newRow(back)
	if byShortWay := rowOf(a, nil); !reflect.DeepEqual(stored, byShortWay) {
		t.Errorf("\n%+v\n%+v", stored, byShortWay)
	}
	stored.owner = &owner{user: back.User}
	if got, want := fmt.Sprintf("%+v", stored.entry()), fmt.Sprintf("%+v", back); got != want {
		t.Errorf("\n%s\n%s", got, want)
	}
	if _, err := parseEntry("bob.s1", raw); err == nil {
		t.Error("the header of another session was taken")
	}
	long := NewEntry(eventstore.Aggregate{Key: k, Session: &domain.Session{State: domain.StateFailed, Error: &domain.Failure{Message: strings.Repeat("é", 200) + "x"}}}, nil)
	if len(long.Error) != maxEntryError || !strings.HasSuffix(long.Error, "é") {
		t.Errorf("%d bytes of error", len(long.Error))
	}
	if got := cut("a"+strings.Repeat("é", 200), maxEntryError); len(got) != maxEntryError-1 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestParseKey(t *testing.T) {
	for _, k := range []eventstore.Key{key("ada", "s1"), key("ü.*", "s-1")} {
		if got, err := parseKey(k.String()); err != nil || got != k {
			t.Errorf("%v %v", got, err)
		}
	}
	for _, bad := range []string{"", "ada", "ada.s1.x", "=.s1", "a b.s1"} {
		if k, err := parseKey(bad); err == nil {
			t.Errorf("%q is %v", bad, k)
		}
	}
}

func BenchmarkIndexPut(b *testing.B) {
	x := filled(b)
	for n := 0; b.Loop(); n++ {
		e := entry("ada", n%100_000, domain.States()[n%stateCount])
		e.Seq = uint64(n + 1)
		x.put(key("ada", e.ID), newRow(e), true)
	}
}

// Views that are removed while they are read are no base for an index.
func TestIndexNoticesARebuild(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	x := w.index(store, "team")
	wr := writer(t, store)
	before := Checkpoint{Incarnation: "i", Seq: 5}
	for _, test := range []struct {
		now Checkpoint
		ok  bool
	}{{before, true}, {Checkpoint{Incarnation: "i", Seq: 6}, true}, {Checkpoint{}, false}, {Checkpoint{Incarnation: "i", Seq: 4}, false}} {
		if err := wr.SetCheckpoint(t.Context(), test.now); err != nil {
			t.Fatal(err)
		}
		if err := x.stillCovered(t.Context(), before); (err == nil) != test.ok {
			t.Errorf("%+v: %v", test.now, err)
		}
	}
}
