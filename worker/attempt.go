package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
)

// attempt is one attempt of one step, from its claim to its result.
type attempt struct {
	w     *Worker
	h     *handler
	ref   contract.TaskRef
	task  *Task
	lease time.Duration
	// msg is the task it was offered with; nil if it came with a result.
	msg *nats.Msg
	log *slog.Logger

	mu sync.Mutex
	// held is since when the lease counts at the latest known.
	held time.Time
	// taken is set once the engine said that the attempt is over.
	taken error
}

func newAttempt(w *Worker, h *handler, ref contract.TaskRef, c claimed, msg *nats.Msg) *attempt {
	log := w.log
	if log.Enabled(context.Background(), slog.LevelError) { // else nobody reads what would be written
		log = log.With("action", ref.Action, "session", ref.Session, "chain", ref.Chain, "step", ref.Step, "attempt", c.Attempt)
	}
	return &attempt{
		w: w, h: h, ref: ref, task: NewTask(ref.User, ref.Session, *c.Assignment), msg: msg, held: c.since,
		lease: orDefault(orDefault(c.Lease.Std(), h.lease), fallbackLease), log: log,
	}
}

// outcome is what a handler came to.
type outcome struct {
	value any
	err   error
}

// run executes the attempt and reports it. The result may bring the chain's
// next step along.
func (a *attempt) run(s shift) claimed {
	name := a.task.IdempotencyKey
	a.w.began(name)
	defer a.w.ended(name)
	began := time.Now()
	a.log.Info("step started")
	ctx, cancel := context.WithCancelCause(s.work)
	defer cancel(nil)
	if s.closed() {
		cancel(ErrDraining) // it came with the last result, or its claim took long
	}
	if !a.task.Deadline.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadlineCause(ctx, a.task.Deadline, ErrDeadline)
		defer stop()
	}
	still := a.beatLater(s.life, cancel)
	out := a.call(ctx)
	next := a.report(ctx, s, out, time.Since(began))
	still()
	return next
}

// call runs the handler in a goroutine of its own, so that whatever it does to
// that, the attempt has an outcome.
func (a *attempt) call(ctx context.Context) outcome {
	if ctx.Err() != nil {
		return outcome{err: context.Cause(ctx)}
	}
	done := make(chan outcome, 1)
	go func() {
		out := outcome{err: &Error{Code: "no_result", Message: "the handler ended its goroutine without a result"}}
		defer func() {
			if p := recover(); p != nil {
				out = outcome{err: panicked(p)}
			}
			done <- out
		}()
		value, err := a.h.fn(ctx, a.task)
		out = outcome{value, err}
	}()
	select {
	case out := <-done:
		return out
	case <-ctx.Done():
		a.log.Info("the handler is told to stop", "reason", context.Cause(ctx))
	}
	return <-done
}

// panicked makes the error of a panic, with its stack.
func panicked(p any) *Error {
	e := &Error{Code: "panic", Message: fmt.Sprintf("panic: %v", p), Stack: string(debug.Stack())}
	if err, ok := p.(error); ok {
		e.Err = err
	}
	return e
}

// leaseEnd is when the lease may be over.
func (a *attempt) leaseEnd() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held.Add(a.lease)
}

func (a *attempt) renewed(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = at
}

func (a *attempt) take(cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = cause
}

// takenAway returns why the attempt is over, if the engine said so.
func (a *attempt) takenAway() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken
}

// givenUp reports whether the worker itself ended the handler's context, while
// the attempt may still be its own.
func givenUp(cause error) bool {
	return errors.Is(cause, ErrDraining) || errors.Is(cause, ErrLeaseLost)
}
