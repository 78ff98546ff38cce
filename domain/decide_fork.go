package domain

import "maps"

// fork begins this session as a copy of another one.
func (x *decision) fork(cmd *Fork) *Rejection {
	s, source := x.s(), cmd.Source
	if s.Version > 0 {
		return Reject(CodeExists, s.State, "session %q exists already; choose another id for the fork", s.ID)
	}
	if source != nil && source.User == s.User && source.Gone != nil {
		return gone(source)
	}
	if source == nil || !source.Exists() || source.User != s.User {
		return Reject(CodeNotFound, StateNone, "there is no session to fork")
	}
	if r := checkReason(cmd.Reason); r != nil {
		return r
	}
	plan := forkPlan(source, cmd.Metadata)
	if r := checkMetadata("metadata", plan.Metadata); r != nil {
		return r
	}
	if r := checkCarried(VerbFork, plan.Chains...); r != nil {
		return r
	}
	x.emit(&SessionForked{Parent: Parent{Session: source.ID, Version: source.Version}, Plan: plan, Reason: cmd.Reason})
	return nil
}

// forkPlan copies the plan of a session; steps that were done keep their results.
func forkPlan(source *Session, metadata map[string]string) Session {
	plan := Session{
		KeepOpen: source.KeepOpen, OnFailure: source.OnFailure, Timeout: source.Timeout,
		Priority: source.Priority, Metadata: maps.Clone(source.Metadata),
	}
	if plan.Metadata == nil && len(metadata) > 0 {
		plan.Metadata = map[string]string{}
	}
	maps.Copy(plan.Metadata, metadata)
	for _, c := range source.Chains {
		next := &Chain{ID: c.ID, Title: c.Title, Status: ChainStatusPending, Open: c.Open, WaitsFor: c.WaitsFor}
		next.Steps = make([]*Step, 0, len(c.Steps))
		for _, st := range c.Steps {
			next.Steps = append(next.Steps, forkStep(st))
		}
		plan.Chains = append(plan.Chains, next)
	}
	return plan
}

func forkStep(st *Step) *Step {
	if st.Status.Done() {
		return st.whole()
	}
	st = st.whole()
	return &Step{
		ID: st.ID, Title: st.Title, Action: st.Action, Manual: st.Manual, WaitsFor: st.WaitsFor,
		Timeout: st.Timeout, Retry: st.Retry, Status: StepStatusPending, Input: st.Input,
	}
}
