package projections

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/eventstore"
)

// BlockStore keeps history blocks. Every block is the same whoever makes it, so
// writers need no fence. All methods are safe for concurrent use.
type BlockStore interface {
	eventstore.Blocks
	// Put keeps a block.
	Put(ctx context.Context, b eventstore.Block) error
	// Remove removes all blocks of a session.
	Remove(ctx context.Context, key eventstore.Key) error
	// Wipe removes everything.
	Wipe(ctx context.Context) error
}

// KVBlocks is a BlockStore in a KV bucket, under <user>.<session>.<number>. It is
// safe for concurrent use.
type KVBlocks struct {
	bucket string
	read   jetstream.Stream
	write  jetstream.JetStream
	remake func(context.Context) error
}

var _ BlockStore = (*KVBlocks)(nil)

// OpenKVBlocks makes the bucket or checks the one that is there; settings that do
// not fit are ErrSettings. The connections are as those of OpenKV.
func OpenKVBlocks(ctx context.Context, read, write *nats.Conn, cfg KVConfig) (*KVBlocks, error) {
	if cfg.New == nil {
		cfg.New = jetstream.New
	}
	js, err := cfg.New(read)
	if err != nil {
		return nil, fmt.Errorf("projections: %w", err)
	}
	writer, err := cfg.New(write)
	if err != nil {
		return nil, fmt.Errorf("projections: %w", err)
	}
	cfg.Description = "History blocks of Reprise; derived from the events, do not write"
	stream, err := ensureBucket(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	remake := func(ctx context.Context) error {
		_, err := ensureBucket(ctx, js, cfg)
		return err
	}
	return &KVBlocks{bucket: cfg.Bucket, read: stream, write: writer, remake: remake}, nil
}

func (k *KVBlocks) subject(key eventstore.Key, number string) string {
	return kvSubjectPrefix + k.bucket + "." + key.String() + "." + number
}

// Block returns a block, or ErrNotFound of package eventstore.
func (k *KVBlocks) Block(ctx context.Context, key eventstore.Key, number uint64) ([]byte, error) {
	msg, err := k.read.GetLastMsgForSubject(ctx, k.subject(key, strconv.FormatUint(number, 10)))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Header.Get(headerOperation) != "" {
		return nil, eventstore.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read block %d of session %s: %w", number, key, err)
	}
	return msg.Data, nil
}

// Put keeps a block. A bucket that somebody deleted is made again.
func (k *KVBlocks) Put(ctx context.Context, b eventstore.Block) error {
	subject := k.subject(b.Key, strconv.FormatUint(b.Number, 10))
	_, err := k.write.Publish(ctx, subject, b.Body)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		if err = k.remake(ctx); err == nil {
			_, err = k.write.Publish(ctx, subject, b.Body)
		}
	}
	if err != nil {
		return fmt.Errorf("write block %d of session %s: %w", b.Number, b.Key, err)
	}
	return nil
}

// Remove purges the subjects of a session, so that no markers are left.
func (k *KVBlocks) Remove(ctx context.Context, key eventstore.Key) error {
	return k.purge(ctx, jetstream.WithPurgeSubject(k.subject(key, "*")))
}

// Wipe purges the bucket.
func (k *KVBlocks) Wipe(ctx context.Context) error { return k.purge(ctx) }

func (k *KVBlocks) purge(ctx context.Context, opts ...jetstream.StreamPurgeOpt) error {
	err := k.read.Purge(ctx, opts...)
	if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return fmt.Errorf("remove history blocks: %w", err)
}
