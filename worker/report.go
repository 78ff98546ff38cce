package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// report tells the engine what came of the attempt, if it is still its business.
func (a *attempt) report(ctx context.Context, s shift, out outcome, took time.Duration) claimed {
	cause := context.Cause(ctx)
	took = took.Round(time.Millisecond)
	switch {
	case a.takenAway() != nil:
		a.log.Info("step given up", "took", took, "reason", a.takenAway())
	case s.life.Err() != nil:
		a.log.Info("step abandoned", "took", took)
	case out.err == nil:
		return a.succeed(s, out.value, took)
	case errors.Is(cause, ErrDeadline):
		a.log.Warn("step ran past its timeout", "took", took, "error", out.err)
	case givenUp(cause):
		a.log.Info("step given back", "took", took, "reason", cause)
		a.clear(s)
		_, _ = a.send(s, &domain.Release{Chain: a.ref.Chain, Step: a.ref.Step, Attempt: a.task.Attempt})
	default:
		a.log.Warn("step failed", "took", took, "error", out.err)
		a.fail(s, out.err)
	}
	return claimed{}
}

// succeed reports the output, and asks for the chain's next step with it.
func (a *attempt) succeed(s shift, value any, took time.Duration) claimed {
	output, err := encode(value)
	if err != nil {
		a.log.Warn("step failed", "error", err)
		a.fail(s, err)
		return claimed{}
	}
	sent := time.Now()
	reply, err := a.send(s, &domain.Succeed{
		Chain: a.ref.Chain, Step: a.ref.Step, Attempt: a.task.Attempt, Output: output,
		ClaimNext: !s.closed(), Actions: a.w.others(a.h), Lease: domain.Duration(a.h.lease),
	})
	refused, no := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		a.log.Info("step succeeded", "took", took)
		return a.next(reply, sent)
	case no && refused.code == domain.CodeInvalid:
		a.fail(s, &Error{Code: "result_refused", Message: "the engine does not take the output: " + refused.text, Permanent: true})
	}
	return claimed{}
}

// next is the step that came with a result, if this worker can run it.
func (a *attempt) next(reply contract.Reply, sent time.Time) claimed {
	c := reply.Claimed
	if c == nil {
		return claimed{}
	}
	if a.w.handlers[c.Action] == nil {
		a.log.Error("the engine gave a step whose action is not served here; its lease will end", "next action", c.Action)
		return claimed{}
	}
	return claimed{c, sent}
}

// clear makes sure that nothing is in the way when the step is offered again. A
// step that has succeeded is not.
func (a *attempt) clear(s shift) {
	if a.msg != nil {
		a.w.confirm(s.life, a.msg)
	}
}

// fail reports an error.
func (a *attempt) fail(s shift, err error) {
	a.clear(s)
	cmd := &domain.Fail{Chain: a.ref.Chain, Step: a.ref.Step, Attempt: a.task.Attempt, Error: reportOf(err)}
	if e, ok := errors.AsType[*Error](err); ok {
		output, wrong := encode(e.Output)
		if wrong != nil {
			a.log.Warn("the output of the failure is left out", "reason", wrong)
		}
		cmd.Output = output
	}
	_, _ = a.send(s, cmd) // it logs what went wrong, and nothing is left to do
}

// send sends a result until it is answered: for the lease of the attempt, and
// one more that an engine gives when it comes back. The same id makes sure that
// a lost answer doubles nothing.
func (a *attempt) send(s shift, c domain.Command) (contract.Reply, error) {
	var reply contract.Reply
	err := a.w.persist(s.life, a.w.command(a.ref, c), patience{until: time.Now().Add(2 * a.lease)}, &reply)
	if err != nil {
		a.log.Error("the result was not taken", "verb", c.Verb(), "error", err)
	}
	return reply, err
}

// encode writes an output as JSON within the bound of the engine.
func encode(value any) (raw json.RawMessage, err error) {
	if value == nil {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil { // in a MarshalJSON of the handler's types
			raw, err = nil, panicked(p)
		}
	}()
	raw, err = domain.Marshal(value)
	if err != nil {
		return nil, &Error{Code: "bad_output", Message: "the output is not JSON: " + err.Error(), Permanent: true, Err: err}
	}
	if len(raw) > domain.MaxPayloadBytes {
		return nil, &Error{Code: "output_too_large", Permanent: true, Message: fmt.Sprintf(
			"the output has %d bytes; the most there may be is %d; store it elsewhere and return where", len(raw), domain.MaxPayloadBytes)}
	}
	return raw, nil
}
