package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reprise/eventstore"
)

const (
	// maxBlockJobs is how many sessions wait for their blocks at most. Beyond it
	// they are left to the walk that misses them.
	maxBlockJobs = 16384
	// blockTimeout bounds the blocks of one session.
	blockTimeout = time.Minute
	// blockPause is the pause after a failure of the store.
	blockPause = time.Second
)

// BlockMaker makes the blocks of a session; *eventstore.Store is one.
type BlockMaker interface {
	MakeBlocks(ctx context.Context, key eventstore.Key, all bool, put func(eventstore.Block) error) error
}

// BlocksConfig configures Blocks.
type BlocksConfig struct {
	// Source makes the blocks, Store is where they are kept; both required.
	Source BlockMaker
	Store  BlockStore
	// Report is told what failed; nil for nobody. It must not block.
	Report func(error)
}

// Blocks is the projection that keeps history blocks of long sessions, and
// removes those of sessions that are gone. Nobody waits for it: a block that is
// not there makes a walk slower. Like Views it stands by until Run is called.
// All methods are safe for concurrent use.
type Blocks struct {
	cfg  BlocksConfig
	kick chan struct{} // wakes the holder

	trails  trails // of the Runner's goroutine
	mu      sync.Mutex
	holding bool
	jobs    map[eventstore.Key]blockJob
}

// blockJob is what a session waits for.
type blockJob struct {
	kind  blockKind
	ended trail // of blockReady
}

// blockKind says what is to be done. A larger one covers a smaller one.
type blockKind int

const (
	blockReady   blockKind = iota + 1 // one of which everything is known
	blocksBehind                      // those behind the last one
	blocksAll                         // every one that is missing
	blocksGone                        // their removal
)

// NewBlocks checks the configuration. It starts nothing.
func NewBlocks(cfg BlocksConfig) (*Blocks, error) {
	if cfg.Source == nil || cfg.Store == nil {
		return nil, errors.New("projections: blocks need a Source and a Store")
	}
	if cfg.Report == nil {
		cfg.Report = func(error) {}
	}
	return &Blocks{cfg: cfg, kick: make(chan struct{}, 1), trails: trails{}, jobs: map[eventstore.Key]blockJob{}}, nil
}

// Name returns "history blocks".
func (b *Blocks) Name() string { return "history blocks" }

// Start is called by the Runner. No old commits are needed: what was missed is
// made up for at the end of the session's next block, or by a walk.
func (b *Blocks) Start(_ context.Context, info eventstore.Info) (uint64, error) {
	return info.Last, nil
}

// Apply is called by the Runner. It only notes what is due and never blocks.
func (b *Blocks) Apply(_ context.Context, c Change) error {
	if c.Commit.LastVersion() < eventstore.BlockSize {
		return nil
	}
	if !b.held() {
		clear(b.trails)
		return nil
	}
	if c.Commit.Tombstone() != nil {
		delete(b.trails, c.Key)
		b.mark(c.Key, blockJob{kind: blocksGone})
		return nil
	}
	switch ended, ok := b.trails.follow(c); {
	case ok:
		b.mark(c.Key, blockJob{kind: blockReady, ended: ended})
	case eventstore.EndsBlock(c.Commit):
		b.mark(c.Key, blockJob{kind: blocksBehind})
	}
	return nil
}

func (b *Blocks) held() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holding
}

// Skip is called by the Runner.
func (b *Blocks) Skip(uint64) {}

// CaughtUp is called by the Runner.
func (b *Blocks) CaughtUp(uint64) {}

// Lacking is for eventstore.Config: a walk has found blocks missing. On an
// instance that stands by it does nothing.
func (b *Blocks) Lacking(key eventstore.Key) { b.mark(key, blockJob{kind: blocksAll}) }

func (b *Blocks) mark(key eventstore.Key, job blockJob) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, waits := b.jobs[key]
	if !b.holding || !waits && len(b.jobs) >= maxBlockJobs {
		return
	}
	if waits {
		job = blockJob{kind: max(before.kind, job.kind, blocksBehind)}
	}
	b.jobs[key] = job
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// Run makes and removes blocks until ctx ends, which gives nil. Only the holder
// runs it; it may be called again after it has returned.
func (b *Blocks) Run(ctx context.Context) error {
	b.hold(true)
	defer b.hold(false)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.kick:
		}
		for key, job := b.next(); job.kind != 0; key, job = b.next() {
			if err := b.do(ctx, key, job); err != nil && ctx.Err() == nil {
				b.failed(ctx, key, job, err)
			}
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}

func (b *Blocks) hold(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = on
	clear(b.jobs)
}

// next takes a job; the zero value if there is none.
func (b *Blocks) next() (eventstore.Key, blockJob) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, job := range b.jobs {
		delete(b.jobs, key)
		return key, job
	}
	return eventstore.Key{}, blockJob{}
}

func (b *Blocks) do(ctx context.Context, key eventstore.Key, job blockJob) error {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	switch job.kind {
	case blocksGone:
		return b.cfg.Store.Remove(ctx, key)
	case blockReady:
		block, err := job.ended.block()
		if err != nil {
			return err
		}
		return b.cfg.Store.Put(ctx, block)
	case blocksBehind, blocksAll:
	}
	return b.cfg.Source.MakeBlocks(ctx, key, job.kind == blocksAll, func(block eventstore.Block) error {
		return b.cfg.Store.Put(ctx, block)
	})
}

// failed reports what failed. Blocks that could not be removed are tried again in
// a while; those that could not be made are left to the walk that misses them.
func (b *Blocks) failed(ctx context.Context, key eventstore.Key, job blockJob, err error) {
	b.cfg.Report(fmt.Errorf("the history blocks of session %s: %w", key, err))
	if errors.Is(err, eventstore.ErrCorrupt) {
		return
	}
	if sleep(ctx, blockPause) == nil && job.kind == blocksGone {
		b.mark(key, job)
	}
}

// Rebuild removes every block. Those of sessions that are read or go on are made
// again from the events.
func (b *Blocks) Rebuild(ctx context.Context) error { return b.cfg.Store.Wipe(ctx) }
