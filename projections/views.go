package projections

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// The defaults of a ViewsConfig.
const (
	// defaultMinAge is how long a change waits for its put when little happens.
	defaultMinAge = 50 * time.Millisecond
	// defaultMaxAge is how long it waits under load, so that commits fold.
	defaultMaxAge = 2 * time.Second
	// defaultMaxBatch is the number of changed sessions that are put at once.
	defaultMaxBatch = 65536
)

// ViewsConfig configures Views.
type ViewsConfig struct {
	// Source is the event store, Store where the views are; both required.
	Source Source
	Store  ViewStore
	// Declared are the metadata keys that go into the index header.
	Declared []string
	// Report is told what was left out and healed; nil for nobody. It must not
	// block.
	Report func(error)
	// Healed is told the true state of every session whose view was not that
	// of the events; nil for nobody.
	Healed func(eventstore.Aggregate)
	// MinAge and MaxAge are how long a change waits for its put at rest and
	// under load; 0 means 50 ms and 2 s. MaxBatch is how many changed sessions
	// wait at most; 0 means 65536.
	MinAge, MaxAge time.Duration
	MaxBatch       int
	// FoldLimit is the number of sessions whose states are kept in a catch-up;
	// 0 means 16384.
	FoldLimit int
}

func (c ViewsConfig) withDefaults() (ViewsConfig, error) {
	if c.Source == nil || c.Store == nil {
		return c, errors.New("projections: views need a Source and a Store")
	}
	if c.Report == nil {
		c.Report = func(error) {}
	}
	if c.Healed == nil {
		c.Healed = func(eventstore.Aggregate) {}
	}
	if c.MinAge <= 0 {
		c.MinAge = defaultMinAge
	}
	if c.MaxAge <= 0 {
		c.MaxAge = defaultMaxAge
	}
	c.MaxAge = max(c.MaxAge, c.MinAge)
	if c.MaxBatch <= 0 {
		c.MaxBatch = defaultMaxBatch
	}
	c.Declared = normalKeys(c.Declared)
	return c, nil
}

// normalKeys sorts the keys and drops doubles.
func normalKeys(keys []string) []string {
	sorted := slices.Clone(keys)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// Views is the projection that writes one view for each session. Every instance
// gives it to its Runner; it stands by until Run is called, by the holder of
// the role alone. All methods are safe for concurrent use.
type Views struct {
	cfg   ViewsConfig
	begun chan struct{} // closed by Start
	kick  chan struct{} // wakes the holder: something changed or is waited for
	jobs  chan rebuild
	gate  gate // what the stored views cover
	used  atomic.Bool
	meter meter
	stats struct{ commits, puts, purges, healed, sweeps atomic.Uint64 }

	mu          sync.Mutex
	incarnation string
	seen        uint64                                  // what the runner has brought
	anchor      eventstore.Committed                    // the last commit of that
	holding     bool                                    // Run is going on
	rebuilding  bool                                    // it catches up
	ended       chan struct{}                           // closed when this Run is over
	dirty       map[eventstore.Key]eventstore.Aggregate // Session nil: to be loaded
	oldest      time.Time                               // when dirty became non-empty
	putting     time.Time                               // oldest of the batch that is being put; zero if none is
}

// rebuild is a call of Rebuild, or one that wants what is marked to be put;
// done gets its outcome.
type rebuild struct {
	done  chan error
	flush bool
}

// NewViews checks the configuration. It starts nothing.
func NewViews(cfg ViewsConfig) (*Views, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Views{
		cfg: cfg, begun: make(chan struct{}), kick: make(chan struct{}, 1), jobs: make(chan rebuild),
		dirty: map[eventstore.Key]eventstore.Aggregate{},
	}, nil
}

// Name returns "views".
func (v *Views) Name() string { return "views" }

// Start is called by the Runner. Views need no old commits from it: the holder
// fetches what it lacks by itself.
func (v *Views) Start(_ context.Context, info eventstore.Info) (uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.incarnation, v.seen = info.Incarnation, info.Last
	close(v.begun)
	return info.Last, nil
}

// Apply is called by the Runner. It only notes what changed and never blocks.
func (v *Views) Apply(_ context.Context, c Change) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen, v.anchor = c.Seq, c.Committed
	if v.holding {
		v.stats.commits.Add(1)
		v.mark(c.Key, c.After)
	}
	return nil
}

// Skip is called by the Runner.
func (v *Views) Skip(seq uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen = seq
	if v.holding && v.gate.least() <= seq {
		v.wake()
	}
}

// CaughtUp is called by the Runner.
func (v *Views) CaughtUp(uint64) {}

// mark notes a changed session; the caller holds the lock. Beyond MaxBatch the
// state is not kept but loaded when its turn comes, so that memory is bounded.
func (v *Views) mark(key eventstore.Key, a eventstore.Aggregate) {
	if _, known := v.dirty[key]; !known && len(v.dirty) >= v.cfg.MaxBatch {
		a = eventstore.Aggregate{}
	}
	if len(v.dirty) == 0 {
		v.oldest = time.Now()
	}
	v.dirty[key] = a
	if n := len(v.dirty); n == 1 || n == v.cfg.MaxBatch || v.gate.least() <= v.seen {
		v.wake()
	}
}

func (v *Views) wake() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// Snapshot returns the view of a session as a snapshot. Views are the
// eventstore.Snapshots of a store. The error is ErrNoView, or that of the view
// store, or says why the view can't be read.
func (v *Views) Snapshot(ctx context.Context, key eventstore.Key) (eventstore.Snapshot, error) {
	return SnapshotsOf(v.cfg.Store).Snapshot(ctx, key)
}

// SnapshotsOf returns the views of a store as snapshots. A store needs them
// before there are Views over it.
func SnapshotsOf(store ViewStore) eventstore.Snapshots { return snapshots{store} }

type snapshots struct{ store ViewStore }

// Snapshot reads one view.
func (s snapshots) Snapshot(ctx context.Context, key eventstore.Key) (eventstore.Snapshot, error) {
	view, err := s.store.Get(ctx, key.String())
	if err != nil {
		return eventstore.Snapshot{}, err
	}
	return decodeView(view)
}

// WaitFor returns nil once the stored views cover the position. It hurries the
// writer. On an instance that stands by it waits until ctx ends or it becomes
// the holder; ErrStopped says that the holder ended while it waited, and
// ErrIncarnation that the position is of another stream.
func (v *Views) WaitFor(ctx context.Context, p contract.Position) error {
	select {
	case <-v.begun:
	case <-ctx.Done():
		return ctx.Err()
	}
	v.mu.Lock()
	have := v.incarnation
	v.mu.Unlock()
	if p.Incarnation != have {
		return &IncarnationError{Asked: p.Incarnation, Have: have}
	}
	w := v.gate.enter(p.Seq)
	v.wake()
	return v.gate.await(ctx, w, p.Seq)
}

// Rebuild removes the checkpoint and every view and writes all of them anew
// from the events. It returns when that is done; only on the instance that runs
// the views, else ErrStandby. Views of a newer schema stay as they are.
func (v *Views) Rebuild(ctx context.Context) error {
	v.mu.Lock()
	holding, ended := v.holding, v.ended
	v.mu.Unlock()
	if !holding {
		return ErrStandby
	}
	job := rebuild{done: make(chan error, 1)}
	select {
	case v.jobs <- job:
	case <-ended:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-job.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ViewsProgress says how far the views are and what was written for it.
type ViewsProgress struct {
	Progress
	// Holding is true on the instance that writes the views.
	Holding bool `json:"holding"`
	// Commits were folded into Puts and Purges; Healed counts views that were
	// not those of the events. All count from the start of the process.
	Commits uint64 `json:"commits"`
	Puts    uint64 `json:"puts"`
	Purges  uint64 `json:"purges"`
	Healed  uint64 `json:"healed"`
	// Sweeps counts how often all views were compared with the events, which is
	// once in every time as the holder.
	Sweeps uint64 `json:"sweeps"`
	// Waiting is the number of changed sessions whose views are not yet put.
	Waiting int `json:"waiting"`
	// Age is how long the oldest change that is not yet put has waited.
	Age domain.Duration `json:"age,omitempty"`
}

// Progress returns how far the stored views are. End is as far as the Runner
// has come.
func (v *Views) Progress() ViewsProgress {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := ViewsProgress{
		Holding: v.holding, Waiting: len(v.dirty), Commits: v.stats.commits.Load(),
		Puts: v.stats.puts.Load(), Purges: v.stats.purges.Load(), Healed: v.stats.healed.Load(), Sweeps: v.stats.sweeps.Load(),
	}
	p.Position = contract.Position{Incarnation: v.incarnation, Seq: v.gate.position()}
	p.End, p.Rebuilding, p.Rate = v.seen, v.rebuilding, v.meter.rate()
	p.Lag = distance(p.Position.Seq, p.End)
	p.Age = domain.Duration(v.age(time.Now()))
	return p
}

// age returns how long the oldest change has waited; the caller holds the lock.
func (v *Views) age(now time.Time) time.Duration {
	switch {
	case !v.putting.IsZero():
		return now.Sub(v.putting)
	case len(v.dirty) > 0:
		return now.Sub(v.oldest)
	}
	return 0
}
