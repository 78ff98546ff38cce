package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reprise/contract"
	"reprise/domain"
)

const (
	// beatsPerLease is how often the lease is renewed within its time.
	beatsPerLease = 3
	// triesPerBeat is how often a heartbeat that got no answer is tried again
	// before the next one would have been due.
	triesPerBeat = 4
)

// beatLater has the lease renewed from when that may be due first, until the
// function it returns is called, which waits for the last heartbeat. Most
// attempts are over by then and cost a timer.
func (a *attempt) beatLater(life context.Context, cancel context.CancelCauseFunc) (still func()) {
	began := time.Now()
	over, ended := make(chan struct{}), make(chan struct{})
	timer := time.AfterFunc(min(a.w.cfg.ProgressInterval, time.Until(a.firstBeat())), func() {
		defer close(ended)
		ctx, stop := context.WithCancel(life)
		go func() {
			<-over
			stop()
		}()
		a.beat(ctx, began, cancel)
	})
	return func() {
		close(over)
		if !timer.Stop() {
			<-ended
		}
	}
}

// firstBeat is when the first heartbeat is due that progress does not hasten.
func (a *attempt) firstBeat() time.Time {
	return a.leaseEnd().Add(-a.lease * (beatsPerLease - 1) / beatsPerLease)
}

// beat renews the lease until ctx ends. It ends the handler's context when the
// attempt was taken away, or may have been.
func (a *attempt) beat(ctx context.Context, last time.Time, cancel context.CancelCauseFunc) {
	due := a.firstBeat()
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.task.news:
			if early := last.Add(a.w.cfg.ProgressInterval); early.Before(due) {
				due = early
				timer.Reset(time.Until(due))
			}
			continue
		case <-timer.C:
		}
		last = time.Now()
		next, lost := a.heartbeat(ctx)
		if lost != nil {
			cancel(lost)
			return
		}
		due = next
		timer.Reset(time.Until(due))
	}
}

// heartbeat sends one heartbeat. It returns when the next one is due, or why
// the attempt has to stop.
func (a *attempt) heartbeat(ctx context.Context) (time.Time, error) {
	end := a.leaseEnd()
	if !time.Now().Before(end) {
		return time.Time{}, fmt.Errorf("%w: no answer from the engine for %s", ErrLeaseLost, a.lease)
	}
	sent := time.Now()
	asking, stop := context.WithDeadline(ctx, earliest(end, sent.Add(a.lease/(2*beatsPerLease))))
	defer stop()
	var reply contract.Reply
	err := a.w.ask(asking, a.w.command(a.ref, a.heartbeatCommand()), &reply)
	refused, no := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		a.renewed(sent)
		a.task.setState(reply.State)
		return sent.Add(a.lease / beatsPerLease), nil
	case no && refused.final():
		cause := refused.verdict()
		a.take(cause)
		return time.Time{}, cause
	case ctx.Err() == nil:
		a.log.Warn("a heartbeat got no answer", "error", err, "lease ends in", time.Until(end).Round(time.Millisecond))
	}
	return earliest(end, time.Now().Add(a.lease/(beatsPerLease*triesPerBeat))), nil
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// heartbeatCommand carries the progress, if there is any.
func (a *attempt) heartbeatCommand() *domain.Heartbeat {
	beat := &domain.Heartbeat{Chain: a.ref.Chain, Step: a.ref.Step, Attempt: a.task.Attempt}
	progress := a.task.Snapshot()
	if progress.Line == "" && progress.Percent == 0 && progress.Output == nil {
		return beat
	}
	if raw, err := domain.Marshal(progress); err == nil {
		beat.Progress = raw
	}
	return beat
}
