package domain

import (
	"fmt"
	"slices"
	"time"
)

func (x *decision) addChain(c *AddChain) *Rejection {
	s := x.s()
	def := c.ChainDef
	if def.ID == "" {
		def.ID = derivedID("c", x.env.CommandID)
	}
	if s.Chain(def.ID) != nil {
		return Reject(CodeExists, s.State, "session %q has a chain %q already; choose another id", s.ID, def.ID)
	}
	position := len(s.Chains)
	if c.Position != nil {
		position = *c.Position
	}
	if position < 0 || position > len(s.Chains) {
		return Invalid("position", "%d is outside 0 to %d", position, len(s.Chains))
	}
	if len(s.Chains) >= MaxChains {
		return Invalid("chains", "session %q has %d chains, the most there may be", s.ID, MaxChains)
	}
	known := make(map[string]bool, len(s.Chains))
	for _, other := range s.Chains {
		known[other.ID] = true
	}
	def, rejected := normaliseChain("", def, known)
	if rejected != nil {
		return rejected
	}
	if r := s.room(len(def.Steps), planBytes(def)); r != nil {
		return r
	}
	x.emit(&ChainAdded{Chain: def, Position: position})
	return nil
}

// room rejects what would take the plan over its bounds.
func (s *Session) room(steps, bytes int) *Rejection {
	if n := s.StepCount() + steps; n > MaxSteps {
		return Invalid("steps", "the session would have %d steps; the most there may be is %d", n, MaxSteps)
	}
	total := bytes
	for _, c := range s.Chains {
		total += planBytes(c.plan())
	}
	if total > MaxPlanBytes {
		return Invalid("steps", "the plan would have %d bytes without inputs; the most there may be is %d", total, MaxPlanBytes)
	}
	return nil
}

// plan returns the definition of a chain without inputs.
func (c *Chain) plan() ChainDef {
	def := ChainDef{ID: c.ID, Title: c.Title, Open: c.Open, WaitsFor: c.WaitsFor, Steps: make([]StepDef, len(c.Steps))}
	for i, st := range c.Steps {
		def.Steps[i] = StepDef{
			ID: st.ID, Title: st.Title, Action: st.Action, Manual: st.Manual,
			WaitsFor: &st.WaitsFor, Timeout: st.Timeout, Retry: st.Retry,
		}
	}
	return def
}

// find returns a chain, or rejects with not found.
func (x *decision) find(id string) (*Chain, *Rejection) {
	if id == "" {
		return nil, Invalid("chain", "which chain? name its id")
	}
	if c := x.s().Chain(id); c != nil {
		return c, nil
	}
	return nil, Reject(CodeNotFound, x.s().State, "session %q has no chain %.80q", x.s().ID, id)
}

func (x *decision) closeChain(cmd *CloseChain) *Rejection {
	c, rejected := x.find(cmd.Chain)
	if rejected != nil {
		return rejected
	}
	if !c.Open {
		return Reject(CodeAlready, x.s().State, "chain %q of session %q is already closed", c.ID, x.s().ID)
	}
	x.emit(&ChainClosed{Chain: c.ID})
	x.settle(nil, false)
	return nil
}

func (x *decision) removeChain(cmd *RemoveChain) *Rejection {
	c, rejected := x.find(cmd.Chain)
	if rejected != nil {
		return rejected
	}
	what := fmt.Sprintf("chain %q", c.ID)
	if r := x.detachable(VerbChainRemove, c, what); r != nil {
		return r
	}
	if r := checkReason(cmd.Reason); r != nil {
		return r
	}
	x.emit(&ChainRemoved{Chain: c.ID, Reason: cmd.Reason})
	x.settle(nil, true)
	return nil
}

// detachable rejects taking away a chain that runs, that others wait for, or
// that is the last one of a started session.
func (x *decision) detachable(verb Verb, c *Chain, what string) *Rejection {
	s := x.s()
	if n := c.Running(); n > 0 {
		return refuse(s, verb, what, "steps of it are RUNNING (%d); wait for them, or pause with mode interrupt", n)
	}
	for _, other := range s.Chains {
		if slices.Contains(other.WaitsFor, c.ID) {
			return refuse(s, verb, what, "chain %q waits for it; remove that one first", other.ID)
		}
	}
	if s.State != StatePending && !s.KeepOpen && len(s.Chains) == 1 {
		return refuse(s, verb, what, "it is the last chain of a started session; delete the session instead")
	}
	return nil
}

// moveChain gives a chain another position within its session.
func (x *decision) moveChain(cmd *MoveChain) *Rejection {
	s := x.s()
	c, rejected := x.find(cmd.Chain)
	if rejected != nil {
		return rejected
	}
	if cmd.To != "" && cmd.To != s.ID {
		return Invalid("to", "a move to another session can't be part of a batch")
	}
	if cmd.Position == nil {
		return Invalid("position", "where to? give a position from 0 to %d, or a session to move to", len(s.Chains)-1)
	}
	position := *cmd.Position
	if position < 0 || position >= len(s.Chains) {
		return Invalid("position", "%d is outside 0 to %d", position, len(s.Chains)-1)
	}
	if s.Chains[position] == c {
		return Reject(CodeAlready, s.State, "chain %q is already at position %d", c.ID, position)
	}
	x.emit(&ChainMoved{Chain: c.ID, Position: position})
	return nil
}

// DecideMove decides to move a chain from src to dst, two sessions of the same
// user. Both decisions are to be appended in one atomic step. Payloads of the
// chain in src have to be filled in.
func DecideMove(src, dst *Session, c *MoveChain, env Env) (out, in Decision, err error) {
	from, to := newDecision(src, env), newDecision(dst, env)
	if from.env.Now.Before(to.env.Now) {
		from.env.Now = to.env.Now
	}
	to.env.Now = from.env.Now
	if r := moveBetween(from, to, c); r != nil {
		return Decision{}, Decision{}, r
	}
	return from.done(), to.done(), nil
}

func moveBetween(from, to *decision, cmd *MoveChain) *Rejection {
	src, dst := from.s(), to.s()
	if src.User != dst.User {
		return Reject(CodeNotFound, StateNone, "there is no session %q", dst.ID)
	}
	for _, s := range []*Session{src, dst} {
		if s.Gone != nil {
			return gone(s)
		}
		if !s.Exists() {
			return Reject(CodeNotFound, StateNone, "there is no session %q", s.ID)
		}
		if !Accepts(VerbChainAdd, s.State) {
			return illegal(s, VerbChainMove, "a move to another session needs %s on both sides%s", orStates(open), advice(VerbChainMove, s.State))
		}
	}
	c, rejected := from.find(cmd.Chain)
	if rejected != nil {
		return rejected
	}
	what := fmt.Sprintf("chain %q", c.ID)
	if r := from.detachable(VerbChainMove, c, what); r != nil {
		return r
	}
	if len(c.WaitsFor) > 0 {
		return refuse(src, VerbChainMove, what, "it waits for %s, which would stay behind", nameAll("chain", c.WaitsFor))
	}
	if st := c.firstBroken(); st != nil {
		return refuse(src, VerbChainMove, what, "step %q is %s; retry or skip it first", st.ID, st.Status)
	}
	position, rejected := dst.landing(c, cmd.Position)
	if rejected != nil {
		return rejected
	}
	moved := c.unhook(src.clock(from.now()), dst.clock(to.now()))
	if dst.State == StatePending || moved.Status == ChainStatusCompleted {
		moved.Status = ChainStatusPending
	}
	if r := checkCarried(VerbChainMove, moved); r != nil {
		return r
	}
	from.emit(&ChainMovedOut{Chain: c.ID, To: dst.ID})
	from.settle(nil, true)
	to.emit(&ChainMovedIn{Chain: *moved, Position: position, From: src.ID})
	to.settle(nil, false)
	return nil
}

// unhook copies a chain for another session: payloads whole, backoffs counted
// by the other session's clock, manual steps without a deadline yet.
func (c *Chain) unhook(here, there time.Time) *Chain {
	next := *c
	next.Steps = make([]*Step, len(c.Steps))
	for i, st := range c.Steps {
		step := st.whole()
		step.ReadyAt, step.Deadline = time.Time{}, time.Time{}
		if left := step.NotBefore.Sub(here); left > 0 {
			step.NotBefore = there.Add(left)
		}
		next.Steps[i] = step
	}
	return &next
}

// whole copies a step without references; whoever decides a fork or a move has
// filled in what they refer to.
func (st *Step) whole() *Step {
	next := *st
	missing := next.InputRef != nil && next.Input == nil || next.OutputRef != nil && next.Output == nil
	if next.Error != nil && next.Error.StackRef != nil {
		missing = missing || next.Error.Stack == ""
		failure := *next.Error
		failure.StackRef = nil
		next.Error = &failure
	}
	if missing {
		panic(fmt.Sprintf("domain: the payloads of step %q were not filled in", st.ID))
	}
	next.InputRef, next.OutputRef = nil, nil
	return &next
}

// checkCarried rejects a fork or move whose payloads don't fit one message.
func checkCarried(verb Verb, chains ...*Chain) *Rejection {
	inputs, outputs, stacks := 0, 0, 0
	for _, c := range chains {
		for _, st := range c.Steps {
			inputs += len(st.Input)
			outputs += len(st.Output)
			if st.Error != nil {
				stacks += len(st.Error.Message) + len(st.Error.Stack)
			}
		}
	}
	if total := inputs + outputs + stacks; total > MaxCarriedBytes {
		return Invalid("chain", "%s would copy %d bytes (inputs %d, outputs %d, errors %d); the most there may be is %d",
			verb, total, inputs, outputs, stacks, MaxCarriedBytes)
	}
	return nil
}

// landing checks that a chain fits into a session and where it goes.
func (s *Session) landing(c *Chain, wanted *int) (int, *Rejection) {
	position := len(s.Chains)
	if wanted != nil {
		position = *wanted
	}
	switch {
	case position < 0 || position > len(s.Chains):
		return 0, Invalid("position", "%d is outside 0 to %d", position, len(s.Chains))
	case s.Chain(c.ID) != nil:
		return 0, Reject(CodeExists, s.State, "session %q has a chain %q already", s.ID, c.ID)
	case len(s.Chains) >= MaxChains:
		return 0, Invalid("to", "session %q has %d chains, the most there may be", s.ID, MaxChains)
	}
	return position, s.room(len(c.Steps), planBytes(c.plan()))
}
