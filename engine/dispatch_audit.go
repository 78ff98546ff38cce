package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

const (
	// auditEvery is how often the holder compares the stream of tasks with what
	// it offered. A worker may take a task and never claim its step; the server
	// may lose what was in its memory.
	auditEvery = 2 * time.Second
	// auditLimit is how many differences one audit looks into.
	auditLimit = 1024
)

// adopt takes in the tasks that the last holder left in the stream. Those that
// are as they should be stay; all others are withdrawn.
func (d *dispatcher) adopt(ctx context.Context) error {
	for seq := uint64(1); ; seq++ {
		m, err := d.Streams.next(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		seq = m.Sequence
		if !d.adopted(m) {
			if err := d.Streams.remove(ctx, seq); err != nil {
				return err
			}
		}
	}
}

// adopted reports whether a task is of a step that is to be offered.
func (d *dispatcher) adopted(m *jetstream.RawStreamMsg) bool {
	ref, ok := d.Names.ParseWork(m.Subject)
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.offerOf(ref)
	if !ok || o == nil {
		return false
	}
	d.work.count(o, d.Clock())
	d.work.remove(o)
	o.have, o.seq = max(readTask(m.Data).Attempt, 1), m.Sequence
	d.settle(o)
	return true
}

// offerOf needs the lock.
func (d *dispatcher) offerOf(ref contract.TaskRef) *offer {
	t := d.sessions[eventstore.Key{User: ref.User, Session: ref.Session}]
	if t == nil {
		return nil
	}
	return t.offers[offerKey{domain.StepRef{Chain: ref.Chain, Step: ref.Step}, ref.Action}]
}

// audit looks again and again whether the stream of tasks is what it should be.
func (d *dispatcher) audit(ctx context.Context) error {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	var strays map[string]bool
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		offers := d.standing()
		there, err := d.Streams.subjects(ctx)
		if err != nil {
			return err
		}
		if err := d.replaceLost(ctx, offers, there); err != nil {
			return err
		}
		if strays, err = d.removeStrays(ctx, there, strays); err != nil {
			return err
		}
	}
}

// standing returns the offers that should be in the stream, by subject, with
// their attempts.
func (d *dispatcher) standing() map[string]offer {
	d.mu.Lock()
	defer d.mu.Unlock()
	offers := map[string]offer{}
	for _, t := range d.sessions {
		for _, o := range t.offers {
			if o.have != 0 && !o.busy {
				offers[d.subject(o)] = *o
			}
		}
	}
	return offers
}

// replaceLost makes offers again whose tasks are gone although nobody claimed
// their steps.
func (d *dispatcher) replaceLost(ctx context.Context, offers map[string]offer, there map[string]uint64) error {
	left := auditLimit
	for subject, was := range offers {
		if there[subject] > 0 {
			continue
		}
		if left--; left < 0 {
			return nil
		}
		ready, err := d.ready(ctx, was.key, offerKey{was.ref, was.action}, was.have)
		if err != nil && !errors.Is(err, eventstore.ErrCorrupt) {
			return err
		}
		if ready {
			d.lost(subject, was)
		}
	}
	return nil
}

func (d *dispatcher) lost(subject string, was offer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ref, _ := d.Names.ParseWork(subject)
	o := d.offerOf(ref)
	if o == nil || o.busy || o.have != was.have || o.seq != was.seq {
		return
	}
	o.have, o.seq = 0, 0
	d.settle(o)
}

// removeStrays withdraws tasks that are not offers, and were not at the last
// audit: then nobody is about to acknowledge them.
func (d *dispatcher) removeStrays(ctx context.Context, there map[string]uint64, before map[string]bool) (map[string]bool, error) {
	strays := d.strays(there)
	for subject := range strays {
		if !before[subject] {
			continue
		}
		seq, _, err := d.Streams.last(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(d.strays(map[string]uint64{subject: 1})) == 0 {
			continue // it is offered by now
		}
		if err := d.Streams.remove(ctx, seq); err != nil {
			return nil, err
		}
	}
	return strays, nil
}

// strays returns the subjects of tasks that are no offers of this holder.
func (d *dispatcher) strays(there map[string]uint64) map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	strays := map[string]bool{}
	for subject := range there {
		ref, ok := d.Names.ParseWork(subject)
		if o := d.offerOf(ref); ok && o != nil && (o.busy || o.have != 0) {
			continue
		}
		if strays[subject] = true; len(strays) == auditLimit {
			break
		}
	}
	return strays
}
