package chronicle

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/domain"
	"reprise/eventstore"
)

// Each calls do for everything that a stream holds now, until that fails. A message
// may take as long as patience to come.
func Each(ctx context.Context, js jetstream.JetStream, stream string, patience time.Duration, do func(msg jetstream.Msg, seq uint64) error) error {
	s, err := js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().State.Msgs == 0 {
		return err
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err == nil {
			err = do(msg, meta.Sequence.Stream)
		}
		if err != nil || meta.NumPending == 0 {
			return err
		}
	}
}

// View is the JSON of a session's view.
type View struct {
	Schema int    `json:"schema"`
	Seq    uint64 `json:"seq"`
	Hash   string `json:"hash"`
	*domain.Session
}

// view makes the view that a tale must have; nil if it must have none.
func (s *Tale) view() ([]byte, error) {
	if !s.Session.Exists() {
		return nil, nil
	}
	kept := *s.Session
	kept.Recent = kept.Recent[max(0, len(kept.Recent)-domain.RecentMin):]
	return domain.Marshal(View{Schema: eventstore.SchemaVersion, Seq: s.Seq, Hash: s.Hash, Session: &kept})
}

// Views returns the views that the bucket must hold, by key: of every session that
// exists, byte for byte the fold of its events.
func (c *Chronicle) Views() (map[string][]byte, error) {
	want := map[string][]byte{}
	for key, tale := range c.Tales {
		raw, err := tale.view()
		if err != nil {
			return nil, err
		}
		if raw != nil {
			want[key.String()] = raw
		}
	}
	return want, nil
}

// SameViews returns how the views of a bucket differ from those it must hold; nil if
// they don't.
func SameViews(ctx context.Context, kv jetstream.KeyValue, want map[string][]byte) error {
	watcher, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	seen := 0
	for entry := range watcher.Updates() {
		if entry == nil {
			break
		}
		if strings.HasPrefix(entry.Key(), "_") {
			continue // the projection's own notes
		}
		if expected := want[entry.Key()]; !bytes.Equal(entry.Value(), expected) {
			return fmt.Errorf("the view %s is\n%s\nthe events say\n%s", entry.Key(), entry.Value(), expected)
		}
		seen++
	}
	if seen != len(want) {
		return fmt.Errorf("there are %d views; the events say %d", seen, len(want))
	}
	return nil
}
