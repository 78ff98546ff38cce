package domain

import (
	"fmt"
	"slices"
)

// attemptRef is what a worker says about the attempt it reports on.
type attemptRef struct {
	chain, step    string
	attempt        int
	worker, action string
}

// attempt rejects a report that is not of the attempt in flight.
func (x *decision) attempt(verb Verb, ref attemptRef) *Rejection {
	_, rejected := x.running(verb, ref)
	return rejected
}

func (x *decision) running(verb Verb, ref attemptRef) (*Chain, *Rejection) {
	s := x.s()
	c := s.Chain(ref.chain)
	st := s.Step(ref.chain, ref.step)
	stale := func(format string, args ...any) *Rejection {
		return Reject(CodeStaleAttempt, s.State, "cannot %s attempt %d of step %.80q in chain %.80q of session %q: %s; stop working on it",
			verb, ref.attempt, ref.step, ref.chain, s.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case st == nil:
		return nil, stale("there is no such step")
	case st.Status != StepStatusRunning:
		return nil, stale("the step is %s", st.Status)
	case st.Attempt != ref.attempt:
		return nil, stale("attempt %d is in flight", st.Attempt)
	case st.Worker != ref.worker:
		return nil, stale("another worker has it")
	case st.Action != ref.action:
		return nil, Reject(CodeNotAllowed, s.State, "step %q has action %q, not %q; report under its own action", st.ID, st.Action, ref.action)
	}
	return c, nil
}

// defaultLease is how long a worker may stay silent if nobody says otherwise.
const defaultLease = Duration(30e9)

func (x *decision) claim(cmd *Claim) *Rejection {
	c, st, rejected := x.locate(cmd.Chain, cmd.Step)
	if rejected != nil {
		return rejected
	}
	what := stepName(c, st)
	switch {
	case st.Manual:
		return refuse(x.s(), VerbClaim, what, "it is manual; step.succeed or step.fail completes it")
	case st.Action != cmd.Action:
		return Reject(CodeNotAllowed, x.s().State, "cannot claim %s: its action is %q, not %q", what, st.Action, cmd.Action)
	case st.Status == StepStatusRunning:
		return refuse(x.s(), VerbClaim, what, "attempt %d is in flight", st.Attempt)
	}
	if why := x.s().blocker(c, st, x.now()); why != "" {
		return refuse(x.s(), VerbClaim, what, "%s", why)
	}
	if r := checkDuration("lease", cmd.Lease); r != nil {
		return r
	}
	x.assign(c, st, cmd.Worker, cmd.Lease)
	return nil
}

// assign starts the next attempt of a ready step.
func (x *decision) assign(c *Chain, st *Step, worker string, lease Duration) {
	if lease == 0 {
		lease = defaultLease
	}
	x.startChain(c)
	x.emit(&StepStarted{
		Chain: c.ID, Step: st.ID, Attempt: st.Attempt + 1, Worker: worker,
		Lease: lease, Deadline: after(x.now(), st.Timeout),
	})
	x.claimed = &StepRef{c.ID, st.ID}
}

func (x *decision) succeed(cmd *Succeed) *Rejection {
	c, rejected := x.running(VerbSucceed, attemptRef{cmd.Chain, cmd.Step, cmd.Attempt, cmd.Worker, cmd.Action})
	if rejected != nil {
		return rejected
	}
	output, rejected := checkPayload("output", cmd.Output)
	if rejected != nil {
		return rejected
	}
	if r := checkDuration("lease", cmd.Lease); r != nil {
		return r
	}
	x.emit(&StepSucceeded{Chain: c.ID, Step: cmd.Step, Attempt: cmd.Attempt, Worker: cmd.Worker, Output: output})
	x.settle(nil, false)
	if cmd.ClaimNext {
		x.claimNext(cmd)
	}
	return nil
}

// claimNext gives the worker the first ready step of the chain that it may serve.
func (x *decision) claimNext(cmd *Succeed) {
	s := x.s()
	c := s.Chain(cmd.Chain)
	if s.State != StateRunning || c == nil {
		return
	}
	for _, st := range c.Steps {
		serves := st.Action == cmd.Action || slices.Contains(cmd.Actions, st.Action)
		if st.Status == StepStatusPending && !st.Manual && serves && s.blocker(c, st, x.now()) == "" {
			x.assign(c, st, cmd.Worker, cmd.Lease)
			return
		}
	}
}

func (x *decision) fail(cmd *Fail) *Rejection {
	c, rejected := x.running(VerbFail, attemptRef{cmd.Chain, cmd.Step, cmd.Attempt, cmd.Worker, cmd.Action})
	if rejected != nil {
		return rejected
	}
	if r := checkReport(cmd.Error); r != nil {
		return r
	}
	output, rejected := checkPayload("output", cmd.Output)
	if rejected != nil {
		return rejected
	}
	x.broke(c, c.Step(cmd.Step), cmd.Attempt, cmd.Error.failure(), cmd.Error.final(), output, false)
	return nil
}

func (x *decision) release(cmd *Release) *Rejection {
	c, rejected := x.running(VerbRelease, attemptRef{cmd.Chain, cmd.Step, cmd.Attempt, cmd.Worker, cmd.Action})
	if rejected != nil {
		return rejected
	}
	x.emit(&StepReleased{Chain: c.ID, Step: cmd.Step, Attempt: cmd.Attempt, Reason: "released"})
	x.settle(nil, false)
	return nil
}

// timeoutStep ends an attempt past its deadline or lease, or fails a manual
// step that nobody completed in time.
func (x *decision) timeoutStep(cmd *TimeoutStep) *Rejection {
	c, st, rejected := x.locate(cmd.Chain, cmd.Step)
	if rejected != nil {
		return rejected
	}
	late := !st.Deadline.IsZero() && !x.now().Before(st.Deadline)
	waiting := cmd.Attempt == 0 && st.Manual && st.Status == StepStatusPending && x.s().State == StateRunning
	running := st.Status == StepStatusRunning && st.Attempt == cmd.Attempt
	if !waiting && !running {
		return Reject(CodeStaleAttempt, x.s().State, "attempt %d of %s is over", cmd.Attempt, stepName(c, st))
	}
	if !late && (!cmd.Lease || waiting) {
		return refuse(x.s(), VerbStepTimeout, stepName(c, st), "its deadline has not passed")
	}
	f := Failure{Code: "timeout", Message: "the step ran past its timeout of " + st.Timeout.String()}
	if !late {
		f = Failure{Code: "lease_expired", Message: fmt.Sprintf("worker %q was silent for longer than its lease of %s", st.Worker, st.Lease)}
	}
	attempt := cmd.Attempt
	if waiting {
		attempt = st.Attempt + 1
		f.Message = "nobody completed the step within its timeout of " + st.Timeout.String()
		x.startChain(c)
	}
	output, rejected := checkPayload("output", cmd.Output)
	if rejected != nil {
		output = nil // a timeout may not hang on what a worker put out
	}
	x.broke(c, st, attempt, f, false, output, true)
	return nil
}
