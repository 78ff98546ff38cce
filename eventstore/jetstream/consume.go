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
	// scanIdle is how long a scan waits for a message before it asks whether
	// anything is left.
	scanIdle = time.Second
	// followPause is the pause before a follower that lost its consumer asks
	// for a new one.
	followPause = 250 * time.Millisecond
)

// Scan calls fn for every selected message up to the end at the start.
func (d *Driver) Scan(ctx context.Context, f eventstore.Filter, fn func(eventstore.Message) error) error {
	info, err := d.Info(ctx)
	if err != nil {
		return err
	}
	from, to := max(f.From, 1, info.First), info.Last
	if f.To > 0 {
		to = min(to, f.To)
	}
	if from > to || info.Messages == 0 {
		return nil
	}
	err = d.consume(ctx, d.consumerConfig(f, from), true, func(m eventstore.Message, pending uint64) error {
		if m.Seq > to {
			return errScanned
		}
		if err := fn(m); err != nil {
			return callbackError{err}
		}
		if m.Seq == to || pending == 0 {
			return errScanned
		}
		return nil
	})
	return scanned(ctx, err)
}

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
	}
	return unavailable(err)
}

// Follow calls fn for every message from a sequence on, for ever. When it loses
// its consumer it goes on after the last message. A stream that was made anew
// meanwhile ends it with eventstore.ErrIncarnation.
func (d *Driver) Follow(ctx context.Context, from uint64, fn func(eventstore.Message) error) error {
	next := max(from, 1)
	for {
		err := d.consume(ctx, d.consumerConfig(eventstore.Filter{}, next), false, func(m eventstore.Message, _ uint64) error {
			if err := fn(m); err != nil {
				return callbackError{err}
			}
			next = m.Seq + 1
			return nil
		})
		var own callbackError
		if errors.As(err, &own) {
			return own.err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followPause):
		}
		if _, err := d.Info(ctx); errors.Is(err, eventstore.ErrIncarnation) {
			return err
		}
	}
}

func (d *Driver) consumerConfig(f eventstore.Filter, from uint64) js.OrderedConsumerConfig {
	return js.OrderedConsumerConfig{
		FilterSubjects: []string{d.filterSubject(f)}, DeliverPolicy: js.DeliverByStartSequencePolicy,
		OptStartSeq: from, HeadersOnly: f.HeadersOnly, InactiveThreshold: consumerIdle,
	}
}

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

// consume calls fn with each message and the number of those still pending,
// until fn or the consumer fails or ctx ends. A bounded one also ends, with
// errScanned, when nothing is pending at the start or any more.
func (d *Driver) consume(ctx context.Context, cfg js.OrderedConsumerConfig, limited bool, fn func(eventstore.Message, uint64) error) error {
	consumer, err := d.js.OrderedConsumer(ctx, d.stream, cfg)
	if err != nil {
		return err
	}
	defer d.discard(consumer)
	if limited && consumer.CachedInfo().NumPending == 0 {
		return errScanned
	}
	messages, err := consumer.Messages(js.PullMaxMessages(pullMessages))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer messages.Stop()
	defer stop()
	for {
		msg, err := d.next(ctx, consumer, messages, limited)
		if err != nil {
			return err
		}
		m, pending, err := d.delivered(msg)
		if err == nil {
			err = fn(m, pending)
		}
		if err != nil {
			return err
		}
	}
}

// next waits for a message. What is pending may be removed before it is
// delivered, so a bounded wait looks from time to time whether anything is left.
func (d *Driver) next(ctx context.Context, consumer js.Consumer, messages js.MessagesContext, limited bool) (js.Msg, error) {
	if !limited {
		return messages.Next()
	}
	for {
		msg, err := messages.Next(js.NextMaxWait(scanIdle))
		if !errors.Is(err, nats.ErrTimeout) {
			return msg, err
		}
		info, err := consumer.Info(ctx)
		if err == nil && info.NumPending == 0 {
			err = errScanned
		}
		if err != nil {
			return nil, err
		}
	}
}

// discard removes the consumer from the server, which would do so by itself
// after consumerIdle.
func (d *Driver) discard(consumer js.Consumer) {
	info := consumer.CachedInfo()
	if info == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	_ = d.js.DeleteConsumer(ctx, d.stream, info.Name) // it goes by itself
}

func (d *Driver) delivered(msg js.Msg) (eventstore.Message, uint64, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return eventstore.Message{}, 0, err
	}
	m, err := d.decode(msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Headers(), msg.Data())
	return m, meta.NumPending, err
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
