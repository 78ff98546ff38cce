package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"reprise/contract"
	"reprise/eventstore"
)

// The pauses between tries to read while the store is unavailable.
const (
	loadRetryFirst = 20 * time.Millisecond
	loadRetryLast  = 2 * time.Second
)

// startPatience is how long a runner that starts tries to read from a store that is
// unavailable, without getting on, before it ends: a cluster that has lost a server
// has other leaders within seconds.
const startPatience = 30 * time.Second

// RunnerConfig configures a Runner.
type RunnerConfig struct {
	// Source is the event store; required.
	Source Source
	// Projections are fed in this order; at least one.
	Projections []Projection
	// Report is told what was skipped and what is retried; nil for nobody. It
	// must not block.
	Report func(error)
	// FoldLimit is the number of sessions whose states are kept beside the
	// store's cache; 0 means 16384.
	FoldLimit int
}

// Runner follows the event stream once and feeds all projections in one pass.
// All methods are safe for concurrent use.
type Runner struct {
	cfg   RunnerConfig
	fold  *folder
	from  []uint64 // by projection
	gate  gate
	meter meter
	used  atomic.Bool
	begun chan struct{}
	state atomic.Pointer[start]
	skips atomic.Uint64
	live  atomic.Bool
	once  sync.Once
	fed   uint64 // the last sequence that was applied or skipped
}

// start is what the runner learns when it begins.
type start struct{ info eventstore.Info }

// NewRunner checks the configuration. It starts nothing; see Run.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	if cfg.Source == nil {
		return nil, errors.New("projections: a runner needs a Source")
	}
	if len(cfg.Projections) == 0 {
		return nil, errors.New("projections: a runner needs at least one projection")
	}
	if cfg.Report == nil {
		cfg.Report = func(error) {}
	}
	return &Runner{
		cfg: cfg, fold: newFolder(cfg.FoldLimit, cfg.Source), begun: make(chan struct{}),
	}, nil
}

// Run starts the projections, catches up and follows until ctx ends, which
// gives nil, or until the store or a projection fails. It may be called once;
// when it has returned nothing of the runner is running any more and everybody
// in WaitFor was woken with ErrStopped.
func (r *Runner) Run(ctx context.Context) error {
	if r.used.Swap(true) {
		return ErrUsed
	}
	defer r.stop()
	err := r.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (r *Runner) stop() {
	r.gate.stop()
	r.once.Do(func() { close(r.begun) })
}

func (r *Runner) run(ctx context.Context) error {
	var info eventstore.Info
	err := r.persist(ctx, func() (err error) {
		info, err = r.cfg.Source.Info(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("projections: read the event stream: %w", err)
	}
	from, err := r.startAll(ctx, info)
	if err != nil {
		return err
	}
	r.state.Store(&start{info: info})
	r.once.Do(func() { close(r.begun) })
	r.passed(from)
	if err := r.catchUp(ctx, from, info.Last); err != nil {
		return err
	}
	return r.cfg.Source.Follow(ctx, max(from, info.Last)+1, r.feed(ctx))
}

// persist tries again what fails for want of the store, until startPatience has
// passed without a commit.
func (r *Runner) persist(ctx context.Context, do func() error) error {
	last, pause := time.Now().Add(startPatience), loadRetryFirst
	for {
		before := r.fed
		err := do()
		if r.fed > before {
			last, pause = time.Now().Add(startPatience), loadRetryFirst
		}
		if !errors.Is(err, eventstore.ErrUnavailable) || time.Now().After(last) {
			return err
		}
		r.cfg.Report(fmt.Errorf("the events can't be read, trying again: %w", err))
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, loadRetryLast)
	}
}

// startAll returns the least sequence that every projection has reached.
func (r *Runner) startAll(ctx context.Context, info eventstore.Info) (uint64, error) {
	least := info.Last
	r.from = make([]uint64, len(r.cfg.Projections))
	for i, p := range r.cfg.Projections {
		err := r.persist(ctx, func() (err error) {
			r.from[i], err = p.Start(ctx, info)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("projections: start %s: %w", p.Name(), err)
		}
		least = min(least, r.from[i])
	}
	return least, nil
}

// catchUp reads what there is already. It is a scan and not the follower,
// since the end may have been compacted away and would never arrive.
func (r *Runner) catchUp(ctx context.Context, from, end uint64) error {
	r.fed = from
	err := r.persist(ctx, func() error {
		if r.fed >= end {
			return nil
		}
		return r.cfg.Source.Scan(ctx, eventstore.Filter{From: r.fed + 1, To: end}, r.feed(ctx))
	})
	if err != nil {
		return err
	}
	for _, p := range r.cfg.Projections {
		p.CaughtUp(end)
	}
	r.live.Store(true)
	r.gate.advance(end)
	return nil
}

// feed returns the callback for the store.
func (r *Runner) feed(ctx context.Context) func(eventstore.Committed, error) error {
	return func(c eventstore.Committed, err error) error {
		if err != nil {
			return r.skip(err)
		}
		return r.apply(ctx, c)
	}
}

// skip passes over a damaged or foreign message; any other error is the end.
func (r *Runner) skip(err error) error {
	var damage *eventstore.CommitError
	if !errors.As(err, &damage) {
		return err
	}
	r.skips.Add(1)
	r.cfg.Report(err)
	r.fed = damage.Seq
	for i, p := range r.cfg.Projections {
		if damage.Seq > r.from[i] {
			p.Skip(damage.Seq)
		}
	}
	r.passed(damage.Seq)
	return nil
}

// passed lets those go who waited for seq. The end of what was there at the
// start is not passed until all projections know that they have caught up.
func (r *Runner) passed(seq uint64) {
	if r.live.Load() || seq < r.state.Load().info.Last {
		r.gate.advance(seq)
	}
}

func (r *Runner) apply(ctx context.Context, c eventstore.Committed) error {
	r.cfg.Source.Observe(c)
	after, err := r.after(ctx, c)
	if err != nil {
		if errors.Is(err, eventstore.ErrCorrupt) {
			return r.skip(&eventstore.CommitError{Key: c.Key, Seq: c.Seq, Kind: "hash chain", Detail: "the session's history can't be read: " + err.Error(), Err: err})
		}
		return err
	}
	for i, p := range r.cfg.Projections {
		if c.Seq <= r.from[i] {
			continue
		}
		if err := p.Apply(ctx, Change{Committed: c, After: after}); err != nil {
			return fmt.Errorf("projections: %s at sequence %d: %w", p.Name(), c.Seq, err)
		}
	}
	r.fed = c.Seq
	r.meter.add(1)
	r.passed(c.Seq)
	return nil
}

// after finds the state after the commit: in the store's cache, by folding, or
// by loading, which is tried again while the store is unavailable.
func (r *Runner) after(ctx context.Context, c eventstore.Committed) (eventstore.Aggregate, error) {
	if a, ok := r.cfg.Source.Cached(c.Key); ok && a.Seq >= c.Seq {
		return a, nil
	}
	for pause := loadRetryFirst; ; pause = min(2*pause, loadRetryLast) {
		a, err := r.fold.fold(ctx, c)
		if err == nil || errors.Is(err, eventstore.ErrCorrupt) || ctx.Err() != nil {
			return a, err
		}
		r.cfg.Report(fmt.Errorf("session %s can't be loaded, trying again: %w", c.Key, err))
		if err := sleep(ctx, pause); err != nil {
			return eventstore.Aggregate{}, err
		}
	}
}

// WaitFor returns nil once every projection has taken in everything up to the
// position. A position of another stream is ErrIncarnation; one beyond the end
// of the stream waits for ctx to end; ErrStopped says that the runner ended
// first. Before Run has begun it waits for that too.
func (r *Runner) WaitFor(ctx context.Context, p contract.Position) error {
	select {
	case <-r.begun:
	case <-ctx.Done():
		return ctx.Err()
	}
	begun := r.state.Load()
	if begun == nil {
		return ErrStopped
	}
	if p.Incarnation != begun.info.Incarnation {
		return &IncarnationError{Asked: p.Incarnation, Have: begun.info.Incarnation}
	}
	return r.gate.wait(ctx, p.Seq)
}

// Position returns what the projections have taken in; the zero Position
// before Run has begun.
func (r *Runner) Position() contract.Position {
	begun := r.state.Load()
	if begun == nil {
		return contract.Position{}
	}
	return contract.Position{Incarnation: begun.info.Incarnation, Seq: r.gate.position()}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
