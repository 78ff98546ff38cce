package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/killpoint"
)

const (
	// offerBatch is how many changes of the stream of tasks are on their way at
	// once.
	offerBatch = 256
	// deleteParallel is how many tasks are withdrawn at once.
	deleteParallel = 16
	// maxReplace bounds how often a task that is in the way of an offer is
	// replaced before the dispatcher begins anew.
	maxReplace = 4
)

// change is one change of the stream of tasks: an offer that is made, or one
// that is withdrawn.
type change struct {
	o       *offer
	subject string
	task    contract.Task
	ack     jetstream.PubAckFuture
	// withdraw is the sequence of the task to be removed, 0 to make an offer.
	withdraw uint64
	// seq is the sequence of the task that is there afterwards, 0 if there is none.
	seq uint64
}

// keepOffers changes the stream of tasks until it is as it should be, whenever
// it is woken.
func (d *dispatcher) keepOffers(ctx context.Context) error {
	for {
		changes := d.nextChanges()
		if len(changes) == 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-d.offers:
			}
			continue
		}
		if err := d.perform(ctx, changes); err != nil {
			return err
		}
		d.performed(changes)
	}
}

// nextChanges says what is to be done now. Its offers are busy until performed.
func (d *dispatcher) nextChanges() []*change {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(d.stale), offerBatch)
	taken := d.work.take(offerBatch-n, d.Clock())
	changes := make([]*change, 0, n+len(taken))
	for _, o := range d.stale[:n] {
		changes = append(changes, &change{o: o, subject: d.subject(o), withdraw: o.seq})
	}
	if d.stale = d.stale[n:]; len(d.stale) == 0 {
		d.stale = nil
	}
	for _, o := range taken {
		o.busy = true
		changes = append(changes, &change{o: o, subject: d.subject(o), task: contract.Task{Attempt: o.want, Version: o.version}})
	}
	return changes
}

func (d *dispatcher) subject(o *offer) string {
	return d.Names.Work(o.action, o.key.User, o.key.Session, o.ref.Chain, o.ref.Step)
}

// perform makes all offers, and then withdraws what is to be withdrawn.
func (d *dispatcher) perform(ctx context.Context, changes []*change) error {
	var withdrawn []*change
	for _, c := range changes {
		if c.withdraw > 0 {
			withdrawn = append(withdrawn, c)
			continue
		}
		body, err := domain.Marshal(c.task)
		if err != nil {
			return err
		}
		if c.ack, err = d.Streams.js.PublishAsync(c.subject, body); err != nil {
			return fmt.Errorf("offer %s: %w", c.subject, err)
		}
	}
	err := each(ctx, deleteParallel, withdrawn, func(ctx context.Context, c *change) error {
		killpoint.Pass(killpoint.TaskWithdrawing)
		defer killpoint.Pass(killpoint.TaskWithdrawn)
		return d.Streams.remove(ctx, c.withdraw)
	})
	for _, c := range changes {
		if err == nil && c.ack != nil {
			err = d.offered(ctx, c)
		}
	}
	return err
}

// offered waits for the server's word on an offer. A task that is there already
// is this one, or has to go first.
func (d *dispatcher) offered(ctx context.Context, c *change) error {
	ack, err := await(ctx, c.ack)
	for range maxReplace {
		if !subjectFull(err) {
			break
		}
		there, task, missing := d.Streams.last(ctx, c.subject)
		switch {
		case missing == nil && task.Attempt == c.task.Attempt:
			c.seq = there
			return nil
		case missing == nil:
			missing = d.Streams.remove(ctx, there)
		}
		if missing != nil && !errors.Is(missing, jetstream.ErrMsgNotFound) {
			return missing
		}
		ack, err = d.publish(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("offer %s: %w", c.subject, err)
	}
	c.seq = ack.Sequence
	return nil
}

func (d *dispatcher) publish(ctx context.Context, c *change) (*jetstream.PubAck, error) {
	body, err := domain.Marshal(c.task)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	return d.Streams.js.Publish(ctx, c.subject, body)
}

// await waits for an acknowledgement. The connection bounds the time.
func await(ctx context.Context, f jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-f.Ok():
		return ack, nil
	case err := <-f.Err():
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// performed takes in what the stream looks like after the changes.
func (d *dispatcher) performed(changes []*change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range changes {
		o := c.o
		o.busy, o.seq, o.have = false, c.seq, 0
		if c.seq > 0 {
			o.have = c.task.Attempt
		}
		if o.have != 0 && o.claimed == o.have {
			o.have, o.seq = 0, 0 // its worker has it
		}
		o.claimed = 0
		d.settle(o)
		if t := d.sessions[o.key]; t != nil {
			d.forgetIfIdle(t)
		}
	}
}

// ready reports whether an attempt of a step may be claimed in the newest state
// of its session.
func (d *dispatcher) ready(ctx context.Context, key eventstore.Key, want offerKey, attempt int) (bool, error) {
	a, err := d.Store.Load(ctx, key)
	if err == nil {
		a, err = d.Store.Confirm(ctx, a)
	}
	if err != nil {
		return false, err
	}
	for _, r := range a.Session.Ready() {
		if r.StepRef == want.StepRef && r.Action == want.action && r.Attempt == attempt {
			return !r.NotBefore.After(d.Clock()), nil
		}
	}
	return false, nil
}
