package engine

import (
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// The functions of this file need the dispatcher's lock, but for follow.

// claimed looks for steps that a commit started. The task of a claimed step is
// taken out of the stream by the worker that has it; one that was started any
// other way is withdrawn.
func (d *dispatcher) claimed(c eventstore.Committed) {
	t := d.sessions[c.Key]
	if t == nil {
		return
	}
	for _, e := range c.Commit.Events {
		started, ok := e.(*domain.StepStarted)
		if !ok {
			continue
		}
		for _, o := range t.offers {
			if o.ref == (domain.StepRef{Chain: started.Chain, Step: started.Step}) {
				d.started(o, started.Attempt, c.Commit.Cause == domain.VerbClaim)
			}
		}
	}
}

// started notes that an attempt is not to be had any more. If it was claimed, a
// worker has its task.
func (d *dispatcher) started(o *offer, attempt int, claimed bool) {
	if o.want == attempt {
		o.want = 0
	}
	switch {
	case !claimed:
	case o.busy:
		o.claimed = attempt
	case o.have == attempt:
		o.have, o.seq = 0, 0
	}
	d.settle(o)
}

// take compares a state of a session with what is known of it. An older state
// changes nothing. behind says that commits up to that state are still to come.
func (d *dispatcher) take(a eventstore.Aggregate, behind bool) {
	s := a.Session
	t := d.sessions[a.Key]
	switch {
	case t == nil && !d.loading && s.State != domain.StateRunning && s.InFlight == 0:
		return
	case t == nil:
		t = &tracked{key: a.Key, priority: s.Priority, index: -1, offers: map[offerKey]*offer{}, flights: map[domain.StepRef]*flight{}}
		d.sessions[a.Key] = t
	case a.Seq < t.seq:
		return
	}
	t.seq, t.version = a.Seq, s.Version
	d.marks++
	now := d.Clock()
	t.alarms = t.alarms[:0]
	for _, timer := range s.Timers() {
		t.alarms = append(t.alarms, alarm{at: timer.At, due: timer.At, step: timer.Step, attempt: timer.Attempt})
	}
	d.takeReady(t, s, now, behind)
	d.takeFlights(t, s, now)
	d.plan(t)
	d.forgetIfIdle(t)
}

// takeReady sets what is to be offered of a session.
func (d *dispatcher) takeReady(t *tracked, s *domain.Session, now time.Time, behind bool) {
	for _, r := range s.Ready() {
		if r.NotBefore.After(now) {
			t.alarms = append(t.alarms, alarm{at: r.NotBefore, due: r.NotBefore, step: r.StepRef, attempt: r.Attempt, action: r.Action})
			continue
		}
		d.want(t, r.StepRef, r.Action, r.Attempt)
	}
	for _, o := range t.offers {
		if o.mark == d.marks || behind && o.queue == nil && startedIn(s, o) {
			continue
		}
		o.want = 0
		d.settle(o)
	}
}

// startedIn reports whether the step was claimed since it was offered. The
// commit says how.
func startedIn(s *domain.Session, o *offer) bool {
	st := s.Step(o.ref.Chain, o.ref.Step)
	return st != nil && st.Attempt >= o.want && st.Status != domain.StepStatusPending
}

// want has an attempt of a step offered.
func (d *dispatcher) want(t *tracked, ref domain.StepRef, action string, attempt int) {
	key := offerKey{ref, action}
	o := t.offers[key]
	if o == nil {
		o = &offer{key: t.key, ref: ref, action: action, priority: t.priority}
		t.offers[key] = o
	}
	o.mark = d.marks
	if o.want != attempt {
		o.want, o.version = attempt, t.version
	}
	d.settle(o)
}

// takeFlights notes which attempts are in flight. The lease of one that was not
// known counts from now.
func (d *dispatcher) takeFlights(t *tracked, s *domain.Session, now time.Time) {
	if s.InFlight > 0 {
		for _, c := range s.Chains {
			for _, st := range c.Steps {
				if st.Status == domain.StepStatusRunning {
					d.fly(t, domain.StepRef{Chain: c.ID, Step: st.ID}, st, now)
				}
			}
		}
	}
	for ref, f := range t.flights {
		if f.mark != d.marks {
			d.work.ended(t.key.User, f.action)
			delete(t.flights, ref)
			wake(d.offers)
		}
	}
}

func (d *dispatcher) fly(t *tracked, ref domain.StepRef, st *domain.Step, now time.Time) {
	f := t.flights[ref]
	if f == nil || f.action != st.Action {
		if f != nil {
			d.work.ended(t.key.User, f.action)
		}
		f = &flight{action: st.Action}
		t.flights[ref] = f
		d.work.started(t.key.User, st.Action)
	}
	if f.attempt != st.Attempt {
		beat := d.early.take(attemptID{t.key, ref, st.Attempt})
		f.attempt, f.lease, f.seen, f.beat, f.retry = st.Attempt, st.Lease.Std(), now, beat, time.Time{}
	}
	f.mark = d.marks
}

// plan sets when the session has to be looked at.
func (d *dispatcher) plan(t *tracked) {
	if d.agenda.plan(t, t.next()) {
		wake(d.alarms)
	}
}

// settle brings an offer a step nearer to what is wanted.
func (d *dispatcher) settle(o *offer) {
	switch {
	case o.busy:
		return // it is settled when the stream was changed
	case o.have != 0 && o.have != o.want:
		o.busy = true
		d.stale = append(d.stale, o)
		wake(d.offers)
		return
	case o.have != 0:
		return
	}
	d.work.uncount(o)
	switch {
	case o.want == 0:
		d.work.remove(o)
		if t := d.sessions[o.key]; t != nil {
			delete(t.offers, offerKey{o.ref, o.action})
		}
	case o.queue == nil:
		d.work.push(o)
	}
	wake(d.offers)
}

// forgetIfIdle drops a session of which there is nothing to offer or to watch.
func (d *dispatcher) forgetIfIdle(t *tracked) {
	if !d.loading && len(t.offers) == 0 && len(t.flights) == 0 && t.index < 0 {
		delete(d.sessions, t.key)
	}
}

// follow keeps the order of offers where a worker asks for the next step of its
// chain: not while others have waited too long for a worker, and, where actions
// have limits, only for a step of the same action. Only the holder knows who
// waits; what other engines answer is mended by its next turn.
func (d *dispatcher) follow(r *Request) {
	cmd, ok := r.Command.(*domain.Succeed)
	if !ok || !cmd.ClaimNext {
		return
	}
	next := *cmd
	if d.MaxAction > 0 {
		next.Actions = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.sessions[r.Key]; d.active && t != nil && d.work.overdue(cmd.Action, t.key.User, t.priority, d.Clock()) {
		next.ClaimNext = false
	}
	r.Command = &next
}
