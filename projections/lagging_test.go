package projections

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lateStream is a stream whose consumers live on a replica that is behind: it has one
// message, and the others come later.
type lateStream struct{ jetstream.Stream }

func (l lateStream) OrderedConsumer(ctx context.Context, cfg jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
	c, err := l.Stream.OrderedConsumer(ctx, cfg)
	return laggingConsumer{c}, err
}

type laggingConsumer struct{ jetstream.Consumer }

func (c laggingConsumer) Info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	info, err := c.Consumer.Info(ctx)
	if err == nil {
		info.NumPending = 0
	}
	return info, err
}

func (c laggingConsumer) Messages(opts ...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	m, err := c.Consumer.Messages(opts...)
	return &laggingMessages{MessagesContext: m}, err
}

type laggingMessages struct {
	jetstream.MessagesContext
	asked int
}

func (m *laggingMessages) Next(opts ...jetstream.NextOpt) (jetstream.Msg, error) {
	if m.asked++; m.asked == 2 {
		return nil, nats.ErrTimeout
	}
	return m.MessagesContext.Next(opts...)
}

// TestScanWaitsForAReplicaThatIsBehind: lists and repairs that are made from a scan
// must not lack what the leader has.
func TestScanWaitsForAReplicaThatIsBehind(t *testing.T) {
	s := serve(t, t.TempDir())
	store, err := OpenKV(t.Context(), dial(t, s), dial(t, s), bucketConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer(t, store).Write(t.Context(), []View{put("ada.s1", 1), put("ada.s2", 2), put("ada.s3", 3)}); err != nil {
		t.Fatal(err)
	}
	store.read = lateStream{store.read}
	found := 0
	if err := store.Scan(t.Context(), true, func(View) error { found++; return nil }); err != nil || found != 3 {
		t.Errorf("the scan found %d of 3 views, %v", found, err)
	}
}

// TestScanEndsWhereThereIsNoMore: what was pending may have been removed meanwhile.
func TestScanEndsWhereThereIsNoMore(t *testing.T) {
	s := serve(t, t.TempDir())
	store, err := OpenKV(t.Context(), dial(t, s), dial(t, s), bucketConfig)
	if err != nil {
		t.Fatal(err)
	}
	if last, err := store.end(t.Context()); last != 0 || err != nil {
		t.Errorf("an empty bucket ends at %d, %v", last, err)
	}
	if err := writer(t, store).Write(t.Context(), []View{put("ada.s1", 1)}); err != nil {
		t.Fatal(err)
	}
	info, err := store.read.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last, err := store.end(t.Context()); last != info.State.LastSeq || err != nil {
		t.Errorf("the bucket ends at %d, %v; it should be %d", last, err, info.State.LastSeq)
	}
	if err := store.read.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last, err := store.end(t.Context()); last != 0 || err != nil {
		t.Errorf("a purged bucket ends at %d, %v", last, err)
	}
}
