package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	s, err := c.look(ctx, contract.CleanupRequest{Policy: &policy}, t.report.ID, watch)
	if err != nil {
		return nil, err
	}
	s.repairable()
	plan := s.done(0)
	t.found(plan)
	report, err := c.carryOut(ctx, plan, Options{By: by, DryRun: !r.Apply, Concurrency: DefaultConcurrency}, t, watch)
	if r.Apply && r.Rebuild && !report.Stopped {
		if rebuilt := c.cfg.Views.Rebuild(ctx); rebuilt != nil {
			err = errors.Join(err, fmt.Errorf("the views could not be written anew: %w", rebuilt))
		}
	}
	return report, err
}

// repairable adds the views that are missing or wrong, and takes out what only a
// policy may remove.
func (s *scan) repairable() {
	s.items = slices.DeleteFunc(s.items, func(item contract.CleanupItem) bool {
		return !item.Reason.Orphan() || item.Reason == contract.ReasonHeadless
	})
	for _, f := range s.faulty {
		if reason, ok := faults[f.Fault]; ok {
			s.items = append(s.items, contract.CleanupItem{User: f.Key.User, Session: f.Key.Session, Reason: reason})
		}
	}
}

// faults are what a scan doesn't look for.
var faults = map[projections.Fault]contract.CleanupReason{
	projections.FaultMissing: contract.ReasonMissingView,
	projections.FaultWrong:   contract.ReasonWrongView,
}
