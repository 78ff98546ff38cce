package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
)

// The bounds of a consumer.
const (
	// pullMessages is how many messages are asked for at once.
	pullMessages = 2000
	// consumerIdle is when the server removes a consumer that was left behind.
	consumerIdle = 30 * time.Second
	// A pull request ends after pullExpiry and shows every pullHeartbeat that
	// it lives; after two that are missed the consumer is made anew. The
	// library's 30 s are long for a request that got lost.
	pullExpiry    = 10 * time.Second
	pullHeartbeat = time.Second
	// scanIdle is how long a scan waits for a message before it asks whether
	// anything is left: longer than two heartbeats.
	scanIdle = 3 * time.Second
	// maxScanFailures is how many consumers in a row a scan may lose without
	// having got anything from them.
	maxScanFailures = 5
	// discardTimeout bounds the removal of a consumer that is done with.
	discardTimeout = time.Second
	// followPause is the pause before a follower that lost its consumer asks
	// for a new one.
	followPause = 250 * time.Millisecond
)

// Scan calls fn for every selected message up to the end at the start. Where
// that is the leader says: a consumer may live on a replica that is behind.
func (d *Driver) Scan(ctx context.Context, f eventstore.Filter, fn func(eventstore.Message) error) error {
	info, err := d.Info(ctx)
	if err != nil {
		return err
	}
	from, to := max(f.From, 1), info.Last
	if f.To > 0 {
		to = min(to, f.To)
	}
	if from > to {
		return nil
	}
	last, err := d.lastMatch(ctx, f, info.Last)
	if err != nil || last < from {
		return err
	}
	end := &scanEnd{driver: d, filter: f, at: min(to, last), seen: from - 1}
	deliver := func(m eventstore.Message) error {
		if m.Seq <= to {
			if err := fn(m); err != nil {
				return callbackError{err}
			}
		}
		if end.seen = m.Seq; m.Seq >= end.at {
			return errScanned
		}
		return nil
	}
	for failures := 0; ; failures++ {
		before := end.seen
		err := d.consume(ctx, d.consumerConfig(f, before+1), end.passed, deliver)
		if end.seen > before {
			failures = 0
		}
		if !errors.Is(err, errConsumer) || ctx.Err() != nil || failures >= maxScanFailures {
			return scanned(ctx, err)
		}
	}
}

// lastMatch asks the leader for the last sequence that a filter selects; 0 if
// there is none. End is the last sequence of the stream as far as is known. A
// filter that selects everything nearly always ends there, and is asked for by
// its subject only where it doesn't: over a million subjects the server takes
// most of a second for that, in which nothing is stored.
func (d *Driver) lastMatch(ctx context.Context, f eventstore.Filter, end uint64) (uint64, error) {
	if everything(f) {
		m, err := d.leader(ctx, fmt.Appendf(nil, `{"seq":%d}`, end))
		if !errors.Is(err, eventstore.ErrNotFound) {
			return m.Seq, err
		}
	}
	m, err := d.leader(ctx, fmt.Appendf(nil, `{"last_by_subj":%q}`, d.filterSubject(f)))
	if errors.Is(err, eventstore.ErrNotFound) {
		return 0, nil
	}
	return m.Seq, err
}

// scanEnd knows where a scan ends: at a sequence that the leader named. It may
// be removed before it is delivered.
type scanEnd struct {
	driver   *Driver
	filter   eventstore.Filter
	at, seen uint64
}

// passed asks the leader again when nothing comes, and returns errScanned if
// nothing is left to come.
func (e *scanEnd) passed(ctx context.Context) error {
	last, err := e.driver.lastMatch(ctx, e.filter, e.at)
	if err == nil && last <= e.seen {
		err = errScanned
	}
	return err
}

// errConsumer: the consumer was lost or skipped something; another one that
// begins after the last message may do better.
var errConsumer = errors.New("the consumer was lost")

// errScanned ends a consumer that has delivered everything.
var errScanned = errors.New("everything was delivered")

// callbackError is an error of the caller's function, to be returned as it is.
type callbackError struct{ err error }

func (e callbackError) Error() string { return e.err.Error() }

func scanned(ctx context.Context, err error) error {
	var own callbackError
	switch {
	case errors.Is(err, errScanned):
		return nil
	case errors.As(err, &own):
		return own.err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, eventstore.ErrIncarnation):
		return err
	}
	return unavailable(err)
}

// Follow calls fn for every message from a sequence on, for ever. When it loses
// its consumer it goes on after the last message. A stream that was made anew
// meanwhile ends it with eventstore.ErrIncarnation.
func (d *Driver) Follow(ctx context.Context, from uint64, fn func(eventstore.Message) error) error {
	next := max(from, 1)
	for {
		err := d.consume(ctx, d.consumerConfig(eventstore.Filter{}, next), nil, func(m eventstore.Message) error {
			if err := fn(m); err != nil {
				return callbackError{err}
			}
			next = m.Seq + 1
			return nil
		})
		var own callbackError
		switch {
		case errors.As(err, &own):
			return own.err
		case errors.Is(err, eventstore.ErrIncarnation):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followPause):
		}
	}
}

// consumerConfig makes a consumer that needs no acknowledgements and lives in
// the memory of one server. The client library's ordered consumer is not used:
// it would go on by itself in a stream that was made anew. One for everything has
// no filter: the server would compare it with every subject there is.
func (d *Driver) consumerConfig(f eventstore.Filter, from uint64) js.ConsumerConfig {
	subject := ""
	if !everything(f) {
		subject = d.filterSubject(f)
	}
	return js.ConsumerConfig{
		FilterSubject: subject, DeliverPolicy: js.DeliverByStartSequencePolicy, OptStartSeq: from,
		AckPolicy: js.AckNonePolicy, MaxDeliver: 1, HeadersOnly: f.HeadersOnly,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerIdle,
	}
}

// everything reports whether a filter selects the sessions of all users.
func everything(f eventstore.Filter) bool { return f.User == "" && f.Session == "" }

func (d *Driver) filterSubject(f eventstore.Filter) string {
	user, session := "*", "*"
	if f.User != "" {
		user = contract.UserToken(f.User)
	}
	if f.Session != "" {
		session = f.Session
	}
	return d.names.Prefix() + ".evt." + user + "." + session
}

// consume calls fn with each message until fn fails, the consumer is lost
// (errConsumer) or ctx ends. idle, if it is given, is asked whenever nothing has
// come for a while.
func (d *Driver) consume(ctx context.Context, cfg js.ConsumerConfig, idle func(context.Context) error, fn func(eventstore.Message) error) error {
	consumer, err := d.js.CreateConsumer(ctx, d.stream, cfg)
	if err != nil {
		return fmt.Errorf("%w: %w", errConsumer, err)
	}
	defer d.discard(ctx, consumer)
	if _, err := d.Info(ctx); errors.Is(err, eventstore.ErrIncarnation) { // asked now, it is the consumer's too
		return err
	}
	messages, err := consumer.Messages(js.PullMaxMessages(pullMessages), js.PullExpiry(pullExpiry),
		js.PullHeartbeat(pullHeartbeat), js.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("%w: %w", errConsumer, err)
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer messages.Stop()
	defer stop()
	for delivered := uint64(1); ; delivered++ {
		msg, err := next(ctx, messages, idle)
		if err != nil {
			return err
		}
		m, order, err := d.delivered(msg)
		switch {
		case err != nil:
		case order != delivered:
			err = fmt.Errorf("%w: delivery %d came as number %d", errConsumer, order, delivered)
		default:
			err = fn(m)
		}
		if err != nil {
			return err
		}
	}
}

// next waits for a message.
func next(ctx context.Context, messages js.MessagesContext, idle func(context.Context) error) (js.Msg, error) {
	var wait []js.NextOpt
	if idle != nil {
		wait = append(wait, js.NextMaxWait(scanIdle))
	}
	for {
		msg, err := messages.Next(wait...)
		switch {
		case err == nil:
			return msg, nil
		case idle == nil || !errors.Is(err, nats.ErrTimeout):
			return nil, fmt.Errorf("%w: %w", errConsumer, err)
		}
		if err := idle(ctx); err != nil {
			return nil, err
		}
	}
}

// discard removes the consumer from the server, which would do so by itself
// after consumerIdle.
func (d *Driver) discard(ctx context.Context, consumer js.Consumer) {
	info := consumer.CachedInfo()
	if info == nil || !d.read.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	_ = d.js.DeleteConsumer(ctx, d.stream, info.Name) // it goes by itself
}

// delivered returns a message and its number among those of its consumer.
func (d *Driver) delivered(msg js.Msg) (eventstore.Message, uint64, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return eventstore.Message{}, 0, fmt.Errorf("%w: %w", errConsumer, err)
	}
	m, err := d.decode(msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Headers(), msg.Data())
	return m, meta.Sequence.Consumer, err
}

// Compact removes the messages of a session before a sequence.
func (d *Driver) Compact(ctx context.Context, key eventstore.Key, before uint64) error {
	stream, err := d.js.Stream(ctx, d.stream)
	if err != nil {
		return unavailable(err)
	}
	err = stream.Purge(ctx, js.WithPurgeSubject(d.names.Event(key.User, key.Session)), js.WithPurgeSequence(before))
	if err != nil {
		return fmt.Errorf("session %s: %w", key, unavailable(err))
	}
	return nil
}

// Info describes the stream. The error is eventstore.ErrIncarnation if it is
// not the one that was opened.
func (d *Driver) Info(ctx context.Context) (eventstore.Info, error) {
	stream, err := d.js.Stream(ctx, d.stream)
	if err != nil {
		return eventstore.Info{}, fmt.Errorf("stream %s: %w", d.stream, unavailable(err))
	}
	info := stream.CachedInfo()
	if found := info.Config.Metadata[metadataIncarnation]; found != d.incarnation {
		return eventstore.Info{}, fmt.Errorf("stream %s: %w: it is %q and was %q; start again", d.stream, eventstore.ErrIncarnation, found, d.incarnation)
	}
	return eventstore.Info{
		Incarnation: d.incarnation, First: info.State.FirstSeq, Last: info.State.LastSeq,
		Messages: info.State.Msgs, Bytes: info.State.Bytes, Subjects: info.State.NumSubjects,
		Deleted: uint64(max(info.State.NumDeleted, 0)),
	}, nil
}
