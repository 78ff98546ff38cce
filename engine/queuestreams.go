package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

const (
	// queueAge is how long a queued command waits for an engine at most; it is
	// below the age of tombstones, so that none can bring a dead id back.
	queueAge = 30 * 24 * time.Hour
	// deadAge is how long a dead letter is kept.
	deadAge = 90 * 24 * time.Hour
	// dedupeWindow is how long the server remembers message ids.
	dedupeWindow = 2 * time.Minute
)

// queueStreams are the streams of queued commands and of dead letters.
type queueStreams struct {
	queue, dead jetstream.Stream
	// incarnation names this queue; one that is made anew has another.
	incarnation string
}

// messageID names a message of this queue.
func (s queueStreams) messageID(seq uint64) string {
	return fmt.Sprintf("queue-%s-%d", s.incarnation, seq)
}

// ensureQueueStreams makes both streams, or checks that those that are there
// will do.
func ensureQueueStreams(ctx context.Context, js jetstream.JetStream, names contract.Names, storage jetstream.StorageType, replicas int, now time.Time) (queueStreams, error) {
	queue, err := ensureStream(ctx, js, jetstream.StreamConfig{
		Name: names.QueueStream(), Subjects: []string{names.Prefix() + "." + forQueue + ".>"},
		Description: "Reprise: commands to be applied in order",
		Retention:   jetstream.WorkQueuePolicy, Storage: storage, Replicas: replicas,
		MaxAge: queueAge, Duplicates: dedupeWindow,
		// Sequences go on rising when the stream is made anew: sessions remember
		// the last one they applied.
		FirstSeq: uint64(now.UnixMilli()),
	})
	if err != nil {
		return queueStreams{}, err
	}
	dead, err := ensureStream(ctx, js, jetstream.StreamConfig{
		Name: names.DeadStream(), Subjects: []string{names.Prefix() + "." + forDead + ".>"},
		Description: "Reprise: queued commands that were rejected, with the reason",
		Retention:   jetstream.LimitsPolicy, Storage: storage, Replicas: replicas,
		MaxAge: deadAge, Duplicates: dedupeWindow, AllowDirect: true,
	})
	if err != nil {
		return queueStreams{}, err
	}
	created := queue.CachedInfo().Created.UTC()
	return queueStreams{queue: queue, dead: dead, incarnation: fmt.Sprintf("%x", created.UnixNano())}, nil
}

// ensureStream makes a stream, or opens and checks one that is there.
func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another engine was first
			stream, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	if err := fits(stream.CachedInfo().Config, want); err != nil {
		return nil, fmt.Errorf("stream %s does not fit: %w", want.Name, err)
	}
	return stream, nil
}

// fits says in which settings that matter a stream differs.
func fits(have, want jetstream.StreamConfig) error {
	var errs []error
	differs := func(setting string, have, want any) {
		errs = append(errs, fmt.Errorf("its %s is %v and has to be %v", setting, have, want))
	}
	if !slices.Equal(have.Subjects, want.Subjects) {
		differs("subjects", have.Subjects, want.Subjects)
	}
	if have.Retention != want.Retention {
		differs("retention", have.Retention, want.Retention)
	}
	if have.Storage != want.Storage {
		differs("storage", have.Storage, want.Storage)
	}
	if have.Retention == jetstream.WorkQueuePolicy && (have.MaxAge == 0 || have.MaxAge > want.MaxAge) {
		differs("maximum age", have.MaxAge, "at most "+want.MaxAge.String())
	}
	return errors.Join(errs...)
}
