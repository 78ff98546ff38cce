package projections

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

const (
	// checkpointKey is where the checkpoint is, among the views: async
	// persistence may lose the tail of a stream, and with it then the
	// checkpoint that would cover more than is there.
	checkpointKey = "_checkpoint"
	// The headers of a KV bucket's markers.
	headerOperation = "KV-Operation"
	headerRollup    = "Nats-Rollup"
	opPurge         = "PURGE"
	rollupSubject   = "sub"
	// scanBuffer is how many messages a scan has in flight.
	scanBuffer = 4096
	// scanHeartbeat is the server's sign of life while a scan waits; after two that
	// are missed the library asks again for what comes next, as a request may be
	// lost where the servers of a cluster do not know of a new consumer yet.
	scanHeartbeat = time.Second
	// scanPatience is how long a scan waits for the next message before it asks
	// whether there is one: longer than two heartbeats, since each wait counts its
	// own.
	scanPatience = 3 * time.Second
	// maxScanWaits bounds how often in a row it asks and waits on, for a replica that
	// is behind.
	maxScanWaits    = 20
	kvSubjectPrefix = "$KV."
	kvStreamPrefix  = "KV_"
)

// KVConfig says where the views are in JetStream.
type KVConfig struct {
	// Bucket is the name of the KV bucket; contract.Names.SessionsBucket, or
	// HistoryBucket for blocks.
	Bucket string
	// Description is that of its stream; there is a default.
	Description string
	// Replicas is 1 if 0. On one replica in files the bucket is persisted
	// asynchronously: what a crash loses is written again from the events.
	Replicas int
	// Memory keeps the bucket in memory.
	Memory bool
	// Direct are more connections for reading single views, in turn; those for
	// reading if there are none. The server answers such reads of one connection
	// one after another, and takes many milliseconds for what it has to fetch from
	// disk.
	Direct []*nats.Conn
	// New makes the JetStream API on a connection; jetstream.New if nil. Servers
	// behind a JetStream domain or API prefix need another.
	New func(*nats.Conn, ...jetstream.JetStreamOpt) (jetstream.JetStream, error)
}

// stream returns the configuration of the bucket's stream: what a client makes
// for a KV bucket with a history of one, but for the persistence.
func (c KVConfig) stream() jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: kvStreamPrefix + c.Bucket, Subjects: []string{kvSubjectPrefix + c.Bucket + ".>"},
		Description:       cmp.Or(c.Description, "Session views of Reprise; derived from the events, do not write"),
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
		AllowRollup: true, DenyDelete: true, AllowDirect: true, Discard: jetstream.DiscardNew,
		Replicas: max(c.Replicas, 1),
	}
	switch {
	case c.Memory:
		cfg.Storage = jetstream.MemoryStorage
	case cfg.Replicas == 1:
		cfg.PersistMode = jetstream.AsyncPersistMode
	}
	return cfg
}

// KVViews is a ViewStore in a KV bucket that ordinary KV clients can read and
// watch. It is safe for concurrent use.
type KVViews struct {
	bucket  string
	remake  func(context.Context) error // makes the bucket if it is missing
	read    jetstream.Stream
	singles *inTurn
	write   jetstream.JetStream
	limit   int64 // bytes of one message
	// end asks the leader for the sequence of the last message, 0 if there is none.
	end func(context.Context) (uint64, error)
}

// OpenKV makes the bucket or checks the one that is there; settings that do not
// fit are ErrSettings. Writes go through the second connection, so that reads
// don't wait behind them; both may be the same. The one for writing should have
// no reconnect buffer, so that nothing is sent long after it was given up.
func OpenKV(ctx context.Context, read, write *nats.Conn, cfg KVConfig) (*KVViews, error) {
	if cfg.New == nil {
		cfg.New = jetstream.New
	}
	js, err := cfg.New(read)
	if err != nil {
		return nil, fmt.Errorf("projections: %w", err)
	}
	writer, err := cfg.New(write, jetstream.WithPublishAsyncMaxPending(2*writeWindow), jetstream.WithPublishAsyncTimeout(ackPatience(cfg.Replicas)))
	if err != nil {
		return nil, fmt.Errorf("projections: %w", err)
	}
	stream, err := ensureBucket(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	remake := func(ctx context.Context) error {
		_, err := ensureBucket(ctx, js, cfg)
		return err
	}
	singles, err := openInTurn(ctx, stream, cfg)
	if err != nil {
		return nil, err
	}
	return &KVViews{bucket: cfg.Bucket, remake: remake, read: stream, singles: singles, write: writer, limit: write.MaxPayload(), end: endOf(js, cfg)}, nil
}

// inTurn is the bucket's stream over several connections.
type inTurn struct {
	streams []jetstream.Stream
	turn    atomic.Uint32
}

func (i *inTurn) next() jetstream.Stream {
	return i.streams[int(i.turn.Add(1))%len(i.streams)]
}

// openInTurn opens the stream over the connections of Direct; without any it is
// the one that is open.
func openInTurn(ctx context.Context, open jetstream.Stream, cfg KVConfig) (*inTurn, error) {
	if len(cfg.Direct) == 0 {
		return &inTurn{streams: []jetstream.Stream{open}}, nil
	}
	all := &inTurn{}
	for _, nc := range cfg.Direct {
		js, err := cfg.New(nc)
		if err != nil {
			return nil, fmt.Errorf("projections: %w", err)
		}
		stream, err := js.Stream(ctx, cfg.stream().Name)
		if err != nil {
			return nil, fmt.Errorf("projections: open the view bucket %s: %w", cfg.Bucket, err)
		}
		all.streams = append(all.streams, stream)
	}
	return all, nil
}

func ensureBucket(ctx context.Context, js jetstream.JetStream, cfg KVConfig) (jetstream.Stream, error) {
	want := cfg.stream()
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("projections: open the view bucket %s: %w", cfg.Bucket, err)
	}
	return stream, checkBucket(stream.CachedInfo().Config, want)
}

// checkBucket compares what the views rely on.
func checkBucket(have, want jetstream.StreamConfig) error {
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	check(have.MaxMsgsPerSubject == 1, "its history is %d and has to be 1", have.MaxMsgsPerSubject)
	check(have.AllowRollup, "roll-ups have to be allowed")
	check(have.AllowDirect, "direct gets have to be allowed")
	check(!have.DenyPurge, "purges have to be allowed")
	check(have.MaxAge == 0, "its values expire after %s and must not", have.MaxAge)
	check(have.MaxMsgs <= 0 && have.MaxBytes <= 0, "it is bounded to %d messages and %d bytes and must not be", have.MaxMsgs, have.MaxBytes)
	check(have.Storage == want.Storage, "it is kept in %s storage and has to be in %s", have.Storage, want.Storage)
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: bucket stream %s: %w; delete it, the views are written anew from the events", ErrSettings, want.Name, errors.Join(wrong...))
}

func (k *KVViews) subject(key string) string { return kvSubjectPrefix + k.bucket + "." + key }

// Get returns one view, or ErrNoView.
func (k *KVViews) Get(ctx context.Context, key string) (View, error) {
	msg, err := k.singles.next().GetLastMsgForSubject(ctx, k.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Header.Get(headerOperation) != "" {
		return View{}, ErrNoView
	}
	if err != nil {
		return View{}, fmt.Errorf("read view %s: %w", key, err)
	}
	return View{Key: key, Body: msg.Data, Index: []byte(msg.Header.Get(contract.HeaderIndex))}, nil
}

// Checkpoint returns the last checkpoint; one that can't be read counts as none.
func (k *KVViews) Checkpoint(ctx context.Context) (Checkpoint, error) {
	view, err := k.Get(ctx, checkpointKey)
	if errors.Is(err, ErrNoView) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, err
	}
	var c Checkpoint
	if json.Unmarshal(view.Body, &c) != nil {
		return Checkpoint{}, nil //nolint:nilerr // everything is folded again then
	}
	return c, nil
}

// Scan reads the bucket from its beginning to its end.
func (k *KVViews) Scan(ctx context.Context, bodies bool, fn func(View) error) error {
	info, err := k.read.Info(ctx)
	if err != nil {
		return fmt.Errorf("read the view bucket: %w", err)
	}
	if info.State.Msgs == 0 {
		return nil
	}
	// Without a filter, which the server would compare with every key.
	consumer, err := k.read.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, HeadersOnly: !bodies,
	})
	if err != nil {
		return fmt.Errorf("read the view bucket: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(scanBuffer), jetstream.PullHeartbeat(scanHeartbeat))
	if err != nil {
		return fmt.Errorf("read the view bucket: %w", err)
	}
	defer messages.Stop()
	if err := k.drain(ctx, info.State.LastSeq, messages, fn); err != nil {
		return fmt.Errorf("read the view bucket: %w", err)
	}
	return nil
}

// errReplicaBehind: the replica that has the consumer does not catch up.
var errReplicaBehind = errors.New("the replica that was asked lacks views that the leader has, and does not get them")

// drain calls fn for every view up to a sequence and on until nothing is
// pending. What the server says is pending counts only behind that sequence:
// while views are overwritten it may say none too early. What was pending may be
// purged too, and a replica may be behind; so when nothing comes the leader is asked.
func (k *KVViews) drain(ctx context.Context, end uint64, messages jetstream.MessagesContext, fn func(View) error) error {
	var seen uint64
	for waits := 0; waits < maxScanWaits; {
		if err := ctx.Err(); err != nil {
			return err
		}
		msg, err := messages.Next(jetstream.NextMaxWait(scanPatience))
		if errors.Is(err, nats.ErrTimeout) {
			if last, err := k.end(ctx); err != nil || last <= seen {
				return err
			}
			waits++
			continue
		}
		if err != nil {
			return err
		}
		waits = 0
		if view, ok := k.view(msg); ok {
			if err := fn(view); err != nil {
				return err
			}
		}
		at, err := msg.Metadata()
		if err != nil || at.Sequence.Stream >= end && at.NumPending == 0 {
			return err
		}
		seen = at.Sequence.Stream
	}
	return errReplicaBehind
}

// view reads a message of the bucket; false for markers and the checkpoint.
func (k *KVViews) view(msg jetstream.Msg) (View, bool) {
	key, ours := strings.CutPrefix(msg.Subject(), k.subject(""))
	if !ours || key == checkpointKey || msg.Headers().Get(headerOperation) != "" {
		return View{}, false
	}
	return View{Key: key, Body: msg.Data(), Index: []byte(msg.Headers().Get(contract.HeaderIndex))}, true
}
