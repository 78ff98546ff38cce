package load

import (
	"context"
	"sync"
	"time"
)

// run drives one phase. The error is that of tell.
func (p Phase) run(ctx context.Context, session Session, tell func(Report) error) error {
	if err := p.check(); err != nil {
		return tell(Report{Event: EventError, Message: err.Error()})
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &loop{session: session, enough: make(chan struct{}), failed: make(chan error, 1), more: make(chan struct{}, 1), limit: p.Sessions}
	idle := l.start(ctx, p.Clients)
	err := l.measure(ctx, p, tell)
	l.close()
	<-idle
	if err != nil {
		return err
	}
	return tell(Report{Event: EventIdle})
}

// loop keeps sessions in flight and records those that end while it is open.
type loop struct {
	session Session
	// enough is closed once limit sessions were recorded.
	enough chan struct{}
	// failed holds the first error, more a mark after a session has completed.
	failed chan error
	more   chan struct{}

	mu    sync.Mutex
	limit int
	open  bool
	over  bool
	// done counts all sessions, micros has those that are recorded.
	done   int
	micros []int64
}

// start lets clients run; the channel is closed after the last of them.
func (l *loop) start(ctx context.Context, clients int) <-chan struct{} {
	idle := make(chan struct{})
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() { l.client(ctx) })
	}
	go func() {
		wg.Wait()
		close(idle)
	}()
	return idle
}

// client runs sessions one after another until the loop is over.
func (l *loop) client(ctx context.Context) {
	for !l.isOver() {
		begun := time.Now()
		if err := l.session(ctx); err != nil {
			l.fail(err)
			return
		}
		l.record(time.Since(begun))
	}
}

// measure opens the window, waits for its end and tells what fell into it.
func (l *loop) measure(ctx context.Context, p Phase, tell func(Report) error) error {
	if err := l.wait(ctx, millis(p.WarmMillis), min(p.Rounds, 1)*p.Clients); err != nil {
		return tell(Report{Event: EventError, Message: err.Error()})
	}
	if err := tell(Report{Event: EventBegin}); err != nil {
		return err
	}
	begun := time.Now()
	done := l.setOpen()
	err := l.wait(ctx, millis(p.MeasureMillis), done+p.Rounds*p.Clients)
	micros := l.close()
	elapsed := time.Since(begun)
	if err != nil {
		return tell(Report{Event: EventError, Message: err.Error()})
	}
	return tell(Report{Event: EventEnd, ElapsedMicros: elapsed.Microseconds(), Micros: micros})
}

// wait returns after d and once least sessions are done, but after MaxStretch
// times d at the latest, and at once if enough were recorded. The error is that
// of a session that has failed by then.
func (l *loop) wait(ctx context.Context, d time.Duration, least int) error {
	due, late := time.NewTimer(d), time.NewTimer(MaxStretch*d)
	defer due.Stop()
	defer late.Stop()
	for soon := false; !soon || l.doneSoFar() < least; {
		select {
		case <-due.C:
			soon = true
		case <-l.more:
		case <-late.C:
			return l.failure()
		case <-l.enough:
			return l.failure()
		case err := <-l.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return l.failure()
}

// failure returns the error of a session that has failed.
func (l *loop) failure() error {
	select {
	case err := <-l.failed:
		return err
	default:
		return nil
	}
}

func (l *loop) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

func (l *loop) record(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done++
	select {
	case l.more <- struct{}{}:
	default:
	}
	if !l.open {
		return
	}
	l.micros = append(l.micros, took.Microseconds())
	if len(l.micros) == l.limit {
		l.open = false
		close(l.enough)
	}
}

// setOpen begins to record, and returns how many sessions are done.
func (l *loop) setOpen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
	return l.done
}

func (l *loop) doneSoFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// close ends the loop: what is in flight ends unrecorded. It returns what was
// recorded.
func (l *loop) close() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.over = false, true
	return l.micros
}

func (l *loop) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}
