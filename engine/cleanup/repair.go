package cleanup

import (
	"context"
	"errors"
	"fmt"

	"reprise/contract"
	"reprise/domain"
	"reprise/projections"
)

// Repair compares everything that is derived with the events, and puts it right
// if it may: views that are missing, wrong or of nobody, histories behind a
// tombstone, and what else is left of sessions that are gone. No session is
// touched. The errors are those of Purge.
func (c *Cleaner) Repair(ctx context.Context, r contract.RepairRequest, by string, watch Watch) (*contract.CleanupReport, error) {
	t := newTally("repair", by, c.now())
	t.report.DryRun = !r.Apply
	policy := DefaultPolicy()
	policy.Name = "repair"
	policy.Keep = domain.States()
	plan, err := c.plan(ctx, contract.CleanupRequest{Policy: &policy}, t.report.ID, watch)
	if err != nil {
		return nil, err
	}
	if err := c.addViews(ctx, plan); err != nil {
		return nil, err
	}
	t.found(plan)
	report, err := c.carryOut(ctx, plan, Options{By: by, DryRun: !r.Apply, Concurrency: DefaultConcurrency}, t, watch)
	if r.Apply && r.Rebuild && !report.Stopped {
		if rebuilt := c.cfg.Views.Rebuild(ctx); rebuilt != nil {
			err = errors.Join(err, fmt.Errorf("the views could not be written anew: %w", rebuilt))
		}
	}
	return report, err
}

// addViews adds the views that are missing or wrong, and takes out what only a
// policy may remove.
func (c *Cleaner) addViews(ctx context.Context, plan *contract.CleanupPlan) error {
	kept := plan.Items[:0]
	for _, item := range plan.Items {
		if item.Reason.Orphan() && item.Reason != contract.ReasonHeadless {
			kept = append(kept, item)
		}
	}
	found, err := c.cfg.Views.Compare(ctx)
	for _, f := range found {
		reason, ok := faults[f.Fault]
		if ok {
			kept = append(kept, contract.CleanupItem{User: f.Key.User, Session: f.Key.Session, Reason: reason})
		}
	}
	plan.Items = kept
	return err
}

// faults are what a scan doesn't look for.
var faults = map[projections.Fault]contract.CleanupReason{
	projections.FaultMissing: contract.ReasonMissingView,
	projections.FaultWrong:   contract.ReasonWrongView,
}
