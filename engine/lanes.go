package engine

import (
	"context"
	"fmt"
	"sync"

	"reprise/domain"
	"reprise/eventstore"
)

// The bounds of lanes where a Config doesn't say otherwise.
const (
	// maxInFlight is the number of commands that are accepted and not answered.
	maxInFlight = 8192
	// maxPerSession is the number of those that are for one session.
	maxPerSession = 1024
	// maxRunning is the number of those that are decided and stored side by side,
	// enough to keep a server busy that answers in a millisecond or less. The others
	// wait for their turns and not for the processor, which whoever reads and refuses
	// commands needs too (ADR 0018).
	maxRunning = 128
	// maxRunningSlow is that number where an append waits for a disk or for other
	// servers: what is sent together is stored together.
	maxRunningSlow = 1024
	// engineSender is the sender of the engine's own commands.
	engineSender = ""
	// maxIdleWorkers is the number of goroutines that are kept waiting for work,
	// so that their stacks need not grow again for every command.
	maxIdleWorkers = 512
	// busyRetry is the hint for callers that were refused by a bound: 250 ms.
	busyRetry = domain.Duration(250e6)
)

// lanes runs jobs. Jobs for the same session run one after another in the order
// in which they were submitted; jobs for different sessions run side by side.
// It is safe for concurrent use. Close it to end its idle goroutines.
type lanes struct {
	maxJobs, maxLane, maxRunning int

	mu    sync.Mutex
	lanes map[eventstore.Key]*lane
	spare []*lane
	jobs  int
	// running counts the jobs that run; ready has those that could, were it not for
	// maxRunning.
	running  int
	ready    turns
	draining bool
	// empty is closed when the last job ends after drain was called.
	empty chan struct{}

	idle    chan struct{} // tokens of the goroutines that may wait for work
	handoff chan *job
	stop    chan struct{}
	closing sync.Once
}

// lane is the queue of one session; the first job of it runs or waits for its
// turn, unless it is the first in one of its lanes only.
type lane = fifo[*job]

// job is a piece of work that is in one lane or in two.
type job struct {
	run func()
	// sender is who takes a turn with it.
	sender string
	keys   [2]eventstore.Key
	lanes  int
	// behind is the number of its lanes in which another job is before it.
	behind int
}

// newLanes makes lanes with bounds on jobs in all, per session, and at once.
func newLanes(maxJobs, maxLane, maxRunning int) *lanes {
	return &lanes{
		maxJobs: maxJobs, maxLane: maxLane, maxRunning: maxRunning,
		lanes: make(map[eventstore.Key]*lane),
		empty: make(chan struct{}),
		idle:  make(chan struct{}, maxIdleWorkers), handoff: make(chan *job), stop: make(chan struct{}),
	}
}

// submit runs fn in the lane of key and returns at once. The error is a
// rejection: busy over a bound, unavailable while draining; fn is not run then.
func (l *lanes) submit(sender string, key eventstore.Key, fn func()) error {
	return l.enqueue(&job{run: fn, sender: sender, keys: [2]eventstore.Key{key}, lanes: 1})
}

// submitPair runs fn when it is first in the lanes of both sessions. Both are
// entered in one step, so that two pairs can't wait for each other.
func (l *lanes) submitPair(sender string, a, b eventstore.Key, fn func()) error {
	if a == b {
		return l.submit(sender, a, fn)
	}
	return l.enqueue(&job{run: fn, sender: sender, keys: [2]eventstore.Key{a, b}, lanes: 2})
}

func (l *lanes) enqueue(j *job) error {
	l.mu.Lock()
	if err := l.refuse(j); err != nil {
		l.mu.Unlock()
		return err
	}
	l.jobs++
	for _, key := range j.keys[:j.lanes] {
		q := l.lane(key)
		if q.len() > 0 {
			j.behind++
		}
		q.push(j)
	}
	run := j.behind == 0 && l.admit(j)
	l.mu.Unlock()
	if run {
		l.start(j)
	}
	return nil
}

// refuse says why a job can't be taken; nil if it can.
func (l *lanes) refuse(j *job) error {
	if l.draining {
		return domain.Reject(domain.CodeUnavailable, domain.StateNone, "this engine is stopping and takes no more commands; send it again")
	}
	if l.jobs >= l.maxJobs {
		return domain.Reject(domain.CodeBusy, domain.StateNone, "%d commands are waiting in this engine, the most it takes; send it again a little later", l.jobs)
	}
	for _, key := range j.keys[:j.lanes] {
		if q := l.lanes[key]; q != nil && q.len() >= l.maxLane {
			return domain.Reject(domain.CodeBusy, domain.StateNone, "%d commands for session %q are waiting, the most there may be; send it again a little later", q.len(), key.Session)
		}
	}
	return nil
}

// lane returns the lane of a session, made on demand.
func (l *lanes) lane(key eventstore.Key) *lane {
	if q := l.lanes[key]; q != nil {
		return q
	}
	q := &lane{}
	if n := len(l.spare); n > 0 {
		q, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	l.lanes[key] = q
	return q
}

// start hands a job to a waiting goroutine, or to a new one.
func (l *lanes) start(j *job) {
	select {
	case l.handoff <- j:
	default:
		go l.work(j)
	}
}

// work runs jobs until there is none and enough other goroutines wait for one.
func (l *lanes) work(j *job) {
	for j != nil {
		j.run()
		next := l.finish(j)
		if next == nil {
			next = l.await()
		}
		j = next
	}
}

// await waits for a job; nil ends the goroutine.
func (l *lanes) await() *job {
	select {
	case l.idle <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-l.idle }()
	select {
	case j := <-l.handoff:
		return j
	case <-l.stop:
		return nil
	}
}

// admit reports whether a job that may run is to be started; else it waits for its
// turn. The caller holds the lock.
func (l *lanes) admit(j *job) bool {
	if l.running >= l.maxRunning {
		l.ready.push(j)
		return false
	}
	l.running++
	return true
}

// finish takes a job out of its lanes and returns whose turn it is, for this
// goroutine; where two lanes went on and there is room, a second one is started.
func (l *lanes) finish(j *job) *job {
	l.mu.Lock()
	for _, key := range j.keys[:j.lanes] {
		if head := l.leave(key); head != nil {
			l.ready.push(head)
		}
	}
	l.jobs--
	if l.draining && l.jobs == 0 {
		close(l.empty)
	}
	next, second := l.ready.pop(), (*job)(nil)
	if next == nil {
		l.running--
	} else if l.running < l.maxRunning {
		if second = l.ready.pop(); second != nil {
			l.running++
		}
	}
	l.mu.Unlock()
	if second != nil {
		l.start(second)
	}
	return next
}

// leave takes the first job out of a lane and returns the next if nothing else
// keeps it back. A lane that is empty is put aside.
func (l *lanes) leave(key eventstore.Key) *job {
	q := l.lanes[key]
	q.pop()
	if q.len() == 0 {
		delete(l.lanes, key)
		if len(l.spare) < maxIdleWorkers {
			l.spare = append(l.spare, q)
		}
		return nil
	}
	head := q.first()
	head.behind--
	if head.behind > 0 {
		return nil
	}
	return head
}

// inFlight returns the number of jobs that were taken and have not ended.
func (l *lanes) inFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jobs
}

// drain takes no more jobs and waits until all that were taken have ended, or
// for ctx. Call it once.
func (l *lanes) drain(ctx context.Context) error {
	l.mu.Lock()
	l.draining = true
	if l.jobs == 0 {
		close(l.empty)
	}
	l.mu.Unlock()
	select {
	case <-l.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d commands were not answered in time: %w", l.inFlight(), context.Cause(ctx))
	}
}

// close ends the idle goroutines. Jobs that run end by themselves.
func (l *lanes) close() { l.closing.Do(func() { close(l.stop) }) }
