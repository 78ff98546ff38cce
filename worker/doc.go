// Package worker executes steps: it pulls tasks, claims steps, runs a handler
// for each, keeps the lease alive and reports what came of it.
//
// A worker is a few lines:
//
//	w, err := worker.New(nc, worker.Config{})
//	if err != nil {
//		return err
//	}
//	w.Handle("build", func(ctx context.Context, t *worker.Task) (any, error) {
//		var in struct{ Target string }
//		if err := t.Decode(&in); err != nil {
//			return nil, err
//		}
//		t.Progress("building " + in.Target)
//		return build(ctx, in.Target, t.IdempotencyKey)
//	})
//	return w.Run(ctx)
//
// What a handler returns becomes the step's output; an error fails the attempt,
// and the step's retry policy says whether there is another one. Permanent and
// Error say more about a failure. A panic is a failure with its stack.
//
// # The context
//
// The context of a handler ends when the attempt is no longer this worker's.
// context.Cause tells why: ErrCancelled, ErrInterrupted, ErrLeaseLost,
// ErrDeadline, ErrDraining or ErrAbandoned. Nothing is reported for an attempt
// that was taken away, so a handler that notices late does no harm to the
// session. A handler that does not look at its context at all keeps its slot.
//
// # Once
//
// Steps are offered at least once and claimed once at a time. A claim and a
// result each have one command id, with which they are sent until they are
// answered, so a lost answer doubles nothing. An attempt may still end halfway
// when a process dies; a handler that must not repeat an effect passes
// Task.IdempotencyKey on to whatever has the effect.
//
//	worker.go    Config, New, Handle, Run: start, drain, stop
//	pull.go      tasks from the durable consumer of an action
//	slots.go     how many attempts run at once
//	claim.go     a task becomes an attempt, or goes back
//	attempt.go   the handler, its context and its result
//	heartbeat.go the lease
//	report.go    succeed, fail, release
//	send.go      requests that are repeated with one command id
//	task.go      what a handler sees
package worker
