package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// exported returns the sessions that an export has.
func (w *world) exported(o ExportOptions) string {
	w.Helper()
	file, _ := w.export(o)
	r, err := NewReader(bytes.NewReader(file))
	w.must(err)
	var keys []string
	_, err = Verify(w.Context(), r, Visitor{Begin: func(key eventstore.Key) error {
		keys = append(keys, key.String())
		return nil
	}})
	w.must(err)
	return strings.Join(keys, " ")
}

func TestFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 8 {
		w.live("ann", n)
	}
	w.do(w.key("eve", 9), plan(9))
	for name, test := range map[string]struct {
		filter Filter
		want   string
	}{
		"everything":        {Filter{}, "ann.s0 ann.s1 ann.s2 ann.s3 ann.s4 ann.s5 ann.s6 eve.s9"},
		"with tombstones":   {Filter{User: "ann", Tombstones: true}, "ann.s0 ann.s1 ann.s2 ann.s3 ann.s4 ann.s5 ann.s6 ann.s7"},
		"one user":          {Filter{User: "eve"}, "eve.s9"},
		"states":            {Filter{States: []domain.State{domain.StateFailed, domain.StateCompleted}}, "ann.s2 ann.s4"},
		"metadata":          {Filter{Metadata: map[string]string{"note": "ü"}}, "ann.s6"},
		"other metadata":    {Filter{Metadata: map[string]string{"team": "blue"}}, ""},
		"changed later":     {Filter{UpdatedAfter: epoch.Add(3 * time.Second)}, "ann.s2 ann.s3"},
		"changed before":    {Filter{UpdatedBefore: epoch.Add(time.Second)}, "ann.s0 eve.s9"},
		"created later":     {Filter{CreatedAfter: epoch.Add(time.Second)}, ""},
		"created before":    {Filter{CreatedBefore: epoch}, ""},
		"created then":      {Filter{User: "eve", CreatedAfter: epoch, CreatedBefore: epoch.Add(1)}, "eve.s9"},
		"by name":           {Filter{User: "ann", Sessions: []string{"s3", "s1", "s3"}}, "ann.s3 ann.s1"},
		"a name that is so": {Filter{User: "ann", Sessions: []string{"s3"}, States: []domain.State{domain.StatePaused}}, "ann.s3"},
		"a tombstone":       {Filter{User: "ann", Sessions: []string{"s7"}, Tombstones: true}, "ann.s7"},
	} {
		if got := w.exported(ExportOptions{Filter: test.filter}); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	for name, test := range map[string]struct {
		filter Filter
		want   string
	}{
		"unknown":      {Filter{User: "ann", Sessions: []string{"s99"}}, "s99 of user ann was never created"},
		"gone":         {Filter{User: "ann", Sessions: []string{"s7"}}, "s7 of user ann is gone; its tombstone is exported with --tombstones"},
		"in the wrong": {Filter{User: "ann", Sessions: []string{"s1"}, States: []domain.State{domain.StatePaused}}, "s1 of user ann does not fit the other conditions"},
	} {
		_, err := Export(t.Context(), w.store, io.Discard, ExportOptions{Filter: test.filter})
		if wantError(t, err, ErrNoSession, test.want); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestExportIsOfOneMoment changes sessions while they are exported.
func TestExportIsOfOneMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 3 {
		w.do(w.key("ann", n), plan(9), &domain.Start{})
	}
	calm, _ := w.export(ExportOptions{})
	busy := 0
	file, report := w.export(ExportOptions{Progress: func(p Progress) {
		if busy++; busy == 1 && p.Sessions == 1 {
			w.do(w.key("ann", 1), &domain.Pause{})
			w.do(w.key("ann", 8), plan(9))
		}
	}})
	if body(calm) != body(file) || report.Sessions != 3 {
		t.Error("the export has what came after its beginning")
	}
}

// TestPurgedWhileExported deletes and compacts a session after it was found.
func TestPurgedWhileExported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 3 {
		w.do(w.key("ann", n), plan(9))
	}
	var done bool
	file, report := w.export(ExportOptions{Progress: func(Progress) {
		if !done {
			done = true
			w.must(w.store.Compact(t.Context(), w.do(w.key("ann", 1), &domain.Delete{})))
		}
	}})
	if trailer, err := verify(t.Context(), file); err != nil || trailer.Sessions != 2 || report.Sessions != 2 {
		t.Errorf("%+v, %v", trailer, err)
	}
}

func TestExportOfDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(w.key("ann", 0), plan(9))
	w.damaged(w.key("ann", 1))
	_, err := Export(t.Context(), w.store, io.Discard, ExportOptions{})
	wantError(t, err, eventstore.ErrCorrupt, "session ann.s1 can't be exported")
	file, report := w.export(ExportOptions{SkipDamaged: true})
	if report.Damaged != 1 || report.Sessions != 1 || !strings.Contains(report.Problems[0], "ann.s1") {
		t.Errorf("%+v", report)
	}
	if _, err := verify(t.Context(), file); err != nil {
		t.Error(err)
	}
	_, err = Export(t.Context(), w.store, io.Discard, ExportOptions{Filter: Filter{User: "ann", Sessions: []string{"s1"}}})
	wantError(t, err, eventstore.ErrCorrupt)
}

// TestForeignMessagesAreNoHistory: what no engine wrote is not exported.
func TestForeignMessagesAreNoHistory(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newWorld(t)
	key := w.key("ann", 1)
	w.driver.Inject(key, map[string]string{"Reprise-Types": "session.created"}, []byte("x"))
	w.do(key, plan(9), &domain.Start{})
	w.driver.Inject(key, nil, []byte("y"))
	w.do(key, &domain.Pause{})
	file, report := w.export(ExportOptions{})
	if report.Commits != 3 {
		t.Errorf("%+v", report)
	}
	if _, err := b.load(file, ImportOptions{}); err != nil {
		t.Error(err)
	}
	same(t, b.all(), w.all())
}

// TestLongHistories are read twice, since they don't fit memory.
func TestLongHistories(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newWorld(t)
	key := w.key("ann", 1)
	w.do(key, &domain.Create{Definition: domain.Definition{KeepOpen: true, Chains: []domain.ChainDef{{ID: "main", Open: true}}}})
	input := []byte(`"` + strings.Repeat("x", 250<<10) + `"`)
	for range 18 {
		w.do(key, &domain.AddStep{Chain: "main", Step: domain.StepDef{Manual: true, Input: input}})
	}
	file, report := w.export(ExportOptions{})
	if report.Bytes < maxHeld || report.Commits != 19 {
		t.Errorf("%+v", report)
	}
	_, err := b.load(file, ImportOptions{})
	w.must(err)
	same(t, b.all(), w.all())
}

func TestExportStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.populate(9)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Export(ctx, w.store, io.Discard, ExportOptions{Progress: func(Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := Export(t.Context(), w.store, full{}, ExportOptions{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
	down := errors.New("down")
	w.driver.SetFaults(eventstore.Faults{BeforeRead: func(context.Context) error { return down }})
	if _, err := Export(t.Context(), w.store, io.Discard, ExportOptions{}); !errors.Is(err, down) {
		t.Errorf("a store that is down: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
