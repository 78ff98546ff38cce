package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/projections"
)

// TestPurgeCountsWhatWasRemoved compares the report with the store.
func TestPurgeCountsWhatWasRemoved(t *testing.T) {
	w := newWorld(t)
	const stale = 20
	for i := range stale {
		w.lead(fmt.Sprintf("s%d", i), domain.StateCompleted, 100)
	}
	w.lead("fresh", domain.StateCompleted, 1)
	before := w.info()
	report := w.purge(contract.CleanupRequest{}, Options{Concurrency: 8})
	after := w.info()
	var tombstones uint64
	err := w.store.Raw(t.Context(), eventstore.Filter{From: before.Last + 1}, func(m eventstore.Message) error {
		tombstones += m.Size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Purged != stale || report.Stopped || before.Messages-report.Commits+stale != after.Messages || before.Bytes-report.Bytes+tombstones != after.Bytes {
		t.Errorf("the report is %+v; before %+v, after %+v", report, before, after)
	}
	if w.state("s0") != "gone" || w.state("fresh") != "COMPLETED" {
		t.Errorf("s0 is %s, fresh is %s", w.state("s0"), w.state("fresh"))
	}
	if again := w.purge(contract.CleanupRequest{}, Options{}); again.Purged != 0 || again.Stale != 0 || again.Orphaned != 0 {
		t.Errorf("the second purge: %+v", again)
	}
	checkAudited(t, w, report)
}

// checkAudited looks at what the audit says of the first purge.
func checkAudited(t *testing.T, w *world, report *contract.CleanupReport) {
	t.Helper()
	if len(w.audited["cleanup.purge"]) != 2 || w.audited["cleanup.purge"][0] != report {
		t.Errorf("audited: %v", w.audited["cleanup.purge"])
	}
	kept := 0
	for _, some := range w.audited["cleanup.results"] {
		for _, r := range some.(Results).Results {
			if kept++; r.FirstSeq == 0 || r.LastSeq < r.FirstSeq || r.Tombstone <= r.LastSeq {
				t.Errorf("the audit says %+v", r)
			}
		}
	}
	if kept != report.Purged {
		t.Errorf("the audit has %d results of %d", kept, report.Purged)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	fillOrphans(w)
	w.lead("old", domain.StateCompleted, 100)
	before := w.info()
	dry := w.purge(contract.CleanupRequest{}, Options{DryRun: true, Archiver: &archive{err: errors.New("full")}})
	if after := w.info(); after != before || w.orders != 0 || len(w.traces.removed)+len(w.views.healed) > 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if dry.Purged != 7 || !dry.DryRun || len(w.audited["cleanup.purge"])+len(w.audited["cleanup.results"]) > 0 {
		t.Errorf("the dry run: %+v", dry)
	}
	if done := w.purge(contract.CleanupRequest{}, Options{}); done.Purged != dry.Purged || done.Commits != dry.Commits || done.Bytes != dry.Bytes {
		t.Errorf("the dry run says %+v, the purge %+v", dry, done)
	}
}

// TestPurgeLeavesWhatHasMoved changes each session between scan and purge.
func TestPurgeLeavesWhatHasMoved(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"active", "held", "removed", "fine", "raced"} {
		w.lead(s, domain.StateFailed, 100)
	}
	w.lead("idle", domain.StateRunning, 100)
	w.do("held", 99, &domain.PutHold{Reason: "evidence"})
	plan, _ := w.scan(contract.CleanupRequest{})
	w.do("active", 0, &domain.SetMetadata{Set: map[string]string{"a": "b"}})
	if err := w.store.Compact(t.Context(), w.do("removed", 0, &domain.Purge{})); err != nil {
		t.Fatal(err)
	}
	w.config.fault = func(point string, item contract.CleanupItem) error {
		if point == stepOrder && item.Session == "raced" {
			w.do("raced", 0, &domain.SkipStep{Chain: "c", Step: "s"})
		}
		return nil
	}
	results := map[string]contract.CleanupResult{}
	report, err := w.cleaner().Purge(t.Context(), contract.CleanupRequest{Plan: plan}, Options{By: "olga", Concurrency: 1}, Watch{
		Results: func(some []contract.CleanupResult) {
			for _, r := range some {
				results[r.Session] = r
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for session, want := range map[string]contract.CleanupOutcome{
		"active": contract.OutcomeChanged, "held": contract.OutcomeHeld, "removed": contract.OutcomeGone,
		"fine": contract.OutcomePurged, "raced": contract.OutcomeChanged, "idle": contract.OutcomeProtected,
	} {
		if r := results[session]; r.Outcome != want || (r.Why == "") != (want == contract.OutcomePurged) {
			t.Errorf("%s: %s %q, want %s", session, r.Outcome, r.Why, want)
		}
	}
	if report.Purged != 1 || report.Skipped[contract.OutcomeChanged] != 2 || report.Skipped[contract.OutcomeHeld] != 1 || report.Stale != 6 {
		t.Errorf("the report is %+v", report)
	}
	if w.state("raced") != "COMPLETED" || w.state("idle") != "RUNNING" {
		t.Errorf("raced is %s, idle is %s", w.state("raced"), w.state("idle"))
	}
}

func TestIdleIsPurgedIfThePolicySaysSo(t *testing.T) {
	w := newWorld(t)
	w.lead("paused", domain.StatePaused, 100)
	w.lead("running", domain.StateRunning, 100)
	policy := DefaultPolicy()
	policy.PurgeIdle = true
	if r := w.purge(contract.CleanupRequest{Policy: &policy}, Options{}); r.Purged != 2 {
		t.Errorf("the report is %+v", r)
	}
	a, err := w.cleaner().current(t.Context(), eventstore.Key{User: "ada", Session: "running"})
	if err != nil || a.Session.Gone == nil || a.Session.Gone.State != domain.StateCancelled || a.Session.Gone.Policy != "default" || a.Session.Gone.By != "olga" {
		t.Errorf("the tombstone is %+v, error %v", a.Session.Gone, err)
	}
}

// TestCrashesAreCompleted ends a purge before each of its steps; the next run
// does the rest.
func TestCrashesAreCompleted(t *testing.T) {
	for _, point := range []string{stepJudge, stepArchive, stepOrder, stepCompact, stepDone} {
		for _, compacts := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, compacted %v", point, compacts), func(t *testing.T) {
				w := newWorld(t)
				for i := range 6 {
					w.lead(fmt.Sprintf("s%d", i), domain.StateCompleted, 100)
				}
				crashAt(w, point, compacts)
				first, err := w.cleaner().Purge(t.Context(), contract.CleanupRequest{}, Options{By: "olga", Concurrency: 1, Archiver: &archive{}}, Watch{})
				if err != nil || !first.Stopped || first.Purged != 2 || first.Failed != 0 {
					t.Fatalf("the first run: %+v, error %v", first, err)
				}
				w.config.fault, w.driver.compact = nil, nil
				second := w.purge(contract.CleanupRequest{}, Options{Archiver: &archive{}})
				if second.Stopped || second.Failed != 0 {
					t.Errorf("the second run: %+v", second)
				}
				for i := range 6 {
					if s := w.state(fmt.Sprintf("s%d", i)); s != "gone" {
						t.Errorf("s%d is %s", i, s)
					}
				}
				if info := w.info(); info.Messages != 6 {
					t.Errorf("%d messages are left of 6 sessions", info.Messages)
				}
			})
		}
	}
}

// crashAt ends the run at the third item.
func crashAt(w *world, point string, compacts bool) {
	seen, crashing := 0, false
	w.config.fault = func(at string, _ contract.CleanupItem) error {
		if at == stepJudge {
			seen++
			crashing = seen == 3
		}
		if at == point && crashing {
			return errCrash
		}
		return nil
	}
	w.driver.compact = func() error {
		if crashing && !compacts && point == stepCompact {
			return errors.New("not now")
		}
		return nil
	}
}

func TestPurgeCanBeStoppedAndGoesOn(t *testing.T) {
	w := newWorld(t)
	const all = 600
	for i := range all {
		w.lead(fmt.Sprintf("s%d", i), domain.StatePending, 100)
	}
	plan, _ := w.scan(contract.CleanupRequest{})
	ctx, cancel := context.WithCancel(t.Context())
	var last contract.CleanupProgress
	first, err := w.cleaner().Purge(ctx, contract.CleanupRequest{Plan: plan}, Options{By: "olga"}, Watch{
		Results:  func([]contract.CleanupResult) { cancel() },
		Progress: func(p contract.CleanupProgress) { last = p },
	})
	if err != nil || !first.Stopped || first.Purged == 0 || first.Purged == all {
		t.Fatalf("the first run: %+v, error %v", first, err)
	}
	if last.Total != all || int(last.Done) != first.Purged+first.Failed {
		t.Errorf("the last progress is %+v", last)
	}
	second := w.purge(contract.CleanupRequest{Plan: plan}, Options{})
	if second.Stopped || first.Purged+second.Purged != all || second.Skipped[contract.OutcomeGone] != first.Purged {
		t.Errorf("the second run: %+v after %d", second, first.Purged)
	}
}

func TestArchiveComesFirst(t *testing.T) {
	w := newWorld(t)
	w.lead("one", domain.StateCompleted, 100)
	broken := &archive{err: errors.New("the disk is full")}
	report := w.purge(contract.CleanupRequest{}, Options{Archiver: broken})
	if report.Failed != 1 || report.Purged != 0 || w.state("one") != "COMPLETED" || !strings.Contains(report.Problems[0].Why, "the disk is full") {
		t.Errorf("with a broken archive: %+v", report)
	}
	kept := &archive{}
	if report = w.purge(contract.CleanupRequest{}, Options{Archiver: kept}); report.Purged != 1 || len(kept.kept) != 1 {
		t.Errorf("with an archive: %+v, %v", report, kept.kept)
	}
	a, err := w.cleaner().current(t.Context(), w.keys[0])
	if err != nil || a.Session.Gone.Archive != "archive/one" {
		t.Errorf("the tombstone is %+v, error %v", a.Session.Gone, err)
	}
}

func TestOrphansArePurged(t *testing.T) {
	w := newWorld(t)
	fillOrphans(w)
	report := w.purge(contract.CleanupRequest{}, Options{})
	if report.Purged != 6 || report.Failed != 0 {
		t.Errorf("the report is %+v", report)
	}
	if len(w.traces.removed) != 2 || len(w.views.healed) != 1 || w.views.healed[0].Session != "ghost" {
		t.Errorf("removed %v, healed %v", w.traces.removed, w.views.healed)
	}
	if w.state("headless") != "gone" || w.state("ancient") != "" || w.state("unfinished") != "gone" || w.state("buried") != "gone" {
		t.Errorf("headless is %q, ancient %q, unfinished %q", w.state("headless"), w.state("ancient"), w.state("unfinished"))
	}
	w.views.findings, w.traces.there = nil, nil
	if plan, _ := w.scan(contract.CleanupRequest{}); len(plan.Items) != 0 {
		t.Errorf("the next scan finds %v", found(plan))
	}
	w.lead("ancient", domain.StatePending, 0) // the id is free again
}

// TestPlansGrowOld gives plans whose items are not any more what they were.
func TestPlansGrowOld(t *testing.T) {
	w := newWorld(t)
	fillOrphans(w)
	plan, _ := w.scan(contract.CleanupRequest{})
	for i, item := range plan.Items {
		switch item.Reason {
		case contract.ReasonHeadless, contract.ReasonTombstone, contract.ReasonTask:
			plan.Items[i].Session = "alive"
		default:
			plan.Items[i].Reason = "whim"
		}
	}
	plan.Items = append(plan.Items,
		contract.CleanupItem{User: "ada", Session: "buried", Reason: contract.ReasonTombstone, Seq: 1},
		contract.CleanupItem{User: "ada", Session: "alive", Reason: contract.ReasonQueued, Subject: "q"})
	report := w.purge(contract.CleanupRequest{Plan: plan}, Options{})
	if report.Purged != 0 || report.Failed != 3 || report.Skipped[contract.OutcomeChanged] != 4 || report.Skipped[contract.OutcomeProtected] != 1 {
		t.Errorf("the report is %+v", report)
	}
	if w.state("alive") != "RUNNING" || w.state("buried") != "gone" {
		t.Errorf("alive is %s", w.state("alive"))
	}
}

func TestOrdersAreGivenAgain(t *testing.T) {
	for name, test := range map[string]struct {
		err            error
		tries          int
		purged, failed int
		stopped        bool
	}{
		"busy once":       {domain.Reject(domain.CodeBusy, "", "busy"), 1, 1, 0, false},
		"unknown once":    {eventstore.ErrUnknownOutcome, 1, 1, 0, false},
		"busy for long":   {domain.Reject(domain.CodeBusy, "", "busy"), 9, 0, 1, false},
		"another mistake": {errors.New("the engine stumbled"), 1, 0, 1, false},
		"unavailable":     {eventstore.ErrUnavailable, 1, 0, 0, true},
		"draining":        {domain.Reject(domain.CodeUnavailable, "", "stopping"), 1, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lead("one", domain.StateCompleted, 100)
			tries := 0
			w.config.Purge = func(ctx context.Context, o Order) (uint64, error) {
				if tries++; tries <= test.tries {
					return 0, test.err
				}
				return w.order(ctx, o)
			}
			r := w.purge(contract.CleanupRequest{}, Options{})
			if r.Purged != test.purged || r.Failed != test.failed || r.Stopped != test.stopped {
				t.Errorf("after %d tries: %+v", tries, r)
			}
		})
	}
}

func TestAuditThatFailsIsAnError(t *testing.T) {
	w := newWorld(t)
	w.lead("one", domain.StateCompleted, 100)
	w.config.Audit = func(context.Context, string, any) error { return errors.New("the audit is full") }
	report, err := w.cleaner().Purge(t.Context(), contract.CleanupRequest{}, Options{By: "olga"}, Watch{})
	if report == nil || report.Purged != 1 || err == nil || strings.Count(err.Error(), "the audit is full") != 2 {
		t.Errorf("report %+v, error %v", report, err)
	}
}

func TestRepair(t *testing.T) {
	w := newWorld(t)
	fillOrphans(w)
	w.lead("stale", domain.StateCompleted, 1000)
	dry, err := w.cleaner().Repair(t.Context(), contract.RepairRequest{}, "olga", Watch{})
	if err != nil || dry.Orphaned != 6 || dry.Stale != 0 || dry.Repaired+dry.Purged != 6 || len(w.views.healed) != 0 {
		t.Errorf("dry: %+v, error %v", dry, err)
	}
	done, err := w.cleaner().Repair(t.Context(), contract.RepairRequest{Apply: true, Rebuild: true}, "olga", Watch{})
	if err != nil || done.Repaired != 2 || done.Purged != 4 || len(w.views.healed) != 3 || w.views.rebuilt != 1 {
		t.Errorf("applied: %+v, error %v; healed %v", done, err, w.views.healed)
	}
	if w.state("stale") != "COMPLETED" || w.state("ancient") != "gone" || w.state("unfinished") != "gone" {
		t.Errorf("stale is %s, ancient %s", w.state("stale"), w.state("ancient"))
	}
	if len(w.audited["cleanup.repair"]) != 2 {
		t.Errorf("audited %v", w.audited)
	}
	w.views.err = projections.ErrStandby
	failed, err := w.cleaner().Repair(t.Context(), contract.RepairRequest{Apply: true, Rebuild: true}, "olga", Watch{})
	if !errors.Is(err, projections.ErrStandby) || failed.Failed != 3 {
		t.Errorf("on standby: %+v, error %v", failed, err)
	}
}
