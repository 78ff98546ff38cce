package engine

import (
	"container/heap"
	"time"

	"reprise/domain"
)

const (
	// maxNap bounds the sleep of the watch, so that a clock that is set or a
	// machine that was asleep is noticed.
	maxNap = 100 * time.Millisecond
	// fireRetry is when an alarm rings again whose effect is not seen yet.
	fireRetry = time.Second
	// busyFireRetry is that for one the engine had no room for.
	busyFireRetry = 20 * time.Millisecond
	// maxFirings is how many timeouts are being decided at once.
	maxFirings = 256
)

// alarm is a time at which the holder has to do something about a session.
type alarm struct {
	// at is when to look, due the time that the events name.
	at, due time.Time
	// step is empty for the session's own timeout.
	step domain.StepRef
	// attempt is that of domain.Timer; of a backoff the one that will be offered.
	attempt int
	// action is set for the end of a backoff alone.
	action string
}

// backoff reports whether the alarm ends a backoff.
func (a *alarm) backoff() bool { return a.action != "" }

// flight is an attempt in flight, as the holder watches it.
type flight struct {
	attempt int
	action  string
	lease   time.Duration
	// seen is when the holder last saw a sign of life: the claim, a heartbeat or
	// its own start. The lease counts from there.
	seen time.Time
	// beat names the last heartbeat that was seen.
	beat string
	// retry is when to look again after the lease was found to be over.
	retry time.Time
	mark  uint64
}

// ends returns when to look at the lease.
func (f *flight) ends() time.Time {
	end := f.seen.Add(f.lease)
	if f.retry.After(end) {
		return f.retry
	}
	return end
}

// next returns when the session has to be looked at; zero for never.
func (t *tracked) next() time.Time {
	var next time.Time
	for i := range t.alarms {
		next = sooner(next, t.alarms[i].at)
	}
	for _, f := range t.flights {
		next = sooner(next, f.ends())
	}
	return next
}

// sooner returns the earlier of two times, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// agenda has the sessions in the order in which they have to be looked at; see
// container/heap.
type agenda []*tracked

// plan puts a session at its place and reports whether it is the first now.
func (g *agenda) plan(t *tracked, at time.Time) bool {
	t.at = at
	switch {
	case at.IsZero() && t.index >= 0:
		heap.Remove(g, t.index)
	case at.IsZero():
	case t.index >= 0:
		heap.Fix(g, t.index)
	default:
		heap.Push(g, t)
	}
	return t.index == 0
}

func (g agenda) Len() int           { return len(g) }
func (g agenda) Less(i, j int) bool { return g[i].at.Before(g[j].at) }
func (g agenda) Swap(i, j int) {
	g[i], g[j] = g[j], g[i]
	g[i].index, g[j].index = i, j
}

// Push is for container/heap.
func (g *agenda) Push(x any) {
	t := x.(*tracked) //nolint:forcetypeassert // plan alone pushes
	t.index = len(*g)
	*g = append(*g, t)
}

// Pop is for container/heap.
func (g *agenda) Pop() any {
	last := len(*g) - 1
	t := (*g)[last]
	(*g)[last] = nil
	*g = (*g)[:last]
	t.index = -1
	return t
}
