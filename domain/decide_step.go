package domain

import (
	"encoding/json"
	"fmt"
)

func stepName(c *Chain, st *Step) string { return fmt.Sprintf("step %q in chain %q", st.ID, c.ID) }

// locate returns a step and its chain, or rejects with not found.
func (x *decision) locate(chain, step string) (*Chain, *Step, *Rejection) {
	c, rejected := x.find(chain)
	if rejected != nil {
		return nil, nil, rejected
	}
	if step == "" {
		return nil, nil, Invalid("step", "which step? name its id")
	}
	st := c.Step(step)
	if st == nil {
		return nil, nil, Reject(CodeNotFound, x.s().State, "chain %q of session %q has no step %.80q", c.ID, x.s().ID, step)
	}
	return c, st, nil
}

func (x *decision) addStep(cmd *AddStep) *Rejection {
	s := x.s()
	c, rejected := x.find(cmd.Chain)
	if rejected != nil {
		return rejected
	}
	what := fmt.Sprintf("a step to chain %q", c.ID)
	if !c.Open {
		return refuse(s, VerbStepAdd, what, "the chain is closed; add a chain instead")
	}
	if c.Status == ChainStatusFailed {
		return refuse(s, VerbStepAdd, what, "the chain is FAILED; retry or skip its failed step first")
	}
	def := cmd.Step
	if def.ID == "" {
		def.ID = derivedID("s", x.env.CommandID)
	}
	if c.Step(def.ID) != nil {
		return Reject(CodeExists, s.State, "chain %q has a step %q already; choose another id", c.ID, def.ID)
	}
	known := make(map[string]bool, len(c.Steps))
	previous := ""
	for _, st := range c.Steps {
		known[st.ID], previous = true, st.ID
	}
	def, rejected = normaliseStep("step", def, previous)
	if rejected != nil {
		return rejected
	}
	if r := checkWaits("step.waitsFor", "step", def.ID, *def.WaitsFor, known); r != nil {
		return r
	}
	if r := s.room(1, planBytes(ChainDef{Steps: []StepDef{def}})); r != nil {
		return r
	}
	x.emit(&StepAdded{Chain: c.ID, Step: def})
	return nil
}

func (x *decision) retryStep(cmd *RetryStep) *Rejection {
	c, st, rejected := x.locate(cmd.Chain, cmd.Step)
	if rejected != nil {
		return rejected
	}
	if !st.Status.Broken() {
		return refuse(x.s(), VerbStepRetry, stepName(c, st), "it is %s; retry needs FAILED or TIMEOUT", st.Status)
	}
	input, rejected := checkPayload("input", cmd.Input)
	if rejected != nil {
		return rejected
	}
	if r := checkReason(cmd.Reason); r != nil {
		return r
	}
	x.emit(&StepRetried{Chain: c.ID, Step: st.ID, Input: input, Reason: cmd.Reason})
	if c.Status == ChainStatusFailed {
		x.emit(&ChainStarted{Chain: c.ID})
	}
	if x.s().State == StateFailed {
		x.emit(&SessionResumed{From: StateFailed})
	}
	x.settle(nil, false)
	return nil
}

func (x *decision) skipStep(cmd *SkipStep) *Rejection {
	c, st, rejected := x.locate(cmd.Chain, cmd.Step)
	if rejected != nil {
		return rejected
	}
	switch {
	case st.Status == StepStatusSkipped:
		return Reject(CodeAlready, x.s().State, "%s of session %q is already SKIPPED", stepName(c, st), x.s().ID)
	case st.Status != StepStatusPending && !st.Status.Broken():
		return refuse(x.s(), VerbStepSkip, stepName(c, st), "it is %s; skip needs PENDING, FAILED or TIMEOUT", st.Status)
	}
	output, rejected := checkPayload("output", cmd.Output)
	if rejected != nil {
		return rejected
	}
	if r := checkReason(cmd.Reason); r != nil {
		return r
	}
	x.emit(&StepSkipped{Chain: c.ID, Step: st.ID, Output: output, Reason: cmd.Reason})
	x.settle(nil, true)
	return nil
}

// manual returns a manual step that is ready, with its chain started.
func (x *decision) manual(verb Verb, chain, step string) (*Chain, *Step, *Rejection) {
	c, st, rejected := x.locate(chain, step)
	if rejected != nil {
		return nil, nil, rejected
	}
	if !st.Manual {
		return nil, nil, refuse(x.s(), verb, stepName(c, st), "it is not manual; its worker reports the result")
	}
	if why := x.s().blocker(c, st, x.s().clock(x.now())); why != "" {
		return nil, nil, refuse(x.s(), verb, stepName(c, st), "%s; %s needs a manual step that is ready", why, verb)
	}
	return c, st, nil
}

func (x *decision) succeedManual(cmd *SucceedManual) *Rejection {
	c, st, rejected := x.manual(VerbStepSucceed, cmd.Chain, cmd.Step)
	if rejected != nil {
		return rejected
	}
	output, rejected := checkPayload("output", cmd.Output)
	if rejected != nil {
		return rejected
	}
	x.startChain(c)
	x.emit(&StepSucceeded{Chain: c.ID, Step: st.ID, Attempt: st.Attempt + 1, Worker: "", Output: output})
	x.settle(nil, false)
	return nil
}

func (x *decision) failManual(cmd *FailManual) *Rejection {
	c, st, rejected := x.manual(VerbStepFail, cmd.Chain, cmd.Step)
	if rejected != nil {
		return rejected
	}
	if r := checkReport(cmd.Error); r != nil {
		return r
	}
	x.startChain(c)
	x.broke(c, st, st.Attempt+1, cmd.Error.failure(), cmd.Error.final(), nil, false)
	return nil
}

// startChain moves a PENDING chain to RUNNING.
func (x *decision) startChain(c *Chain) {
	if c.Status == ChainStatusPending {
		x.emit(&ChainStarted{Chain: c.ID})
	}
}

// broke ends an attempt without success: another try if the policy has one
// left, else the failure goes up.
func (x *decision) broke(c *Chain, st *Step, attempt int, f Failure, final bool, output json.RawMessage, timedOut bool) {
	f.Chain, f.Step, f.Attempt, f.Worker, f.Time = c.ID, st.ID, attempt, st.Worker, x.now()
	e := StepFailed{Chain: c.ID, Step: st.ID, Attempt: attempt, Worker: st.Worker, Failure: f, Output: output}
	if !final && st.triesLeft() {
		e.WillRetry, e.Backoff = true, st.Retry.delay(st.Tries+1, x.env.Jitter)
	}
	if timedOut {
		x.emit((*StepTimedOut)(&e))
	} else {
		x.emit(&e)
	}
	if e.WillRetry {
		x.settle(nil, false)
		return
	}
	if x.s().Chain(c.ID).Status != ChainStatusFailed {
		x.emit(&ChainFailed{Chain: c.ID, Step: st.ID})
	}
	x.settle(x.s().Step(c.ID, st.ID).Error, false)
}
