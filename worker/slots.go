package worker

import (
	"context"
	"time"
)

// slots bounds how many attempts run at once. A nil slots has no bound.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

// room waits until a slot is free and returns how many are, at most limit. It
// takes none; 0 means that ctx ended.
func (s slots) room(ctx context.Context, limit int) int {
	if s == nil {
		return limit
	}
	if !s.take(ctx, 0) {
		return 0
	}
	s.free()
	return max(1, min(limit, cap(s)-len(s)))
}

// take takes a slot. It waits for one at most patience (0: as long as ctx holds).
func (s slots) take(ctx context.Context, patience time.Duration) bool {
	if s == nil || s.tryTake() {
		return true
	}
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	select {
	case s <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s slots) tryTake() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) free() {
	if s != nil {
		<-s
	}
}
