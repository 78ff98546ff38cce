package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/projections"
)

const (
	// loadParallel is how many sessions a new holder loads at once.
	loadParallel = 32
	// dispatchRetry is the pause before the dispatcher begins anew after a
	// failure of the server.
	dispatchRetry = 250 * time.Millisecond
)

// dispatchConfig configures a dispatcher. Every field but the limits is required.
type dispatchConfig struct {
	Conn    *nats.Conn // for tasks and leases alone
	Streams *workStreams
	Names   contract.Names
	Store   *eventstore.Store
	Index   *projections.Index
	// Wait returns once the index and the dispatcher have seen a position.
	Wait     func(context.Context, contract.Position) error
	Executor *executor
	Clock    func() time.Time
	Logger   *slog.Logger
	// MaxAction and MaxUser bound the steps that are offered or in flight, of one
	// action and of one user; 0 is no bound.
	MaxAction, MaxUser int
}

// dispatcher offers steps that are ready, and ends what is over its time. Only
// the holder's does anything; it knows nothing that does not follow from the
// events and from the streams of tasks and leases, so the next holder's goes on
// where it stopped. It is safe for concurrent use.
type dispatcher struct {
	dispatchConfig
	offers chan struct{} // wakes the goroutine that changes the stream of tasks
	alarms chan struct{} // wakes the watch

	mu     sync.Mutex
	active bool
	// loading is true until what was there at the start is known.
	loading  bool
	sessions map[eventstore.Key]*tracked
	work     *worklist
	agenda   agenda
	// stale are offers whose task is to be removed from the stream.
	stale []*offer
	marks uint64
	early earlyBeats
}

// tracked is a session with something to offer or to watch.
type tracked struct {
	key      eventstore.Key
	seq      uint64
	version  uint64
	priority int
	offers   map[offerKey]*offer
	flights  map[domain.StepRef]*flight
	alarms   []alarm
	at       time.Time
	index    int // in the agenda; -1 if it isn't there
}

type offerKey struct {
	domain.StepRef
	action string
}

func newDispatcher(cfg dispatchConfig) *dispatcher {
	return &dispatcher{dispatchConfig: cfg, offers: make(chan struct{}, 1), alarms: make(chan struct{}, 1)}
}

// Name returns "dispatch".
func (d *dispatcher) Name() string { return "dispatch" }

// Start is called by the Runner. What was there at the start is loaded by run.
func (d *dispatcher) Start(_ context.Context, info eventstore.Info) (uint64, error) {
	return info.Last, nil
}

// Skip is called by the Runner.
func (d *dispatcher) Skip(uint64) {}

// CaughtUp is called by the Runner.
func (d *dispatcher) CaughtUp(uint64) {}

// Apply is called by the Runner.
func (d *dispatcher) Apply(_ context.Context, c projections.Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active {
		d.claimed(c.Committed)
		d.take(c.After, c.After.Seq > c.Seq)
	}
	return nil
}

// run is the holder's work. It begins anew after a failure and returns when ctx
// ends.
func (d *dispatcher) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := d.tenure(ctx)
		if ctx.Err() == nil {
			d.Logger.Warn("the dispatcher begins anew", "error", err)
			pause(ctx, dispatchRetry)
		}
	}
	return nil
}

// tenure learns what there is, and then keeps tasks and timeouts going until
// something fails or ctx ends.
func (d *dispatcher) tenure(ctx context.Context) error {
	if err := d.Streams.ensure(ctx); err != nil {
		return err
	}
	sub, err := d.followLeases()
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone already
	if err := d.catchUp(ctx); err != nil {
		return err
	}
	d.activate()
	defer d.deactivate()
	if err := d.load(ctx); err != nil {
		return err
	}
	if err := d.adopt(ctx); err != nil {
		return err
	}
	return together(ctx, d.keepOffers, d.watch, d.audit)
}

// together runs functions until the first one returns, and returns its error
// after all have ended.
func together(ctx context.Context, fns ...func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	first := make(chan error, len(fns))
	for _, fn := range fns {
		wg.Go(func() {
			first <- fn(ctx)
			stop()
		})
	}
	wg.Wait()
	return <-first
}

// catchUp waits until this engine knows everything that was committed before it
// became the holder, so that it offers nothing that others know to be over.
func (d *dispatcher) catchUp(ctx context.Context) error {
	info, err := d.Store.Info(ctx)
	if err != nil {
		return err
	}
	if err := d.Index.Warm(ctx); err != nil {
		return err
	}
	return d.Wait(ctx, contract.Position{Incarnation: info.Incarnation, Seq: info.Last})
}

// activate makes Apply take in what happens from here on.
func (d *dispatcher) activate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active, d.loading = true, true
	d.sessions = map[eventstore.Key]*tracked{}
	d.work = newWorklist(d.MaxAction, d.MaxUser)
	d.agenda, d.stale = nil, nil
}

func (d *dispatcher) deactivate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active, d.sessions, d.work, d.agenda, d.stale = false, nil, nil, nil, nil
}

// load takes in the sessions that were there already: those that run, and those
// that have something in flight.
func (d *dispatcher) load(ctx context.Context) error {
	var keys []eventstore.Key
	err := d.Index.Each(func(e projections.Entry) bool {
		if e.State == domain.StateRunning || e.InFlight > 0 {
			keys = append(keys, eventstore.Key{User: e.User, Session: e.ID})
		}
		return ctx.Err() == nil
	})
	if err != nil {
		return err
	}
	err = each(ctx, loadParallel, keys, func(ctx context.Context, key eventstore.Key) error {
		a, err := d.Store.Load(ctx, key)
		if errors.Is(err, eventstore.ErrCorrupt) {
			d.Logger.Error("a session is not dispatched", "session", key.String(), "error", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("load session %s: %w", key, err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.take(a, false)
		return nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loading = false
	for _, t := range d.sessions {
		d.forgetIfIdle(t)
	}
	return err
}

// each calls fn for all values, some of them at once, until one fails.
func each[T any](ctx context.Context, parallel int, values []T, fn func(context.Context, T) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, v := range values {
		if ctx.Err() != nil {
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := fn(ctx, v); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
