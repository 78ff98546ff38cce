package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"reprise/domain"
	"reprise/eventstore"
)

func TestImportRestoresEverything(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(48)
	file, exported := a.export(ExportOptions{Filter: Filter{Tombstones: true}})
	var steps int
	report, err := b.load(file, ImportOptions{BeforeWriting: func(context.Context) (func() error, error) {
		steps++
		return func() error { steps++; return nil }, nil
	}})
	a.must(err)
	if steps != 2 {
		t.Errorf("%d of the two ends of the writing were told", steps)
	}
	if exported.Sessions != 48 || report.New != 48 || report.InFile != exported.Trailer || report.Written != exported.Commits {
		t.Errorf("exported %+v, imported %+v", exported, report)
	}
	same(t, b.all(), a.all())

	again, err := b.load(file, ImportOptions{BeforeWriting: func(context.Context) (func() error, error) {
		return nil, errors.New("nothing is to be written")
	}})
	a.must(err)
	if again.Unchanged != 48 || again.Written != 0 {
		t.Errorf("again: %+v", again)
	}
	second, _ := b.export(ExportOptions{Filter: Filter{Tombstones: true}})
	if want, got := body(file), body(second); want != got {
		t.Error("the export of the import has other commits")
	}
}

// body is what a file holds between header and trailer, sorted: sessions are
// restored side by side.
func body(file []byte) string {
	lines := strings.SplitAfter(string(file), "\n")
	lines = lines[1 : len(lines)-2]
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func TestImportLeavesTombstonesAloneUnlessAsked(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	a.populate(16)
	_, report := a.export(ExportOptions{})
	if report.Sessions != 14 {
		t.Errorf("%d sessions were exported, want those 14 that are not gone", report.Sessions)
	}
}

func TestImportGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	a.populate(40)
	file, report := a.export(ExportOptions{Filter: Filter{Tombstones: true}})
	for stop := uint64(1); stop < report.Commits; stop += 7 {
		b := newWorld(t)
		ctx, kill := context.WithCancel(t.Context())
		left := stop
		b.driver.SetFaults(eventstore.Faults{AfterAppend: once(&left, kill)})
		_, err := Import(ctx, b.store, from(file), ImportOptions{})
		if err == nil {
			t.Fatalf("killed after %d commits it says nothing", stop)
		}
		b.driver.SetFaults(eventstore.Faults{})
		again, err := b.load(file, ImportOptions{})
		a.must(err)
		if again.Unchanged+again.Continued == 0 {
			t.Errorf("killed after %d commits it began anew: %+v", stop, again)
		}
		same(t, b.all(), a.all())
	}
}

// once calls kill after so many appends.
func once(left *uint64, kill func()) func(context.Context, []eventstore.Record, []uint64) error {
	turn := make(chan struct{}, 1)
	return func(context.Context, []eventstore.Record, []uint64) error {
		turn <- struct{}{}
		defer func() { <-turn }()
		if *left--; *left == 0 {
			kill()
		}
		return nil
	}
}

func TestImportSurvivesLostAcknowledgements(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(16)
	file, _ := a.export(ExportOptions{})
	turns := make(chan int, 1)
	turns <- 0
	b.driver.SetFaults(eventstore.Faults{AfterAppend: func(context.Context, []eventstore.Record, []uint64) error {
		n := <-turns + 1
		turns <- n
		if n%3 == 0 {
			return eventstore.ErrUnknownOutcome
		}
		return nil
	}})
	_, err := b.load(file, ImportOptions{})
	a.must(err)
	b.driver.SetFaults(eventstore.Faults{})
	again, _ := b.export(ExportOptions{})
	if body(file) != body(again) {
		t.Error("the histories differ")
	}
}

func TestImportRefusesClashes(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	other, mine, gone := a.key("ann", 1), a.key("ann", 2), a.key("ann", 3)
	for _, key := range []eventstore.Key{other, mine, gone} {
		a.do(key, plan(9), &domain.Start{}, &domain.Pause{})
	}
	b.do(other, plan(9), &domain.Start{}, &domain.Cancel{})
	b.do(gone, plan(9), &domain.Delete{})
	file, _ := a.export(ExportOptions{})
	report, err := b.load(file, ImportOptions{})
	wantError(t, err, ErrClash, "session ann.s1 is there with another history: the first version that differs is 3; and 1 more")
	if report.Written != 0 || len(b.all()) != 2 || report.Clashes[0].Version != 3 || !strings.Contains(report.Clashes[1].Reason, "session ann.s3 is gone here (2026-03-01 by ann)") {
		t.Errorf("%+v", report)
	}
	report, err = b.load(file, ImportOptions{SkipClashes: true})
	if err != nil || report.Skipped != 2 || report.New != 1 || len(b.all()) != 3 {
		t.Errorf("skipping: %+v, %v", report, err)
	}
}

func TestImportLeavesSessionsThatHaveGoneOn(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	key := a.key("ann", 1)
	a.do(key, plan(9), &domain.Start{})
	file, _ := a.export(ExportOptions{})
	_, err := b.load(file, ImportOptions{})
	a.must(err)
	b.do(key, &domain.Pause{})
	report, err := b.load(file, ImportOptions{})
	if err != nil || report.Unchanged != 1 || report.Written != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	a.do(key, &domain.Pause{})
	a.do(key, &domain.Resume{})
	longer, _ := a.export(ExportOptions{})
	report, err = b.load(longer, ImportOptions{})
	if err != nil || report.Continued != 1 || report.Written != 1 {
		t.Errorf("a longer history: %+v, %v", report, err)
	}
}

func TestImportNeverDeletes(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	key := a.key("ann", 1)
	a.do(key, plan(9))
	alive, _ := a.export(ExportOptions{})
	_, err := b.load(alive, ImportOptions{})
	a.must(err)
	a.do(key, &domain.Delete{})
	dead, _ := a.export(ExportOptions{Filter: Filter{Tombstones: true}})
	_, err = b.load(dead, ImportOptions{})
	wantError(t, err, ErrClash, "is alive here, and the file has its tombstone")
	report, err := b.load(dead, ImportOptions{SkipClashes: true})
	if err != nil || report.Skipped != 1 {
		t.Errorf("skipping: %+v, %v", report, err)
	}
	if agg := b.do(key); agg.Session.Gone != nil {
		t.Error("the import has deleted it")
	}
}

func TestImportNoticesWhoChangesASession(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	key := a.key("ann", 1)
	a.do(key, plan(9), &domain.Start{}, &domain.Pause{})
	file, _ := a.export(ExportOptions{})
	turn := 0
	b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(ctx context.Context, _ []eventstore.Record) error {
		if turn++; turn == 3 {
			other := openStore(t, b.driver)
			agg, err := other.Load(ctx, key)
			a.must(err)
			_, err = decide(ctx, other, agg, &domain.Cancel{})
			return err
		}
		return nil
	}})
	_, err := b.load(file, ImportOptions{})
	wantError(t, err, ErrClash, "was changed at version 3 while it was restored")
}

func TestImportUnderAnotherName(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	for n := range 7 {
		a.live("ann", n)
	}
	file, _ := a.export(ExportOptions{})
	report, err := b.load(file, ImportOptions{User: "eve", Actor: "op"})
	if err != nil || report.New != 7 || report.Written != 7 {
		t.Fatalf("%+v, %v", report, err)
	}
	for n := range 7 {
		compareImported(t, a, b, a.key("ann", n), a.key("eve", n))
	}
	report, err = b.load(file, ImportOptions{User: "eve", Actor: "op"})
	if err != nil || report.Unchanged != 7 || report.Written != 0 {
		t.Errorf("again: %+v, %v", report, err)
	}
	b.do(a.key("eve", 1), &domain.Pause{})
	b.do(a.key("zoe", 1), plan(9))
	_, err = b.load(file, ImportOptions{User: "zoe"})
	wantError(t, err, ErrClash, "session zoe.s1 is there already and was not made of session ann.s1")
}

// compareImported checks that a session made of another has its state.
func compareImported(t *testing.T, a, b *world, source, made eventstore.Key) {
	t.Helper()
	was, is := a.do(source), b.do(made)
	if is.Session.Version != 1 || is.Session.State != was.Session.State {
		t.Errorf("session %s is %s at version %d, and %s is %s", made, is.Session.State, is.Session.Version, source, was.Session.State)
	}
	before, err := a.store.Hydrate(t.Context(), was)
	a.must(err)
	after, err := b.store.Hydrate(t.Context(), is)
	a.must(err)
	if x, y := jsonOf(t, before.Chains), jsonOf(t, after.Chains); x != y {
		t.Errorf("the chains of %s were\n%.3000s\nand are\n%.3000s", source, x, y)
	}
	a.must(b.store.Commits(t.Context(), made, 1, func(c eventstore.Committed) error {
		e, ok := c.Commit.Events[0].(*domain.SessionImported)
		if !ok || e.Head != was.Hash || e.Source.Session != source.Session || c.Commit.Actor != "op" {
			t.Errorf("the first commit is %+v", c.Commit)
		}
		return nil
	}))
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	raw, err := domain.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestImportUnderAnotherID(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	a.do(a.key("ann", 1), plan(9), &domain.Start{})
	file, _ := a.export(ExportOptions{})
	report, err := a.load(file, ImportOptions{NewID: "copy"})
	if err != nil || report.New != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	a.do(eventstore.Key{User: "ann", Session: "copy"}, &domain.Pause{})
	two, _ := a.export(ExportOptions{})
	if _, err = a.load(two, ImportOptions{NewID: "third"}); err == nil || !strings.Contains(err.Error(), "a new id is for one session, and the file has 2") {
		t.Errorf("two sessions: %v", err)
	}
	for _, o := range []ImportOptions{{NewID: "a b"}, {User: "\x00"}} {
		if _, err := a.load(file, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestImportRefusesToRewriteWhatCannotBe(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	key := a.key("ann", 1)
	a.do(key, plan(9), &domain.Delete{})
	file, _ := a.export(ExportOptions{Filter: Filter{Tombstones: true}})
	if _, err := a.load(file, ImportOptions{User: "eve"}); err == nil || !strings.Contains(err.Error(), "a tombstone can't become another session") {
		t.Errorf("a tombstone: %v", err)
	}
	b := newWorld(t)
	big := &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{{ID: "main", Open: true}}, KeepOpen: true}}
	b.do(key, big)
	for range 4 {
		b.do(key, &domain.AddStep{Chain: "main", Step: domain.StepDef{Manual: true, Input: []byte(`"` + strings.Repeat("x", 250<<10) + `"`)}})
	}
	file, _ = b.export(ExportOptions{})
	if _, err := b.load(file, ImportOptions{User: "eve"}); err == nil || !strings.Contains(err.Error(), "import would copy") {
		t.Errorf("too large: %v", err)
	}
	b.do(a.key("eve", 1), plan(9), &domain.Delete{})
	c := newWorld(t)
	c.do(key, plan(9))
	small, _ := c.export(ExportOptions{})
	_, err := b.load(small, ImportOptions{User: "eve"})
	wantError(t, err, ErrClash, "is gone here; choose another id")
}

func TestImportChecksOnly(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(9)
	file, _ := a.export(ExportOptions{})
	report, err := b.load(file, ImportOptions{CheckOnly: true})
	if err != nil || report.New != 8 || len(b.all()) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestImportRefusesWhatDoesNotFitAMessage(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	a.do(a.key("ann", 1), plan(100<<10))
	file, _ := a.export(ExportOptions{})
	store, err := eventstore.Open(t.Context(), eventstore.Config{Driver: eventstore.NewMemory(), MaxMessage: 64 << 10})
	a.must(err)
	_, err = Import(t.Context(), store, from(file), ImportOptions{})
	wantError(t, err, eventstore.ErrTooLarge, "max_payload")
}

func TestImportOfAFileThatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	a.populate(20)
	file, _ := a.export(ExportOptions{})
	for name, second := range map[string]func() (io.ReadCloser, error){
		"gone": func() (io.ReadCloser, error) { return nil, io.ErrClosedPipe },
		"cut":  from(file[:len(file)/2]),
	} {
		b, opens := newWorld(t), 0
		_, err := Import(t.Context(), b.store, func() (io.ReadCloser, error) {
			if opens++; opens == 2 {
				return second()
			}
			return from(file)()
		}, ImportOptions{})
		if err == nil {
			t.Errorf("%s: nothing was noticed", name)
		}
	}
	if _, err := newWorld(t).load(file, ImportOptions{BeforeWriting: func(context.Context) (func() error, error) {
		return nil, io.ErrNoProgress
	}}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("before writing: %v", err)
	}
}

func TestImportReportsProgress(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(6)
	file, _ := a.export(ExportOptions{})
	said := make(chan string, 100)
	_, err := b.load(file, ImportOptions{Progress: func(p Progress) { said <- fmt.Sprint(p.Doing, p.Of) }})
	a.must(err)
	close(said)
	count := map[string]int{}
	for text := range said {
		count[text]++
	}
	if count["checking0"] != 6 || count["writing6"] != 6 {
		t.Errorf("progress: %v", count)
	}
}
