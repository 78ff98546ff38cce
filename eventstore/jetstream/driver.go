package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
)

// The defaults and bounds of Config.
const (
	// DefaultInFlight is how many appends may wait for the server at once. Above
	// 100,000 queued the server drops messages.
	DefaultInFlight = 4096
	// MaxInFlight is the most that may be configured.
	MaxInFlight = 32768
	// DefaultTimeout is how long an append waits for the server's answer.
	DefaultTimeout = 5 * time.Second
	// maxBatches is how many atomic batches are in flight at once; the server
	// refuses more than 50 for one stream.
	maxBatches = 16
	// maxBatchRecords is how many messages the server takes in one batch.
	maxBatchRecords = 1000
)

// The headers of an atomic batch.
const (
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// Config configures a Driver. Write, Read and Names are needed.
type Config struct {
	// Write is for appends alone, made with WriteOptions; Read for all else.
	// They stay the caller's, who closes them after the driver.
	Write, Read *nats.Conn
	// Direct are more connections for reading single messages, in turn; Read if
	// there are none. The server answers such reads of one connection one after
	// another, and takes many milliseconds for what it has to fetch from disk.
	Direct []*nats.Conn
	// JetStream is the API on Read; it is needed only where the server is
	// reached under a JetStream domain or API prefix.
	JetStream js.JetStream
	Names     contract.Names
	// InFlight bounds the appends that wait for the server; 0 means DefaultInFlight.
	InFlight int
	// Timeout is how long an append waits for the server; 0 means DefaultTimeout.
	Timeout time.Duration
	// GroupCommit lets appends that wait at the same time share the syncs to
	// disk: they are written as atomic batches. It pays where the server syncs
	// every write (sync_always) of a stream on file with one replica, and costs
	// elsewhere; on a stream in memory or with several replicas it does nothing.
	GroupCommit bool
	// CheapBatches says that the server stages batches in memory, so that a small
	// group is worth one too (ADR 0020).
	CheapBatches bool
}

// Driver keeps the events in a stream. All methods are safe for concurrent use.
type Driver struct {
	names       contract.Names
	stream      string
	incarnation string
	replicas    int
	durable     bool

	publisher *publisher
	batches   chan struct{}
	group     *committer // nil: every append goes by itself
	read      *nats.Conn
	singles   []*nats.Conn
	turn      atomic.Uint32 // of singles
	js        js.JetStream
	api       string // the prefix of API subjects, with the dot at its end
}

var _ eventstore.Driver = (*Driver)(nil)

// Open makes a driver for a stream that EnsureStream has made or checked. It
// holds one subscription until Close.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	d := &Driver{
		names: cfg.Names, stream: cfg.Names.EventsStream(), read: cfg.Read, singles: cfg.Direct, js: cfg.JetStream,
		batches: make(chan struct{}, maxBatches), api: apiPrefix(cfg.JetStream),
	}
	if len(d.singles) == 0 {
		d.singles = []*nats.Conn{cfg.Read}
	}
	stream, err := d.js.Stream(ctx, d.stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", d.stream, unavailable(err))
	}
	config := stream.CachedInfo().Config
	d.incarnation, d.replicas = config.Metadata[metadataIncarnation], config.Replicas
	d.durable = config.Storage == js.FileStorage
	if d.incarnation == "" {
		return nil, fmt.Errorf("stream %s has no incarnation in its metadata; EnsureStream makes one that has", d.stream)
	}
	if err := d.dropHalfPair(ctx, stream); err != nil {
		return nil, fmt.Errorf("stream %s: %w", d.stream, err)
	}
	if d.publisher, err = newPublisher(cfg.Write, cfg.InFlight, cfg.Timeout); err != nil {
		return nil, err
	}
	if cfg.GroupCommit && d.durable && d.replicas == 1 {
		d.group = &committer{log: driverLog{d}, timeout: cfg.Timeout, least: minGroup}
		if cfg.CheapBatches {
			d.group.least = minCheapGroup
		}
	}
	if err := d.probe(ctx); err != nil {
		_ = d.Close() // the probe's error counts
		return nil, err
	}
	return d, nil
}

// The probe of the way to the stream.
const (
	probeTimeout = 10 * time.Second
	probePause   = 50 * time.Millisecond
)

// probe sends an append whose guard can't hold until the stream refuses it:
// that shows that appends get there, which on a replicated stream takes a moment
// after it was made. Nothing is stored.
func (d *Driver) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	impossible := eventstore.Record{Key: eventstore.Key{User: "reprise", Session: "probe"}, Guard: eventstore.ExpectLast(math.MaxInt64)}
	for {
		_, err := d.Append(ctx, []eventstore.Record{impossible})
		if errors.Is(err, eventstore.ErrConflict) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stream %s: no append gets through: %w", d.stream, err)
		case <-time.After(probePause):
		}
	}
}

// complete checks the configuration and fills in defaults.
func (cfg *Config) complete() error {
	var errs []error
	if cfg.Write == nil || cfg.Read == nil || cfg.Write == cfg.Read {
		errs = append(errs, errors.New("jetstream: Config needs two connections, Write and Read, so that reads don't wait behind writes"))
	}
	if cfg.Names == (contract.Names{}) {
		errs = append(errs, errors.New("jetstream: Config.Names is missing; use contract.NewNames"))
	}
	if cfg.InFlight < 0 || cfg.InFlight > MaxInFlight {
		errs = append(errs, fmt.Errorf("jetstream: Config.InFlight is %d; use 1 to %d, or 0 for the default", cfg.InFlight, MaxInFlight))
	}
	if cfg.Timeout < 0 {
		errs = append(errs, fmt.Errorf("jetstream: Config.Timeout is %s; use a positive one, or 0 for the default", cfg.Timeout))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = DefaultInFlight
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	var err error
	if cfg.JetStream == nil {
		cfg.JetStream, err = js.New(cfg.Read)
	}
	return err
}

// apiPrefix returns where requests go: the default, or under a domain or prefix.
func apiPrefix(api js.JetStream) string {
	switch o := api.Options(); {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return js.DefaultAPIPrefix
}

// Close ends the subscription to acknowledgements. Appends under way end as
// unknown. It may be called once.
func (d *Driver) Close() error { return d.publisher.close() }

// Features says whether the stream is on file and has several replicas.
func (d *Driver) Features() eventstore.Features {
	return eventstore.Features{Durable: d.durable, Replicated: d.replicas > 1}
}

// Append stores one record by a guarded publish, several by an atomic batch.
func (d *Driver) Append(ctx context.Context, records []eventstore.Record) ([]uint64, error) {
	if err := eventstore.CheckRecords(records); err != nil {
		return nil, err
	}
	if err := d.publisher.acquire(ctx); err != nil {
		return nil, err
	}
	defer d.publisher.release()
	if len(records) > 1 {
		return d.appendBatch(ctx, records)
	}
	if d.group != nil {
		seq, err := d.group.append(ctx, &records[0])
		return []uint64{seq}, err
	}
	return d.appendOne(ctx, &records[0])
}

// appendOne stores one record by a guarded publish.
func (d *Driver) appendOne(ctx context.Context, record *eventstore.Record) ([]uint64, error) {
	t, err := d.publisher.send(d.message(record))
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", record.Key, err)
	}
	seq, err := t.wait(ctx)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", record.Key, err)
	}
	return []uint64{seq}, nil
}

// message is a record with its guard.
func (d *Driver) message(r *eventstore.Record) *nats.Msg {
	h := make(nats.Header, len(r.Header)+1) // up to 8, the usual ones, are cheap
	values := make([]string, 0, len(r.Header)+1)
	for k, v := range r.Header {
		values = append(values, v)
		h[k] = values[len(values)-1 : len(values) : len(values)]
	}
	seq, _ := r.Guard.Seq()
	h[contract.HeaderGuard] = []string{strconv.FormatUint(seq, 10)}
	return &nats.Msg{Subject: d.names.Event(r.Key.User, r.Key.Session), Header: h, Data: r.Body}
}

// appendBatch stores several records by one atomic batch.
func (d *Driver) appendBatch(ctx context.Context, records []eventstore.Record) ([]uint64, error) {
	if len(records) > maxBatchRecords {
		return nil, fmt.Errorf("an append of %d records: the server takes up to %d at once", len(records), maxBatchRecords)
	}
	batch := make([]*eventstore.Record, len(records))
	for i := range records {
		batch[i] = &records[i]
	}
	seq, err := d.storeBatch(ctx, pairID(), batch)
	if err != nil {
		return nil, err
	}
	seqs := make([]uint64, len(records))
	for i := range seqs {
		seqs[i] = seq - uint64(len(seqs)-1-i)
	}
	return seqs, nil
}

// storeBatch stores records by one atomic batch and returns the sequence of the
// last; the others come right before it. The server checks all guards when it
// commits; if one fails it stores nothing and does not say which.
func (d *Driver) storeBatch(ctx context.Context, id string, records []*eventstore.Record) (uint64, error) {
	select {
	case d.batches <- struct{}{}:
		defer func() { <-d.batches }()
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %d batches are in flight: %w", eventstore.ErrUnavailable, maxBatches, ctx.Err())
	}
	first, last, err := d.sendBatch(id, records)
	if err != nil {
		return 0, err
	}
	if _, err := first.wait(ctx); err != nil && !errors.Is(err, eventstore.ErrUnknownOutcome) {
		last.forget()
		return 0, fmt.Errorf("sessions %s and others: %w", records[0].Key, err)
	}
	seq, err := last.wait(ctx)
	if err != nil {
		return 0, fmt.Errorf("sessions %s and others: %w", records[0].Key, err)
	}
	return seq, nil
}

// sendBatch publishes the messages of a batch. The answer to the first says
// whether the server opened it, that to the last whether it committed it. When
// sending fails in the middle the batch is never committed and the server drops
// it after 10 seconds.
func (d *Driver) sendBatch(id string, records []*eventstore.Record) (first, last ticket, err error) {
	for i := range records {
		msg := d.message(records[i])
		msg.Header[headerBatchID] = []string{id}
		msg.Header[headerBatchSequence] = []string{strconv.Itoa(i + 1)}
		switch i {
		case 0:
			first, err = d.publisher.send(msg)
		case len(records) - 1:
			msg.Header[headerBatchCommit] = []string{"1"}
			last, err = d.publisher.send(msg)
		default:
			err = publishOnly(d.publisher.nc, msg)
		}
		if err != nil {
			if i > 0 {
				first.forget()
			}
			return first, last, fmt.Errorf("session %s: %w", records[i].Key, err)
		}
	}
	return first, last, nil
}

func publishOnly(nc *nats.Conn, msg *nats.Msg) error {
	if err := nc.PublishMsg(msg); err != nil {
		return publishError(err)
	}
	return nil
}
