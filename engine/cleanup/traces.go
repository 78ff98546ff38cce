package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

const (
	// tracesPull is how many dead letters are asked for at once.
	tracesPull = 512
	// tracesHeartbeat is the server's sign of life while none comes; after two that
	// are missed the library asks again for what comes next.
	tracesHeartbeat = time.Second
	// tracesPatience is how long the next one may take before the server is
	// asked whether there is one: longer than two heartbeats, since each wait counts
	// its own.
	tracesPatience = 3 * time.Second
)

// streamTraces are the streams beside the events.
type streamTraces struct {
	js    jetstream.JetStream
	names contract.Names
	bury  Bury
}

// Bury keeps a queued command as a dead letter that says why it was not applied.
type Bury func(ctx context.Context, m *jetstream.RawStreamMsg, why error) error

// NewTraces returns what sessions leave in the streams of tasks, leases, queued
// commands and dead letters.
func NewTraces(js jetstream.JetStream, names contract.Names, bury Bury) Traces {
	return &streamTraces{js: js, names: names, bury: bury}
}

// kind is a stream of traces.
type kind struct {
	reason contract.CleanupReason
	stream string
	// root begins its subjects, before is how many tokens stand between that and
	// the user, after how many follow the session.
	root          string
	before, after int
}

func (s *streamTraces) kinds() []kind {
	root := func(token string) string { return s.names.Prefix() + "." + token + "." }
	return []kind{
		{contract.ReasonTask, s.names.WorkStream(), root("work"), 1, 2},
		{contract.ReasonLease, s.names.LeaseStream(), root("lease"), 0, 3},
		{contract.ReasonBlock, "KV_" + s.names.HistoryBucket(), "$KV." + s.names.HistoryBucket() + ".", 0, 1},
		{contract.ReasonQueued, s.names.QueueStream(), root("queue"), 0, -1},
		{contract.ReasonDeadLetter, s.names.DeadStream(), root("dead"), 0, -1},
	}
}

// key reads the session from a subject; false if the subject is not of the kind.
func (s *streamTraces) key(k kind, subject string) (eventstore.Key, bool) {
	rest, ok := strings.CutPrefix(subject, k.root)
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) < k.before+3 || k.after >= 0 && len(tokens) != k.before+2+k.after {
		return eventstore.Key{}, false
	}
	user, err := contract.ParseUserToken(tokens[k.before])
	session := tokens[k.before+1]
	plain := !strings.ContainsAny(rest, "*>")
	return eventstore.Key{User: user, Session: session}, err == nil && domain.ValidID(session) && plain
}

// Find reads the subjects of the streams, all dead letters, and the queued
// commands of the sessions that are asked for.
func (s *streamTraces) Find(ctx context.Context, of func(eventstore.Key) bool, fn func(Trace) error) error {
	wanted := func(t Trace) error {
		if !of(t.Key) {
			return nil
		}
		return fn(t)
	}
	for _, k := range s.kinds() {
		stream, err := s.js.Stream(ctx, k.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		switch {
		case err != nil:
		case k.reason == contract.ReasonDeadLetter:
			err = s.letters(ctx, k, stream, wanted)
		case k.reason == contract.ReasonQueued:
			err = s.subjects(ctx, k, stream, func(t Trace) error {
				if !of(t.Key) {
					return nil
				}
				return queued(ctx, stream, t, fn)
			})
		default:
			err = s.subjects(ctx, k, stream, wanted)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", k.stream, err)
		}
	}
	return nil
}

func (s *streamTraces) subjects(ctx context.Context, k kind, stream jetstream.Stream, fn func(Trace) error) error {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(k.root+">"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		if key, ok := s.key(k, subject); ok {
			if err := fn(Trace{Reason: k.reason, Key: key, Subject: subject}); err != nil {
				return err
			}
		}
	}
	return nil
}

// queued calls fn for every command on the subject of a trace. They are read one
// by one: no second consumer may read from a work queue.
func queued(ctx context.Context, stream jetstream.Stream, t Trace, fn func(Trace) error) error {
	for {
		m, err := stream.GetMsg(ctx, t.Seq+1, jetstream.WithGetMsgSubject(t.Subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		t.Seq, t.Time = m.Sequence, m.Time.UTC()
		if err := fn(t); err != nil {
			return err
		}
	}
}

// letters reads the dead letters that are there now.
func (s *streamTraces) letters(ctx context.Context, k kind, stream jetstream.Stream, fn func(Trace) error) error {
	last := stream.CachedInfo().State
	if last.Msgs == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(tracesPull), jetstream.PullHeartbeat(tracesHeartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(tracesPatience))
		if errors.Is(err, nats.ErrTimeout) {
			info, err := consumer.Info(ctx)
			if err != nil || info.NumPending == 0 {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		at, err := m.Metadata()
		if err != nil {
			return err
		}
		if key, ok := s.key(k, m.Subject()); ok {
			t := Trace{Reason: k.reason, Key: key, Subject: m.Subject(), Seq: at.Sequence.Stream, Time: at.Timestamp.UTC()}
			if err := fn(t); err != nil {
				return err
			}
		}
		if at.NumPending == 0 || at.Sequence.Stream >= last.LastSeq {
			return nil
		}
	}
}

// Remove removes a trace. What it says is checked: it may come from a plan that
// somebody wrote.
func (s *streamTraces) Remove(ctx context.Context, t Trace, why error) error {
	for _, k := range s.kinds() {
		if k.reason != t.Reason {
			continue
		}
		if key, ok := s.key(k, t.Subject); !ok || key != t.Key {
			return fmt.Errorf("%.120q is no subject of session %s in stream %s", t.Subject, t.Key, k.stream)
		}
		stream, err := s.js.Stream(ctx, k.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t.Reason {
		case contract.ReasonQueued:
			return removeMessage(ctx, stream, t, func(m *jetstream.RawStreamMsg) error { return s.bury(ctx, m, why) })
		case contract.ReasonDeadLetter:
			return removeMessage(ctx, stream, t, func(*jetstream.RawStreamMsg) error { return nil })
		default:
			return stream.Purge(ctx, jetstream.WithPurgeSubject(t.Subject))
		}
	}
	return fmt.Errorf("%.40q is no trace", string(t.Reason))
}

// removeMessage removes the message of a trace, unless first fails.
func removeMessage(ctx context.Context, stream jetstream.Stream, t Trace, first func(*jetstream.RawStreamMsg) error) error {
	m, err := stream.GetMsg(ctx, t.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Subject != t.Subject {
		return fmt.Errorf("message %d is on %s, not on %s", t.Seq, m.Subject, t.Subject)
	}
	if err := first(m); err != nil {
		return err
	}
	err = stream.DeleteMsg(ctx, t.Seq)
	if err == nil {
		return nil
	}
	if _, gone := stream.GetMsg(ctx, t.Seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return nil // somebody was first
	}
	return err
}
