package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

const (
	// queueParallel is the number of queued commands that are taken from the
	// stream and not settled.
	queueParallel = 256
	// queueLanes bounds those that are in lanes: some are acknowledged already
	// and about to leave.
	queueLanes = 4 * queueParallel
	// queueAckWait is when the server offers a command again that is not
	// settled; the queue leaves such an offer alone.
	queueAckWait = time.Minute
	// queueRetry is the pause before a command that met a failure of the store
	// is tried again; it doubles up to maxQueueRetry.
	queueRetry    = 50 * time.Millisecond
	maxQueueRetry = 5 * time.Second
	// queueHeartbeat is how soon a silent server is noticed.
	queueHeartbeat = 5 * time.Second
	// queueCallTimeout bounds one call to the server.
	queueCallTimeout = 5 * time.Second
	// queueConsumer is the consumer of the stream, of which there is one.
	queueConsumer = "holder"
)

// errOutOfOrder says that a message was missed, so that the order of what
// follows can't be relied on; the consumer is made anew then.
var errOutOfOrder = errors.New("the queue's consumer skipped a message")

// queueConfig configures a queue. Every field but Accounts is required.
type queueConfig struct {
	JetStream jetstream.JetStream
	Streams   queueStreams
	Names     contract.Names
	Executor  *executor
	Accounts  *Accounts // nil for everybody
	Logger    *slog.Logger
}

// queue applies queued commands. One engine at a time runs it, the holder; one
// that does not know yet that it is out does no harm, since every command is
// applied once and none after a later one of its session.
type queue struct {
	queueConfig
	// lanes keep the order of each session over retries.
	lanes *lanes

	mu      sync.Mutex
	pending map[uint64]struct{}
	settled sync.WaitGroup
}

func newQueue(cfg queueConfig) *queue {
	return &queue{queueConfig: cfg, pending: map[uint64]struct{}{}}
}

// run applies commands until ctx ends. Those that were begun are settled before
// it returns, unless the server can't be reached. It may be called again, not
// at the same time.
func (q *queue) run(ctx context.Context) error {
	q.lanes = newLanes(queueLanes, queueLanes, queueLanes)
	defer q.lanes.close()
	for ctx.Err() == nil {
		err := q.consume(ctx)
		q.settled.Wait()
		if ctx.Err() == nil {
			q.Logger.Warn("the queue's consumer is made anew", "error", err)
			pause(ctx, queueRetry)
		}
	}
	return nil
}

// consume makes the consumer anew, so that the server begins with the first
// command that is not settled, and dispatches what comes.
func (q *queue) consume(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is waiting for a better moment is left to the next consumer
	consumer, err := q.makeConsumer(ctx)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(queueParallel), jetstream.PullHeartbeat(queueHeartbeat))
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	defer messages.Stop()
	for next := uint64(1); ; next++ {
		m, err := messages.Next()
		if err != nil {
			return fmt.Errorf("queue: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("queue: %w", err)
		}
		if meta.Sequence.Consumer != next {
			return fmt.Errorf("%w: %d came instead of %d", errOutOfOrder, meta.Sequence.Consumer, next)
		}
		if err := q.dispatch(ctx, m, meta.Sequence.Stream); err != nil {
			return fmt.Errorf("queue: sequence %d: %w", meta.Sequence.Stream, err)
		}
	}
}

// makeConsumer replaces the consumer. Whoever used the old one gets no more.
func (q *queue) makeConsumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, queueCallTimeout)
	defer cancel()
	stream := q.Streams.queue
	if err := stream.DeleteConsumer(ctx, queueConsumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("queue: consumer %s can't be removed: %w", queueConsumer, err)
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: queueConsumer, Description: "Reprise: the engine that applies queued commands",
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: queueAckWait, MaxAckPending: queueParallel,
	})
	if err != nil {
		return nil, fmt.Errorf("queue: consumer %s can't be made: %w", queueConsumer, err)
	}
	return consumer, nil
}

// dispatch puts a command into the lane of its session, unless it is there
// already.
func (q *queue) dispatch(ctx context.Context, m jetstream.Msg, seq uint64) error {
	q.mu.Lock()
	_, again := q.pending[seq]
	q.pending[seq] = struct{}{}
	q.mu.Unlock()
	if again {
		return nil
	}
	item := q.read(m, seq)
	q.settled.Add(1)
	err := q.lanes.submit("", item.lane(), func() {
		q.settle(ctx, item)
		q.leave(seq)
	})
	if err != nil {
		q.leave(seq)
	}
	return err
}

// leave forgets a command that was dispatched.
func (q *queue) leave(seq uint64) {
	q.mu.Lock()
	delete(q.pending, seq)
	q.mu.Unlock()
	q.settled.Done()
}

// queued is a command from the queue.
type queued struct {
	msg     jetstream.Msg
	seq     uint64
	request Request
	address address
	// unreadable is why the message is no command.
	unreadable error
}

// lane is the session that the subject names; what can't be read has one for
// itself.
func (i *queued) lane() eventstore.Key {
	if i.unreadable != nil {
		return eventstore.Key{User: i.msg.Subject()}
	}
	return i.request.Key
}

// read parses a message. Its id is the publisher's, or one by its place in the
// queue.
func (q *queue) read(m jetstream.Msg, seq uint64) *queued {
	i := &queued{msg: m, seq: seq}
	header := withoutServers(m.Headers())
	if header.Get(contract.HeaderCommandID) == "" {
		header.Set(contract.HeaderCommandID, q.Streams.messageID(seq))
	}
	i.request, i.address, i.unreadable = newRequest(m.Subject(), header, time.Time{})
	i.request.QueueSeq = seq
	if why := q.Accounts.impostor(m.Subject(), m.Headers()); i.unreadable == nil && why != "" {
		i.unreadable = domain.Reject(domain.CodeNotAllowed, domain.StateNone, "%s", why)
	}
	if i.unreadable == nil && i.request.DryRun {
		i.unreadable = domain.Invalid(contract.HeaderDryRun, "a queued command has no answer, so a dry run of it tells nobody anything")
	}
	return i
}

// bury stores a command that was rejected as a dead letter.
func (q *queue) bury(ctx context.Context, i *queued, why contract.Error) error {
	letters := graveyard{q.JetStream, q.Names, q.Streams}
	return letters.bury(ctx, &nats.Msg{Subject: i.msg.Subject(), Header: i.msg.Headers(), Data: i.msg.Data()}, i.seq, i.request.ID, why)
}

// settle applies a command, stores what was rejected as a dead letter, and then
// acknowledges. Failures that pass are waited out, so that nothing overtakes.
// What has not been begun when ctx ends stays in the stream.
func (q *queue) settle(ctx context.Context, i *queued) {
	if ctx.Err() != nil {
		return
	}
	err := i.unreadable
	if err == nil {
		err = q.persist(ctx, "apply", i, func() error { return q.apply(i) }) //nolint:contextcheck // commands have a deadline of their own
	}
	if err != nil && !errors.Is(err, errLate) && !passing(err) {
		why := problem(err, i.request.ID)
		err = q.persist(ctx, "bury", i, func() error { return q.bury(ctx, i, why) })
	}
	if err == nil || errors.Is(err, errLate) {
		err = q.persist(ctx, "acknowledge", i, func() error { return acknowledge(ctx, i.msg) })
	}
	if err != nil && ctx.Err() == nil {
		q.Logger.Error("a queued command is not settled", "error", err, "sequence", i.seq, "subject", i.msg.Subject())
	}
}

// persist repeats what fails for reasons that pass, until ctx ends.
func (q *queue) persist(ctx context.Context, what string, i *queued, do func() error) error {
	for wait := queueRetry; ; wait = min(2*wait, maxQueueRetry) {
		err := do()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		q.Logger.Warn("a queued command is tried again", "doing", what, "error", err, "sequence", i.seq, "subject", i.msg.Subject())
		pause(ctx, wait)
	}
}

// passing reports whether an error may be gone at the next try.
func passing(err error) bool {
	var rejected *domain.Rejection
	switch {
	case errors.Is(err, errLate):
		return false
	case !errors.As(err, &rejected):
		return !errors.Is(err, eventstore.ErrCorrupt)
	}
	return retryAfter(rejected.Code) > 0
}

// apply carries a command out and waits for its answer.
func (q *queue) apply(i *queued) error {
	answer := make(chan error, 1)
	err := q.Executor.submit(i.request, i.address, i.msg.Data(), func(_ contract.Reply, err error) { answer <- err })
	if err != nil {
		return err
	}
	return <-answer
}

// acknowledge takes a message out of the queue and waits until the server has
// done so, also after ctx has ended.
func acknowledge(ctx context.Context, m jetstream.Msg) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queueCallTimeout)
	defer cancel()
	err := m.DoubleAck(ctx)
	if errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return nil
	}
	return err
}
