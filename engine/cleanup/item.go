package cleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/killpoint"
)

const (
	// orderTries is how often an order is given when its outcome is unknown or
	// the engine is busy.
	orderTries = 4
	// orderPause is the pause before the second try; it doubles.
	orderPause = 50 * time.Millisecond
	// itemTimeout bounds one item. It is not ended in the middle when the run
	// is, so that the report counts what was done.
	itemTimeout = time.Minute
)

// The steps of a purge; a fault may be planted before each.
const (
	stepJudge   = killpoint.CleanupJudge
	stepArchive = killpoint.CleanupArchive
	stepOrder   = killpoint.CleanupOrder
	stepCompact = killpoint.CleanupCompact
	stepDone    = killpoint.CleanupDone
)

// do works on one item. An error ends the run: nothing else would fare better.
// The item was not touched then, unless the result has an outcome.
func (r *run) do(ctx context.Context, item contract.CleanupItem) (contract.CleanupResult, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), itemTimeout)
	defer cancel()
	result := contract.CleanupResult{CleanupItem: item}
	err := r.c.cfg.fault(stepJudge, item)
	if err == nil {
		err = r.act(ctx, &result)
	}
	switch {
	case err == nil:
		return result, nil
	case errors.Is(err, errCrash):
		return contract.CleanupResult{}, err
	}
	r.c.cfg.Logger.Warn("an item of a cleanup failed", "session", keyOf(item).String(), "reason", item.Reason, "error", err)
	if !fatal(err) {
		result.Outcome, result.Why = contract.OutcomeError, err.Error()
		return result, nil
	}
	if result.Tombstone > 0 {
		result.Outcome, result.Why = contract.OutcomeError, err.Error()
	}
	return result, err
}

// errCrash is what a planted fault looks like.
var errCrash = errors.New("the process ends here")

// fatal reports whether the next item would meet the same error.
func fatal(err error) bool {
	return errors.Is(err, errCrash) || errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrIncarnation) ||
		errors.Is(err, &domain.Rejection{Code: domain.CodeUnavailable})
}

// act removes what the item is about, if it still is what the scan saw.
func (r *run) act(ctx context.Context, result *contract.CleanupResult) error {
	switch item := result.CleanupItem; item.Reason {
	case contract.ReasonCompleted, contract.ReasonFailed, contract.ReasonCancelled, contract.ReasonNeverStarted, contract.ReasonIdle:
		return r.purge(ctx, result)
	case contract.ReasonTombstone:
		return r.expire(ctx, result)
	case contract.ReasonUnfinished:
		return r.finish(ctx, result)
	case contract.ReasonHeadless:
		return r.bury(ctx, result)
	case contract.ReasonDeadView, contract.ReasonMissingView, contract.ReasonWrongView:
		return r.heal(ctx, result)
	case contract.ReasonTask, contract.ReasonLease, contract.ReasonBlock, contract.ReasonQueued, contract.ReasonDeadLetter:
		return r.sweep(ctx, result)
	default:
		return fmt.Errorf("%.40q is no reason to remove anything", string(item.Reason))
	}
}

// purge ends a stale session: archive, tombstone, compaction. The view follows
// the events.
func (r *run) purge(ctx context.Context, result *contract.CleanupResult) error {
	a, err := r.judge(ctx, result)
	if err != nil || result.Outcome != "" {
		return err
	}
	if r.DryRun {
		result.Outcome = contract.OutcomePurged
		return nil
	}
	if err := r.archive(ctx, a, result); err != nil {
		return err
	}
	if err := r.order(ctx, result); err != nil || result.Outcome != "" {
		return err
	}
	if err := r.compact(ctx, a, result); err != nil {
		return fmt.Errorf("the session is purged, and its history is not removed yet: %w", err)
	}
	result.Outcome, result.LastSeq = contract.OutcomePurged, a.Last
	return r.c.cfg.fault(stepDone, result.CleanupItem)
}

// compact removes the history, unless that came with the order.
func (r *run) compact(ctx context.Context, a eventstore.Aggregate, result *contract.CleanupResult) error {
	if err := r.c.cfg.fault(stepCompact, result.CleanupItem); err != nil {
		return err
	}
	left, err := r.c.cfg.Sessions.Present(ctx, a.Last)
	if err != nil || !left {
		return err
	}
	return r.c.cfg.Sessions.FinishPurge(ctx, a.Key)
}

// judge looks at the session as it is now. It sets the outcome if that is not
// what the scan saw, or must not go.
func (r *run) judge(ctx context.Context, result *contract.CleanupResult) (eventstore.Aggregate, error) {
	a, err := r.c.current(ctx, keyOf(result.CleanupItem))
	if err != nil {
		return a, err
	}
	s, item := a.Session, result.CleanupItem
	switch {
	case !s.Exists():
		result.Outcome, result.Why = contract.OutcomeGone, "it was removed before"
	case s.Version != item.Version || a.Seq != item.Seq:
		result.Outcome, result.Why = contract.OutcomeChanged, fmt.Sprintf("it is at version %d now, %s", s.Version, s.State)
	case s.Hold != nil:
		result.Outcome, result.Why = contract.OutcomeHeld, fmt.Sprintf("it is on hold by %s since %s", s.Hold.By, s.Hold.Since.UTC().Format(time.DateOnly))
	case s.InFlight > 0:
		result.Outcome, result.Why = contract.OutcomeProtected, fmt.Sprintf("it has %d steps in flight", s.InFlight)
	case (s.State == domain.StateRunning || s.State == domain.StatePaused) && !r.plan.Policy.PurgeIdle:
		result.Outcome, result.Why = contract.OutcomeProtected, "it is idle, and the policy purges only what has ended; set purgeIdle to let it go"
	}
	return a, nil
}

// archive keeps the history elsewhere; without that there is no purge.
func (r *run) archive(ctx context.Context, a eventstore.Aggregate, result *contract.CleanupResult) error {
	if r.Archiver == nil {
		return nil
	}
	if err := r.c.cfg.fault(stepArchive, result.CleanupItem); err != nil {
		return err
	}
	ref, err := r.Archiver.Archive(ctx, a.Key, a)
	if err != nil {
		return fmt.Errorf("it could not be archived, so it was not purged: %w", err)
	}
	result.Archive = ref
	return nil
}

// order has the tombstone written under the version that the scan saw. The same
// order is given again where it is not known what became of it.
func (r *run) order(ctx context.Context, result *contract.CleanupResult) error {
	item := result.CleanupItem
	if err := r.c.cfg.fault(stepOrder, item); err != nil {
		return err
	}
	o := Order{Key: keyOf(item), ID: "purge-" + r.id, Actor: r.By, Version: item.Version, Command: &domain.Purge{
		Reason: string(item.Reason), Policy: r.plan.Policy.Name, Archive: result.Archive,
		Cancel: r.plan.Policy.PurgeIdle && item.Reason == contract.ReasonIdle,
	}}
	var err error
	for try := range orderTries {
		if try > 0 && !pause(ctx, orderPause<<try) {
			break
		}
		if result.Tombstone, err = r.c.cfg.Purge(ctx, o); !again(err) {
			break
		}
	}
	return refused(result, err)
}

// again reports whether the same order may fare better in a moment.
func again(err error) bool {
	return errors.Is(err, eventstore.ErrUnknownOutcome) || errors.Is(err, &domain.Rejection{Code: domain.CodeBusy}) ||
		errors.Is(err, &domain.Rejection{Code: domain.CodeUnknownOutcome})
}

// refused makes the outcome of a rejection that says that something has moved.
func refused(result *contract.CleanupResult, err error) error {
	var rejected *domain.Rejection
	if !errors.As(err, &rejected) {
		return err
	}
	switch rejected.Code {
	case domain.CodeVersionConflict:
		result.Outcome = contract.OutcomeChanged
	case domain.CodeHeld:
		result.Outcome = contract.OutcomeHeld
	case domain.CodeGone, domain.CodeNotFound:
		result.Outcome = contract.OutcomeGone
	case domain.CodeIllegalTransition:
		result.Outcome = contract.OutcomeProtected
	default:
		return err
	}
	result.Why = rejected.Message
	return nil
}

// finish removes the history before a tombstone.
func (r *run) finish(ctx context.Context, result *contract.CleanupResult) error {
	result.LastSeq, result.Tombstone = result.Seq-1, result.Seq
	return r.remove(result, func() error { return r.c.cfg.Sessions.FinishPurge(ctx, keyOf(result.CleanupItem)) })
}

// expire removes a tombstone.
func (r *run) expire(ctx context.Context, result *contract.CleanupResult) error {
	result.LastSeq = result.Seq
	return r.remove(result, func() error {
		a, err := r.c.current(ctx, keyOf(result.CleanupItem))
		if err != nil {
			return err
		}
		age := r.plan.Policy.Tombstones.Std()
		if gone := a.Session.Gone; gone != nil && r.c.now().Before(gone.Time.Add(age)) {
			result.Outcome, result.Why = contract.OutcomeProtected, "the tombstone is younger than "+r.plan.Policy.Tombstones.String()
			return nil
		}
		return r.c.cfg.Sessions.Expire(ctx, keyOf(result.CleanupItem), result.Seq)
	})
}

// bury removes messages that are no session's.
func (r *run) bury(ctx context.Context, result *contract.CleanupResult) error {
	item := result.CleanupItem
	headless, err := r.c.headless(ctx, keyOf(item))
	if err != nil {
		return err
	}
	if !headless {
		result.Outcome, result.Why = contract.OutcomeChanged, "there is a session now"
		return nil
	}
	result.LastSeq = item.Seq
	return r.remove(result, func() error {
		a, err := r.c.cfg.Sessions.Bury(ctx, eventstore.Burial{
			Key: keyOf(item), Last: item.Seq, ID: "purge-" + r.id, Actor: r.By, Reason: string(item.Reason), Policy: r.plan.Policy.Name,
			Time: r.c.now(), FirstTime: item.LastActivity, LastTime: item.LastActivity, Messages: item.Commits,
		})
		result.Tombstone = a.Seq
		return err
	})
}

// heal has a view written anew, or removed.
func (r *run) heal(ctx context.Context, result *contract.CleanupResult) error {
	err := r.remove(result, func() error { return r.c.cfg.Views.Heal(ctx, keyOf(result.CleanupItem)) })
	if result.Outcome == contract.OutcomePurged && result.Reason != contract.ReasonDeadView {
		result.Outcome = contract.OutcomeRepaired
	}
	return err
}

// sweep removes a trace. A queued command becomes a dead letter, so that whoever
// sent it can learn why it is not applied.
func (r *run) sweep(ctx context.Context, result *contract.CleanupResult) error {
	item := result.CleanupItem
	t := Trace{Reason: item.Reason, Key: keyOf(item), Subject: item.Subject, Seq: item.Seq, Time: item.LastActivity}
	why, err := r.c.ownerless(ctx, t)
	if err != nil {
		return err
	}
	if why == nil {
		result.Outcome, result.Why = contract.OutcomeChanged, "its session exists"
		return nil
	}
	return r.remove(result, func() error { return r.c.cfg.Traces.Remove(ctx, t, why) })
}

// remove does what removes the item, unless it is a dry run, and sets the
// outcome unless do has. What is not there any more is gone.
func (r *run) remove(result *contract.CleanupResult, do func() error) error {
	if !r.DryRun {
		if err := r.c.cfg.fault(stepCompact, result.CleanupItem); err != nil {
			return err
		}
		err := do()
		switch {
		case errors.Is(err, eventstore.ErrNotGone), errors.Is(err, eventstore.ErrConflict):
			result.Outcome, result.Why = contract.OutcomeChanged, err.Error()
			return nil
		case err != nil:
			return err
		}
	}
	if result.Outcome == "" {
		result.Outcome = contract.OutcomePurged
	}
	return nil
}

// pause waits and reports whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
