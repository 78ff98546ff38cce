package cleanup

import (
	"context"
	"fmt"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/killpoint"
)

// maxProblems is how many items that failed a report names.
const maxProblems = 20

// tally counts for a report. It is for one goroutine.
type tally struct{ report contract.CleanupReport }

func newTally(kind, by string, now time.Time) *tally {
	return &tally{contract.CleanupReport{
		ID: newID(), Kind: kind, By: by, Time: now,
		Reasons: map[contract.CleanupReason]int{}, Skipped: map[contract.CleanupOutcome]int{},
	}}
}

// found counts what a plan holds. What is to be removed counts as commits and
// bytes until there are results.
func (t *tally) found(plan *contract.CleanupPlan) {
	r := &t.report
	r.Plan, r.Policy, r.Scanned = plan.ID, plan.Policy.Name, plan.Scanned
	for _, item := range plan.Items {
		r.Reasons[item.Reason]++
		if item.Reason.Orphan() {
			r.Orphaned++
		} else {
			r.Stale++
		}
		if r.Kind == "scan" {
			r.Commits += item.Commits
			r.Bytes += item.Bytes
		}
	}
}

// add counts a result.
func (t *tally) add(result contract.CleanupResult) {
	r := &t.report
	switch result.Outcome {
	case contract.OutcomePurged:
		r.Purged++
		r.Commits += result.Commits
		r.Bytes += result.Bytes
	case contract.OutcomeRepaired:
		r.Repaired++
	case contract.OutcomeError:
		r.Failed++
		if len(r.Problems) < maxProblems {
			r.Problems = append(r.Problems, result)
		}
	case contract.OutcomeChanged, contract.OutcomeHeld, contract.OutcomeGone, contract.OutcomeProtected:
		r.Skipped[result.Outcome]++
	}
}

func (t *tally) end(now time.Time) *contract.CleanupReport {
	t.report.Duration = domain.Duration(max(now.Sub(t.report.Time), 0))
	return &t.report
}

// The topics of what is audited.
const (
	topicReport  = "cleanup."
	topicResults = "cleanup.results"
)

// audit keeps a report, also when the run was stopped. A purge that changed
// nothing is kept as a scan.
func (c *Cleaner) audit(ctx context.Context, r *contract.CleanupReport) error {
	kind := r.Kind
	if r.DryRun && kind == "purge" {
		kind = "scan"
	}
	killpoint.Pass(killpoint.ReportKeeping)
	if err := c.cfg.Audit(context.WithoutCancel(ctx), topicReport+kind, r); err != nil {
		return fmt.Errorf("the report could not be kept: %w", err)
	}
	killpoint.Pass(killpoint.ReportKept)
	return nil
}

// Results are the results of some items, as they are audited.
type Results struct {
	Run     string                   `json:"run"`
	Plan    string                   `json:"plan"`
	By      string                   `json:"by"`
	Results []contract.CleanupResult `json:"results"`
}

// auditResults keeps results; that is where the sequences of what was removed
// are found later.
func (c *Cleaner) auditResults(ctx context.Context, r *contract.CleanupReport, some []contract.CleanupResult) error {
	if r.DryRun || len(some) == 0 {
		return nil
	}
	killpoint.Pass(killpoint.ResultsKeeping)
	err := c.cfg.Audit(context.WithoutCancel(ctx), topicResults, Results{Run: r.ID, Plan: r.Plan, By: r.By, Results: some})
	if err != nil {
		return fmt.Errorf("%d results could not be kept: %w", len(some), err)
	}
	killpoint.Pass(killpoint.ResultsKept)
	return nil
}
