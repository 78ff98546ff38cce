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
	// tracesPatience is how long the next one may take before the server is
	// asked whether there is one.
	tracesPatience = time.Second
)

// streamTraces are the streams beside the events.
type streamTraces struct {
	js    jetstream.JetStream
	names contract.Names
}

// NewTraces returns what sessions leave in the streams of tasks, leases, queued
// commands and dead letters.
func NewTraces(js jetstream.JetStream, names contract.Names) Traces {
	return &streamTraces{js: js, names: names}
}

// kind is a stream of traces.
type kind struct {
	reason contract.CleanupReason
	stream string
	// token is the second one of its subjects, before is how many tokens stand
	// between that and the user, after how many follow the session.
	token         string
	before, after int
}

func (s *streamTraces) kinds() []kind {
	return []kind{
		{contract.ReasonTask, s.names.WorkStream(), "work", 1, 2},
		{contract.ReasonLease, s.names.LeaseStream(), "lease", 0, 3},
		{contract.ReasonQueued, s.names.QueueStream(), "queue", 0, -1},
		{contract.ReasonDeadLetter, s.names.DeadStream(), "dead", 0, -1},
	}
}

// key reads the session from a subject; false if the subject is not of the kind.
func (s *streamTraces) key(k kind, subject string) (eventstore.Key, bool) {
	rest, ok := strings.CutPrefix(subject, s.names.Prefix()+"."+k.token+".")
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) < k.before+3 || k.after >= 0 && len(tokens) != k.before+2+k.after {
		return eventstore.Key{}, false
	}
	user, err := contract.ParseUserToken(tokens[k.before])
	session := tokens[k.before+1]
	plain := !strings.ContainsAny(rest, "*>")
	return eventstore.Key{User: user, Session: session}, err == nil && domain.ValidID(session) && plain
}

// Find reads the subjects of the streams, and all dead letters.
func (s *streamTraces) Find(ctx context.Context, fn func(Trace) error) error {
	for _, k := range s.kinds() {
		stream, err := s.js.Stream(ctx, k.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err == nil && k.reason == contract.ReasonDeadLetter {
			err = s.letters(ctx, k, stream, fn)
		} else if err == nil {
			err = s.subjects(ctx, k, stream, fn)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", k.stream, err)
		}
	}
	return nil
}

func (s *streamTraces) subjects(ctx context.Context, k kind, stream jetstream.Stream, fn func(Trace) error) error {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.names.Prefix()+"."+k.token+".>"))
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
	messages, err := consumer.Messages(jetstream.PullMaxMessages(tracesPull))
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

// Remove removes a task, a lease or a dead letter. What the trace says is
// checked: it may come from a plan that somebody wrote.
func (s *streamTraces) Remove(ctx context.Context, t Trace) error {
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
		if t.Reason == contract.ReasonDeadLetter {
			return removeLetter(ctx, stream, t)
		}
		return stream.Purge(ctx, jetstream.WithPurgeSubject(t.Subject))
	}
	return fmt.Errorf("%.40q is no trace", string(t.Reason))
}

func removeLetter(ctx context.Context, stream jetstream.Stream, t Trace) error {
	m, err := stream.GetMsg(ctx, t.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Subject != t.Subject {
		return fmt.Errorf("dead letter %d is on %s, not on %s", t.Seq, m.Subject, t.Subject)
	}
	return stream.DeleteMsg(ctx, t.Seq)
}
