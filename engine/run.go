package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
	esjs "reprise/eventstore/jetstream"
	"reprise/projections"
)

// drainPatience bounds how long a stopping engine answers what it has accepted.
const drainPatience = 20 * time.Second

// conns are the connections of an engine. They are separate so that no kind of
// work waits behind another: the server answers the reads of one connection in
// turn, and takes many milliseconds for what it has to fetch from disk.
type conns struct {
	requests, replies, read, write, views, work, lease *nats.Conn
	// direct are for reading single commits and views.
	direct [directConns]*nats.Conn
}

// directConns is how many reads of single messages go on at once at most.
const directConns = 4

// named returns all connections by what they are for.
func (c *conns) named() map[string]**nats.Conn {
	all := map[string]**nats.Conn{
		"requests": &c.requests, "replies": &c.replies, "read": &c.read, "write": &c.write, "views": &c.views,
		"work": &c.work, "lease": &c.lease,
	}
	for i := range c.direct {
		all[fmt.Sprintf("direct-%d", i+1)] = &c.direct[i]
	}
	return all
}

// dial opens all connections or none.
func (e *Engine) dial() (*conns, error) {
	c := &conns{}
	for name, to := range c.named() {
		options := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait)}
		if name == "write" {
			options = append(options, esjs.WriteOptions()...)
		}
		nc, err := e.cfg.Dial("reprise-"+name+"-"+e.cfg.ID, options...)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("engine: connect for %s: %w", name, err)
		}
		*to = nc
	}
	if c.requests.ConnectedClusterName() != "" {
		// Another server may have the answer before it knows that the client, who has
		// just connected, waits for one. The server that passed the request on knows.
		c.replies.Close()
		c.replies = c.requests
	}
	return c, nil
}

// reconnectWait is the pause between tries to reach a server again.
const reconnectWait = 250 * time.Millisecond

func (c *conns) close() {
	for _, nc := range c.named() {
		if *nc != nil {
			(*nc).Close()
		}
	}
}

// parts is what an engine consists of while it runs.
type parts struct {
	conns      *conns
	driver     *esjs.Driver
	store      *eventstore.Store
	views      *projections.Views
	blocks     *projections.Blocks
	index      *projections.Index
	runner     *projections.Runner
	executor   *executor
	holder     *holder
	queue      queueConfig
	work       *workStreams
	serving    *serving
	dispatcher *dispatcher
	operations *operations
	service    *service
}

// Run serves until ctx ends, which gives nil after everything accepted was
// answered, or until the store or the server fails for good. It may be called
// once.
func (e *Engine) Run(ctx context.Context) error {
	err := errors.New("engine: Run may be called once")
	e.once.Do(func() { err = e.run(ctx) })
	return err
}

func (e *Engine) run(ctx context.Context) error {
	c, err := e.dial()
	if err != nil {
		return err
	}
	defer c.close()
	p, err := e.prepare(ctx, c)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.running.Store(p)
	return errors.Join(p.serve(ctx, e), p.driver.Close())
}

// assemble makes the streams and buckets, or checks them, and the parts that
// work on them. It starts nothing. After an error it returns what there is to close.
func (e *Engine) assemble(ctx context.Context, c *conns) (*parts, error) {
	p := &parts{conns: c}
	js, err := jetstream.New(c.read)
	if err != nil {
		return p, err
	}
	viewStore, err := e.openStore(ctx, p, js)
	if err != nil {
		return p, err
	}
	if p.work, err = openWorkStreams(ctx, c.work, e.names, e.cfg.Replicas); err != nil {
		return p, err
	}
	p.serving = newServing(p.work, e.cfg.Logger)
	commander := newCommander(commanderConfig{Store: p.store, Clock: e.cfg.Clock, Logger: e.cfg.Logger})
	p.executor = &executor{lanes: newLanes(maxInFlight, maxPerSession, e.cfg.running()), commander: commander, trouble: e.cfg.Trouble, ownAction: e.cfg.Accounts != nil}
	p.executor.alive = newLeaseBook(p.work, p.store.Cached).renew
	if p.executor.readOnly, err = openReadOnlyGate(ctx, js, e); err != nil {
		return p, err
	}
	if err := e.project(p, viewStore); err != nil { //nolint:contextcheck // lists ask the server, with a bound of their own
		return p, err
	}
	commander.limits = newLimiter(e.cfg.Limits, e.cfg.Clock, p.owned)
	p.executor.limits = commander.limits
	streams, err := ensureQueueStreams(ctx, js, e.names, e.cfg.storage(), e.cfg.Replicas, e.cfg.Clock())
	if err != nil {
		return p, err
	}
	p.queue = queueConfig{JetStream: js, Streams: streams, Names: e.names, Executor: p.executor, Accounts: e.cfg.Accounts, Logger: e.cfg.Logger}
	if p.holder, err = e.candidate(ctx, c.lease); err != nil {
		return p, err
	}
	return p, e.openOperations(ctx, p, js)
}

// candidate makes the part that takes part in the election of the holder.
func (e *Engine) candidate(ctx context.Context, nc *nats.Conn) (*holder, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	open := func(ctx context.Context) (jetstream.KeyValue, error) {
		return ensureControl(ctx, js, e.names.ControlBucket(), e.cfg.Replicas)
	}
	kv, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return &holder{kv: kv, open: open, id: e.cfg.ID, connected: nc.IsConnected, clock: e.cfg.Clock, log: e.cfg.Logger}, nil
}

// openStore opens the event stream and the bucket of views beside it.
func (e *Engine) openStore(ctx context.Context, p *parts, js jetstream.JetStream) (projections.ViewStore, error) {
	err := esjs.EnsureStream(ctx, js, esjs.StreamConfig{Names: e.names, Memory: e.cfg.Memory, Replicas: e.cfg.Replicas})
	if err != nil {
		return nil, err
	}
	staged := e.cfg.GroupCommit && e.cfg.Stage != nil && e.cfg.Stage(e.names.EventsStream())
	p.driver, err = esjs.Open(ctx, esjs.Config{
		Names: e.names, Read: p.conns.read, Write: p.conns.write, Direct: p.conns.direct[:], GroupCommit: e.cfg.GroupCommit, CheapBatches: staged,
	})
	if err != nil {
		return nil, err
	}
	views, err := projections.OpenKV(ctx, p.conns.read, p.conns.views, projections.KVConfig{
		Bucket: e.names.SessionsBucket(), Replicas: e.cfg.Replicas, Memory: e.cfg.Memory, Direct: p.conns.direct[:],
	})
	if err != nil {
		return nil, err
	}
	blocks, err := projections.OpenKVBlocks(ctx, p.conns.read, p.conns.views, projections.KVConfig{
		Bucket: e.names.HistoryBucket(), Replicas: e.cfg.Replicas, Memory: e.cfg.Memory,
	})
	if err != nil {
		return nil, err
	}
	p.store, err = eventstore.Open(ctx, eventstore.Config{
		Driver: p.driver, Snapshots: projections.SnapshotsOf(views),
		Blocks: blocks, Lacking: func(key eventstore.Key) { p.blocks.Lacking(key) },
		CacheBytes: e.cfg.CacheBytes, MaxMessage: int(p.conns.write.MaxPayload()), Clock: e.cfg.Clock, Logger: e.cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	p.blocks, err = projections.NewBlocks(projections.BlocksConfig{Source: p.store, Store: blocks, Report: e.reportProjections})
	return views, err
}

// reportProjections logs what projections tell.
func (e *Engine) reportProjections(err error) { e.cfg.Logger.Warn("projections", "error", err) }

// project makes what follows the events.
func (e *Engine) project(p *parts, store projections.ViewStore) error {
	report := e.reportProjections
	var err error
	p.index, err = projections.NewIndex(projections.IndexConfig{
		Source: p.store, Views: store, Declared: e.cfg.MetadataKeys, Report: report, Present: p.present(e.cfg.Clock),
	})
	if err != nil {
		return err
	}
	p.views, err = projections.NewViews(projections.ViewsConfig{
		Source: p.store, Store: store, Declared: e.cfg.MetadataKeys, Report: report, Healed: p.index.Replace,
	})
	if err != nil {
		return err
	}
	p.dispatcher = newDispatcher(dispatchConfig{
		Conn: p.conns.work, Streams: p.work, Names: e.names, Store: p.store, Index: p.index, Executor: p.executor,
		Wait:  func(ctx context.Context, to contract.Position) error { return p.runner.WaitFor(ctx, to) },
		Clock: e.cfg.Clock, Logger: e.cfg.Logger, MaxAction: e.cfg.MaxPerAction, MaxUser: e.cfg.MaxPerUser,
	})
	p.executor.follow = p.dispatcher.follow
	p.runner, err = projections.NewRunner(projections.RunnerConfig{
		Source: p.store, Projections: []projections.Projection{p.index, p.views, p.blocks, p.dispatcher}, Report: report,
	})
	return err
}

// present says what lists have to know of the moment.
func (p *parts) present(clock func() time.Time) func() projections.Present {
	return func() projections.Present {
		now := projections.Present{Now: clock()}
		now.Serving, now.Known = p.serving.actions()
		return now
	}
}

// serve starts the parts in the order in which they need each other, and stops
// them in the other one.
func (p *parts) serve(ctx context.Context, e *Engine) error {
	background, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(nil)
	failed := make(chan error, 2)
	wg.Go(func() {
		if err := p.runner.Run(background); err != nil {
			failed <- err
		}
	})
	wg.Go(func() { p.executor.commander.sweep.run(background) })
	quiet, err := p.executor.readOnly.tell(p.conns.read)
	if err != nil {
		return err
	}
	defer quiet()
	wg.Go(func() { p.executor.readOnly.run(background) })
	if p.service, err = startService(e.serviceConfig(p)); err != nil { //nolint:contextcheck // requests have a deadline of their own
		return err
	}
	holding, release := context.WithCancel(background)
	var held sync.WaitGroup
	held.Go(func() { p.holder.run(holding, p.hold) })
	if err = p.conns.requests.Flush(); err == nil {
		close(e.ready)
	} else {
		failed <- fmt.Errorf("subscribe: %w", err)
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, p.drain(ctx))
	release()
	held.Wait()
	p.executor.lanes.close()
	return err
}

// drain takes no more requests and answers those that were taken, though ctx has
// ended.
func (p *parts) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainPatience)
	defer cancel()
	return errors.Join(p.operations.close(ctx), p.service.stop(ctx), p.executor.lanes.drain(ctx), p.conns.replies.FlushWithContext(ctx))
}

// hold is the work of the holder: it writes the views and the history blocks, applies the queue, offers
// steps and ends what is over its time.
func (p *parts) hold(ctx context.Context) error {
	return together(ctx, p.views.Run, p.blocks.Run, newQueue(p.queue).run, p.dispatcher.run, p.operations.hold)
}

func (e *Engine) serviceConfig(p *parts) serviceConfig {
	q := &queries{store: p.store, index: p.index, wait: p.runner.WaitFor, position: p.runner.Position, lease: p.work.lease}
	return serviceConfig{
		Names: e.names, Version: Version, Requests: p.conns.requests, Replies: p.conns.replies,
		Accounts: e.cfg.Accounts, Inboxes: e.cfg.Accounts.inboxes(),
		Executor: p.executor, Operations: p.operations, Serve: p.work.serve, Clock: e.cfg.Clock, Logger: e.cfg.Logger,
		Queries: map[string]queryFunc{
			contract.QueryGet:     asked(q, q.get),
			contract.QueryList:    asked(q, q.list),
			contract.QueryCount:   asked(q, q.count),
			contract.QueryHistory: asked(q, q.history),
			contract.QueryAt:      asked(q, q.at),
		},
	}
}
