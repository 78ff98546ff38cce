package engine

import (
	"context"
	"slices"
	"strconv"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// assignment is what a worker gets with the step it claimed: the input and the
// outputs of what the step waited for, whole.
func (c *commander) assignment(ctx context.Context, a eventstore.Aggregate, ref domain.StepRef, now time.Time) (*contract.Assignment, error) {
	whole, chain := a.Session, a.Session.Chain(ref.Chain)
	if refers(chain, ref.Step) {
		var err error
		if whole, err = c.store.Hydrate(ctx, only(a, chain, ref.Step)); err != nil {
			return nil, err
		}
	}
	st := whole.Step(ref.Chain, ref.Step)
	task := &contract.Assignment{
		Chain: ref.Chain, Step: ref.Step, Action: st.Action, Attempt: st.Attempt, Input: st.Input,
		IdempotencyKey: a.Key.Session + "/" + ref.Chain + "/" + ref.Step + "/" + strconv.Itoa(st.Attempt),
		Lease:          st.Lease, Deadline: st.Deadline,
	}
	if !st.Deadline.IsZero() {
		task.Timeout = domain.Duration(max(st.Deadline.Sub(now), 0))
	}
	for _, id := range st.WaitsFor {
		before := whole.Step(ref.Chain, id)
		if task.Outputs == nil {
			task.Outputs = make(map[string]contract.StepOutput, len(st.WaitsFor))
		}
		task.Outputs[id] = contract.StepOutput{Output: before.Output, Skipped: before.Status == domain.StepStatusSkipped}
	}
	return task, nil
}

// refers reports whether the state only refers to the input of a step, or to an
// output of what it waited for.
func refers(chain *domain.Chain, step string) bool {
	st := chain.Step(step)
	return st.InputRef != nil || slices.ContainsFunc(st.WaitsFor, func(id string) bool { return chain.Step(id).OutputRef != nil })
}

// only returns the aggregate with nothing but a step and what it waits for, so
// that no other payloads are read.
func only(a eventstore.Aggregate, chain *domain.Chain, step string) eventstore.Aggregate {
	st := chain.Step(step)
	part := *chain
	part.Steps = []*domain.Step{st}
	for _, id := range st.WaitsFor {
		part.Steps = append(part.Steps, chain.Step(id))
	}
	s := *a.Session
	s.Chains, s.Error = []*domain.Chain{&part}, nil
	a.Session = &s
	return a
}

// claimedBefore is the step that a worker got by an earlier command, nil if
// that gave none.
func (c *commander) claimedBefore(ctx context.Context, a eventstore.Aggregate, first *eventstore.Committed) (*contract.Assignment, error) {
	var started *domain.StepStarted
	for _, e := range first.Commit.Events {
		if s, ok := e.(*domain.StepStarted); ok {
			started = s
		}
	}
	if started == nil {
		return nil, nil //nolint:nilnil // it gave none
	}
	if st := a.Session.Step(started.Chain, started.Step); st == nil || st.Attempt != started.Attempt || st.Status != domain.StepStatusRunning {
		then, err := c.store.At(ctx, a.Key, eventstore.Cut{Version: first.Commit.LastVersion()})
		if err != nil {
			return nil, err
		}
		a = then
	}
	return c.assignment(ctx, a, domain.StepRef{Chain: started.Chain, Step: started.Step}, c.now(a.Session))
}
