package projections

import (
	"container/heap"
	"context"
	"math"
	"sync"
)

// gate holds goroutines until a position is reached. It wakes exactly those
// whose position is reached, however many others wait.
type gate struct {
	mu      sync.Mutex
	pos     uint64
	stopped bool
	waiting waiters
}

type waiter struct {
	seq   uint64
	index int
	woken chan struct{}
}

// position returns how far the gate is open.
func (g *gate) position() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pos
}

// advance opens the gate up to seq; it never closes it again.
func (g *gate) advance(seq uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pos = max(g.pos, seq)
	for len(g.waiting) > 0 && g.waiting[0].seq <= g.pos {
		g.wakeFirst()
	}
}

// wakeFirst needs the lock, and somebody who waits.
func (g *gate) wakeFirst() {
	first := g.waiting[0]
	heap.Pop(&g.waiting)
	close(first.woken)
}

// stop wakes everybody; who still waits gets ErrStopped.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	for len(g.waiting) > 0 {
		g.wakeFirst()
	}
}

// reset undoes stop and sets the position, which may be an earlier one.
func (g *gate) reset(pos uint64) {
	g.mu.Lock()
	g.stopped, g.pos = false, 0
	g.mu.Unlock()
	g.advance(pos)
}

// least returns the least position that is waited for, the highest number if
// nobody waits.
func (g *gate) least() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		return math.MaxUint64
	}
	return g.waiting[0].seq
}

// wait returns nil once seq is reached, else the error of ctx or ErrStopped.
func (g *gate) wait(ctx context.Context, seq uint64) error {
	return g.await(ctx, g.enter(seq), seq)
}

// await is wait for who has entered.
func (g *gate) await(ctx context.Context, w *waiter, seq uint64) error {
	if w == nil {
		return nil
	}
	select {
	case <-w.woken:
	case <-ctx.Done():
		g.leave(w)
	}
	if g.position() >= seq {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrStopped
}

// enter returns nil if there is nothing to wait for.
func (g *gate) enter(seq uint64) *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pos >= seq {
		return nil
	}
	w := &waiter{seq: seq, woken: make(chan struct{})}
	if g.stopped {
		close(w.woken)
		w.index = -1
		return w
	}
	heap.Push(&g.waiting, w)
	return w
}

func (g *gate) leave(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.index >= 0 {
		heap.Remove(&g.waiting, w.index)
	}
}

// waiters is a heap by sequence; see container/heap.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].seq < w[j].seq }
func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push is for container/heap.
func (w *waiters) Push(x any) {
	entry := x.(*waiter) //nolint:forcetypeassert // enter alone pushes
	entry.index = len(*w)
	*w = append(*w, entry)
}

// Pop is for container/heap.
func (w *waiters) Pop() any {
	last := len(*w) - 1
	entry := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	entry.index = -1
	return entry
}
