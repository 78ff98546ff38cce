package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// What a worker may say about a task, from the server's protocol of
// acknowledgements.
const (
	ackDone     = "+ACK"
	ackNot      = "-NAK"
	ackProgress = "+WPI"
	ackNever    = "+TERM"
)

const (
	// ackTries is how often an acknowledgement is sent until the server confirms.
	ackTries = 3
	// nakDelay is the pause before a task is offered again, where the engine
	// gave no hint.
	nakDelay = time.Second
	// firstPass and maxPass bound the pause before a task that Config.Accept
	// refused is offered again: short at first, since somebody else may wait for
	// it; long for one that nobody takes.
	firstPass, maxPass = 20 * time.Millisecond, 2 * time.Second
)

// dispatch finds a slot for a task and starts on it, or gives it back.
func (w *Worker) dispatch(ctx context.Context, s shift, h *handler, msg *nats.Msg) {
	ref, ok := w.cfg.Names.ParseWork(msg.Subject)
	if !ok || ref.Action != h.action {
		w.log.Warn("this is no task of the action; it is dropped", "action", h.action, "subject", msg.Subject)
		w.ack(msg, ackNever)
		return
	}
	if w.cfg.Accept != nil && !w.cfg.Accept(ref) {
		w.nak(msg, passDelay(msg))
		return
	}
	if ctx.Err() != nil || !h.limit.take(ctx, holdTask) {
		w.nak(msg, 0)
		return
	}
	if !w.slots.take(ctx, holdTask) {
		h.limit.free()
		w.nak(msg, 0)
		return
	}
	w.running.Go(func() { //nolint:contextcheck // an attempt outlives the pulling; the shift bounds it
		defer w.slots.free()
		w.accept(s, h, ref, msg)
	})
}

// passDelay doubles with every delivery of the task.
func passDelay(msg *nats.Msg) time.Duration {
	meta, err := msg.Metadata()
	if err != nil || meta.NumDelivered == 0 {
		return maxPass
	}
	return min(firstPass<<min(meta.NumDelivered-1, 16), maxPass)
}

// accept claims the step of a task, and follows its chain from there. It gives
// the handler's own slot back.
func (w *Worker) accept(s shift, h *handler, ref contract.TaskRef, msg *nats.Msg) {
	claimed, err := w.claim(s, h, ref, msg)
	switch {
	case err == nil:
		w.ack(msg, ackDone)
		w.follow(s, h, ref, claimed, msg)
		return
	case isFinal(err):
		w.log.Debug("the step is not to be had", "action", ref.Action, "session", ref.Session, "chain", ref.Chain, "step", ref.Step, "reason", err)
		w.ack(msg, ackDone)
	default:
		w.log.Warn("no claim for now", "action", ref.Action, "session", ref.Session, "chain", ref.Chain, "step", ref.Step, "error", err)
		w.nak(msg, max(retryAfter(err), nakDelay))
	}
	h.limit.free()
}

// claimed is an attempt that this worker got.
type claimed struct {
	*contract.Assignment

	// since is when the lease began at the earliest, on this clock.
	since time.Time
}

// claim asks for the step. Once it is not known whether the engine gave it, it
// asks on with the same id for as long as the attempt might live.
func (w *Worker) claim(s shift, h *handler, ref contract.TaskRef, msg *nats.Msg) (claimed, error) {
	since := time.Now()
	r := w.command(ref, &domain.Claim{Chain: ref.Chain, Step: ref.Step, Lease: domain.Duration(h.lease)})
	p := patience{
		until: since.Add(orDefault(h.lease, fallbackLease)), yield: true,
		again: func() { w.ack(msg, ackProgress) },
	}
	var reply contract.Reply
	if err := w.persist(s.life, r, p, &reply); err != nil {
		return claimed{}, err
	}
	if reply.Claimed == nil {
		return claimed{}, errors.New("the engine accepted the claim without an assignment")
	}
	return claimed{reply.Claimed, since}, nil
}

// confirm waits until the server says that a task is gone, which was acknowledged
// when it was claimed. An attempt whose step may be offered again does not end
// before: while the old task still lies there, the new one would be lost.
func (w *Worker) confirm(ctx context.Context, msg *nats.Msg) {
	for range ackTries {
		asking, cancel := context.WithTimeout(ctx, w.cfg.RequestTimeout)
		_, err := w.nc.RequestWithContext(asking, msg.Reply, []byte(ackDone))
		cancel()
		if err == nil || ctx.Err() != nil {
			return
		}
		w.log.Warn("the server did not confirm an acknowledgement", "subject", msg.Subject, "error", err)
	}
}

func (w *Worker) ack(msg *nats.Msg, what string) {
	if err := w.nc.Publish(msg.Reply, []byte(what)); err != nil {
		w.log.Warn("a task could not be acknowledged", "subject", msg.Subject, "error", err)
	}
}

// nak gives a task back; it is offered again after the delay.
func (w *Worker) nak(msg *nats.Msg, delay time.Duration) {
	if delay <= 0 {
		w.ack(msg, ackNot)
		return
	}
	hint, err := json.Marshal(struct {
		Delay time.Duration `json:"delay"` // in nanoseconds
	}{delay})
	if err != nil {
		panic(fmt.Sprintf("worker: a delay has no JSON: %v", err))
	}
	w.ack(msg, ackNot+" "+string(hint))
}

// follow runs the attempt of a task, and the next ones of the chain for as long as
// a result brings one along.
func (w *Worker) follow(s shift, h *handler, ref contract.TaskRef, c claimed, msg *nats.Msg) {
	slot := h.limit
	defer func() { slot.free() }()
	for ; ; msg = nil {
		a := newAttempt(w, h, ref, c, msg)
		next := a.run(s)
		if next.Assignment == nil {
			return
		}
		ref.Action, ref.Chain, ref.Step, c = next.Action, next.Chain, next.Step, next
		if h = w.handlers[next.Action]; h.limit == nil {
			slot.free()
			slot = nil
		}
	}
}

// others lists the actions that may follow in the slot of h: those without a
// bound of their own.
func (w *Worker) others(h *handler) []string {
	var actions []string
	for _, action := range w.Actions() {
		if action != h.action && w.handlers[action].limit == nil {
			actions = append(actions, action)
		}
	}
	return actions
}
