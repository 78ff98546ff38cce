package archive

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"reprise/domain"
	"reprise/eventstore"
)

// The bounds of restoring.
const (
	// parallel is how many sessions are restored or copied at once.
	parallel = 32
	// maxWaiting bounds the commits of one session that are read and wait for the
	// ones before, maxWaitingBytes those of all sessions.
	maxWaiting      = 64
	maxWaitingBytes = 64 << 20
)

// restoring is the second of the two readings of Import.
type restoring struct {
	store *eventstore.Store
	o     ImportOptions
	skip  keySet
	// stop ends it with the first error.
	stop    context.CancelCauseFunc
	slots   chan struct{}
	budget  *budget
	workers sync.WaitGroup

	written, sessions atomic.Uint64
	of                uint64
}

// restore appends what is not there yet, and returns the number of commits it
// has appended. The file has to be the one that was checked.
func restore(ctx context.Context, store *eventstore.Store, open Opener, o ImportOptions, skip keySet, checked Trailer) (uint64, error) {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	x := &restoring{
		store: store, o: o, skip: skip, stop: stop, slots: make(chan struct{}, parallel), budget: newBudget(maxWaitingBytes), of: checked.Sessions,
	}
	err := opened(open, func(r *Reader) error { return x.read(working, r) })
	x.workers.Wait()
	if cause := context.Cause(working); cause != nil {
		err = cause // the workers' or the caller's, which came first
	}
	return x.written.Load(), err
}

// read hands the sessions of the file to workers.
func (x *restoring) read(ctx context.Context, r *Reader) error {
	var lane chan *Commit
	defer func() {
		if lane != nil {
			close(lane)
		}
	}()
	visit := Visitor{
		Begin: func(key eventstore.Key) error {
			select {
			case x.slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			lane = make(chan *Commit, maxWaiting)
			x.start(ctx, key, lane)
			return nil
		},
		Commit: func(c *Commit, _ eventstore.Committed) error {
			if err := x.budget.take(ctx, len(c.Body)); err != nil {
				return err
			}
			lane <- c // its worker takes until the lane is closed
			return nil
		},
		End: func(*End, *domain.Session) error {
			close(lane)
			lane = nil
			return nil
		},
	}
	_, err := Verify(ctx, r, visit)
	return err
}

// start restores a session in a goroutine of its own.
func (x *restoring) start(ctx context.Context, key eventstore.Key, lane <-chan *Commit) {
	x.workers.Go(func() {
		defer func() { <-x.slots }()
		err := x.session(ctx, key, lane)
		if err != nil {
			x.stop(err)
		}
		for c := range lane { // what is left of a session that failed
			x.budget.give(len(c.Body))
		}
	})
}

func (x *restoring) session(ctx context.Context, key eventstore.Key, lane <-chan *Commit) error {
	add, end, err := x.sink(ctx, key)
	if err != nil {
		return err
	}
	version := uint64(0)
	for c := range lane {
		version = c.Version
		err := ctx.Err()
		if err == nil {
			err = add(c)
		}
		x.budget.give(len(c.Body))
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err // the end of the lane may not be that of the session
	}
	written, err := end(version)
	x.written.Add(written)
	x.progress()
	return err
}

// sink is what takes the commits of one session.
func (x *restoring) sink(ctx context.Context, key eventstore.Key) (add func(*Commit) error, end func(uint64) (uint64, error), err error) {
	target := x.o.target(key)
	if x.skip.has(target) {
		return func(*Commit) error { return nil }, func(uint64) (uint64, error) { return 0, nil }, nil
	}
	r, err := newRestorer(ctx, x.store, target)
	if err != nil {
		return nil, nil, err
	}
	if !x.o.rewrites() {
		add = func(c *Commit) error { return r.add(ctx, c.Version, c.Original) }
		return add, func(version uint64) (uint64, error) { return r.written, r.end(version) }, nil
	}
	w := newRewriter(key, target, x.o)
	add = func(c *Commit) error { return w.add(ctx, c.Original) }
	end = func(uint64) (uint64, error) {
		if r.agg.Seq > 0 {
			return 0, nil // it was there when the file was checked
		}
		o, err := w.original(ctx)
		if err == nil {
			err = r.add(ctx, 1, o)
		}
		return r.written, err
	}
	return add, end, nil
}

func (x *restoring) progress() {
	done := x.sessions.Add(1)
	if x.o.Progress != nil {
		x.o.Progress(Progress{Doing: "writing", Sessions: done, Commits: x.written.Load(), Of: x.of})
	}
}

// budget bounds how many bytes are held at once.
type budget struct {
	most int
	mu   sync.Mutex
	used int
	free chan struct{} // closed and replaced when something is given back
}

func newBudget(most int) *budget { return &budget{most: most, free: make(chan struct{})} }

// take waits until there is room; a piece larger than all of it goes alone.
func (b *budget) take(ctx context.Context, n int) error {
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.most {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		free := b.free
		b.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return fmt.Errorf("nothing is restored any more: %w", context.Cause(ctx))
		}
	}
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	close(b.free)
	b.free = make(chan struct{})
}
