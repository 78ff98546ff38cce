package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// engineActor is who an engine is in the events it causes by itself. It is the
// same for all, so that two of them can't both end an attempt.
const engineActor = "engine"

// firing is an alarm that rang.
type firing struct {
	key eventstore.Key
	alarm

	// lease is set for a lease that seems to be over; beat is then the last sign
	// of life that was seen, period the lease.
	lease  bool
	beat   string
	period time.Duration
}

// watch ends what is over its time, and offers what has waited long enough.
func (d *dispatcher) watch(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxFirings)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case <-d.alarms:
		}
		rang, nap := d.ring()
		for _, f := range rang {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			wg.Go(func() {
				defer func() { <-slots }()
				d.fire(ctx, f)
			})
		}
		timer.Reset(nap)
	}
}

// ring returns the alarms whose time has come, and when to look again.
func (d *dispatcher) ring() ([]firing, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Clock()
	var rang []firing
	for len(d.agenda) > 0 && !d.agenda[0].at.After(now) {
		if len(rang) >= maxFirings {
			return rang, 0
		}
		t := d.agenda[0]
		rang = append(rang, d.ringSession(t, now)...)
		d.agenda.plan(t, t.next())
	}
	if len(d.agenda) == 0 {
		return rang, maxNap
	}
	return rang, min(d.agenda[0].at.Sub(now), maxNap)
}

// ringSession needs the lock.
func (d *dispatcher) ringSession(t *tracked, now time.Time) []firing {
	var rang []firing
	waiting := t.alarms[:0]
	for _, a := range t.alarms {
		switch {
		case a.at.After(now):
		case a.backoff():
			d.want(t, a.step, a.action, a.attempt)
			continue
		default:
			rang = append(rang, firing{key: t.key, alarm: a})
			a.at = now.Add(fireRetry)
		}
		waiting = append(waiting, a)
	}
	t.alarms = waiting
	for ref, f := range t.flights {
		if f.ends().After(now) {
			continue
		}
		f.retry = now.Add(fireRetry)
		rang = append(rang, firing{
			key: t.key, alarm: alarm{due: f.seen, step: ref, attempt: f.attempt},
			lease: true, beat: f.beat, period: f.lease,
		})
	}
	return rang
}

// fire has a timeout decided. One that comes too late, or twice, is refused by
// the rules and changes nothing.
func (d *dispatcher) fire(ctx context.Context, f firing) {
	var last beat
	if f.attempt > 0 {
		b, found, err := d.Streams.lease(ctx, f.id())
		switch {
		case err != nil:
			d.Logger.Warn("a lease can't be read; its attempt is not ended", "error", err)
			return
		case f.lease && found && b.ID != f.beat && d.renewed(f, b):
			return
		}
		last = b
	}
	r := f.request(last)
	duplicate, err := d.decide(r) //nolint:contextcheck // commands have a deadline of their own
	if duplicate || errors.Is(err, &domain.Rejection{Code: domain.CodeIDReused}) {
		// The id was used before: for this very timeout, which the rules will see,
		// or for another of a chain that was removed and added again.
		r.ID = newCommandID(d.Clock())
		_, err = d.decide(r) //nolint:contextcheck // as above
	}
	var rejected *domain.Rejection
	switch {
	case err == nil:
	case !errors.As(err, &rejected):
		d.Logger.Warn("a timeout could not be applied; it is tried again", "session", f.key.String(), "error", err)
	case rejected.Code == domain.CodeBusy:
		d.soon(f)
	}
}

func (f firing) id() attemptID { return attemptID{f.key, f.step, f.attempt} }

// renewed reports whether an attempt is alive by a heartbeat that was not heard:
// it was sent to another engine while this one could not listen. The server's
// clock may be as far off as a holder's may be.
func (d *dispatcher) renewed(f firing, last beat) bool {
	seen := last.stored.Add(maxClockSkew + leaseGrace)
	if now := d.Clock(); seen.After(now) {
		seen = now
	}
	if !seen.Add(f.period).After(d.Clock()) {
		return false
	}
	d.heard(f.id(), last.ID, seen)
	return true
}

// decide puts a command of the engine into the lane of its session and waits
// for the answer, which may be that of an earlier command with its id.
func (d *dispatcher) decide(r Request) (duplicate bool, err error) {
	ended := make(chan struct{})
	refused := d.Executor.lanes.submit(engineSender, r.Key, func() {
		defer close(ended)
		var reply contract.Reply
		reply, err = d.Executor.do(r)
		duplicate = reply.Duplicate
	})
	if refused != nil {
		return false, refused
	}
	<-ended
	return duplicate, err
}

// request makes the command of a timeout. Its id follows from what is over, so
// that all engines send the same.
func (f firing) request(last beat) Request {
	r := Request{Key: f.key, Actor: engineActor}
	if f.step == (domain.StepRef{}) {
		r.Command = &domain.TimeoutSession{}
		r.ID = "timeout/session/" + strconv.FormatInt(f.due.UnixNano(), 36)
	} else {
		r.Command = &domain.TimeoutStep{Chain: f.step.Chain, Step: f.step.Step, Attempt: f.attempt, Lease: f.lease, Output: last.output()}
		r.ID = f.stepCommandID()
	}
	r.Verb = r.Command.Verb()
	r.Digest = domain.Digest(r.Verb, []byte(strconv.Quote(r.ID)))
	return r
}

// stepCommandID names the end of an attempt, or of the time of a manual step,
// whose attempts have no number before they end.
func (f firing) stepCommandID() string {
	id := fmt.Sprintf("timeout/%s/%s/%d", f.step.Chain, f.step.Step, f.attempt)
	if f.attempt == 0 {
		id = fmt.Sprintf("timeout/%s/%s/%s", f.step.Chain, f.step.Step, strconv.FormatInt(f.due.UnixNano(), 36))
	}
	if len(id) > domain.MaxCommandIDLength {
		return "timeout/" + domain.Digest(domain.VerbStepTimeout, []byte(strconv.Quote(id)))
	}
	return id
}

// soon lets an alarm ring again for which there was no room.
func (d *dispatcher) soon(f firing) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.sessions[f.key]
	if t == nil {
		return
	}
	at := d.Clock().Add(busyFireRetry)
	if flying := t.flights[f.step]; f.lease && flying != nil && flying.attempt == f.attempt {
		flying.retry = at
	}
	for i := range t.alarms {
		if a := &t.alarms[i]; !f.lease && a.step == f.step && a.attempt == f.attempt && !a.backoff() {
			a.at = at
		}
	}
	d.plan(t)
}
