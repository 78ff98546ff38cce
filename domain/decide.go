package domain

import (
	"errors"
	"fmt"
	"time"
)

// Decision is an accepted command.
type Decision struct {
	// Events are what the command appends; none means there is nothing to do
	// and nothing was wrong (the same definition again, a heartbeat).
	Events []Event
	// Next is the state after the events. The state to keep is Keep of the
	// commit, which also remembers the command.
	Next *Session
	// Time is that of the commit: Env.Now, or the time of the session's last
	// commit if that is later.
	Time time.Time
	// Results has an entry for every command of a batch.
	Results []Result
	// Claimed is the step that a worker got, by claim or claimNext.
	Claimed *StepRef
}

// Decide decides a command against the state of its session. It is pure: the
// same three values always give the same answer. A command that is not accepted
// is a *Rejection, and nothing has changed.
func Decide(s *Session, c Command, env Env) (Decision, error) {
	if batch, ok := c.(*Batch); ok {
		return decideBatch(s, batch, env)
	}
	x := newDecision(s, env)
	if rejected := x.decide(c); rejected != nil {
		return Decision{}, rejected
	}
	return x.done(), nil
}

// decision collects the events of one command and the state they lead to.
type decision struct {
	base    *Session
	d       *draft
	env     Env
	events  []Event
	claimed *StepRef
}

func newDecision(s *Session, env Env) *decision {
	env.Now = notBefore(env.Now, s)
	return &decision{base: s, d: newDraft(s), env: env}
}

// notBefore returns the time of a commit: now in UTC, but never before the
// session's last commit.
func notBefore(now time.Time, s *Session) time.Time {
	if now.Before(s.UpdatedAt) {
		now = s.UpdatedAt
	}
	return now.UTC().Round(0)
}

// s is the state with all events so far.
func (x *decision) s() *Session { return x.d.s }

func (x *decision) now() time.Time { return x.env.Now }

// emit records an event and applies it.
func (x *decision) emit(e Event) {
	x.events = append(x.events, e)
	x.d.apply(Recorded{Event: e, Version: x.s().Version + 1, Time: x.env.Now, Actor: x.env.Actor})
}

func (x *decision) done() Decision {
	return Decision{Events: x.events, Next: x.s(), Time: x.env.Now, Claimed: x.claimed}
}

// decide runs the checks that all commands share, then the command's own rule.
func (x *decision) decide(c Command) *Rejection {
	s := x.s()
	if s.Gone != nil {
		return gone(s)
	}
	switch c := c.(type) {
	case *Create:
		return x.create(c)
	case *Fork:
		return x.fork(c)
	}
	if !s.Exists() {
		return Reject(CodeNotFound, StateNone, "there is no session %q", s.ID)
	}
	switch c.Verb() {
	case VerbDelete, VerbPurge, VerbPause: // they look at more than the state first
	default:
		if r := check(s, c.Verb()); r != nil {
			return r
		}
	}
	return x.decideExisting(c)
}

func (x *decision) decideExisting(c Command) *Rejection {
	switch c := c.(type) {
	case *Start:
		return x.start()
	case *Pause:
		return x.pause(c)
	case *Resume:
		return x.resume()
	case *Cancel:
		return x.cancel(c.Reason)
	case *Complete:
		return x.complete()
	case *Delete:
		return x.delete(c)
	case *Purge:
		return x.purge(c)
	case *PutHold:
		return x.hold(c)
	case *ReleaseHold:
		return x.unhold(c)
	case *SetMetadata:
		return x.setMetadata(c)
	case *TimeoutSession:
		return x.timeoutSession()
	case *AddChain:
		return x.addChain(c)
	case *CloseChain:
		return x.closeChain(c)
	case *RemoveChain:
		return x.removeChain(c)
	case *MoveChain:
		return x.moveChain(c)
	}
	return x.decideStep(c)
}

func (x *decision) decideStep(c Command) *Rejection {
	switch c := c.(type) {
	case *AddStep:
		return x.addStep(c)
	case *RetryStep:
		return x.retryStep(c)
	case *SkipStep:
		return x.skipStep(c)
	case *SucceedManual:
		return x.succeedManual(c)
	case *FailManual:
		return x.failManual(c)
	case *Claim:
		return x.claim(c)
	case *Heartbeat:
		return x.attempt(c.Verb(), attemptRef{c.Chain, c.Step, c.Attempt, c.Worker, c.Action})
	case *Succeed:
		return x.succeed(c)
	case *Fail:
		return x.fail(c)
	case *Release:
		return x.release(c)
	case *TimeoutStep:
		return x.timeoutStep(c)
	}
	panic(fmt.Sprintf("domain: %T is no command", c))
}

// gone rejects every command for a session that was deleted or purged.
func gone(s *Session) *Rejection {
	t := s.Gone
	return Reject(CodeGone, StateNone, "session %q is gone: it was removed by %s at %s; its id is not used again",
		s.ID, t.By, t.Time.UTC().Format(time.RFC3339))
}

// decideBatch decides each command on the state that the ones before it left.
func decideBatch(s *Session, b *Batch, env Env) (Decision, error) {
	if s.Gone != nil {
		return Decision{}, gone(s)
	}
	all := Decision{Next: s, Time: notBefore(env.Now, s)}
	for i, c := range b.Commands {
		switch c.(type) {
		case *Fork, *Delete, *Purge, *Batch:
			return Decision{}, Invalid(fmt.Sprintf("commands[%d].verb", i), "%s can't be part of a batch", c.Verb())
		}
		sub := env
		sub.CommandID = fmt.Sprintf("%s/%d", env.CommandID, i)
		one, err := Decide(all.Next, c, sub)
		result := Result{Verb: c.Verb(), Events: len(one.Events)}
		var rejected *Rejection
		switch {
		case !errors.As(err, &rejected):
			all.Events = append(all.Events, one.Events...)
			all.Next = one.Next
		case b.Mode == BatchEach && all.Next.Exists():
			result.Code, result.Message = rejected.Code, rejected.Message
		default:
			return Decision{}, inBatch(rejected, s, i, c)
		}
		all.Results = append(all.Results, result)
	}
	return all, nil
}

// inBatch says which command of a batch was rejected; the state is that before
// the batch.
func inBatch(r *Rejection, s *Session, i int, c Command) *Rejection {
	next := *r
	at := fmt.Sprintf("commands[%d]", i)
	next.Message = fmt.Sprintf("%s (%s): %s; nothing of the batch was applied", at, c.Verb(), r.Message)
	next.State = s.State
	if r.Field != "" {
		next.Field = at + ".body." + r.Field
	}
	return &next
}
