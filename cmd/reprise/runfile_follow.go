package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/natsnode"
	"reprise/worker"
)

const (
	// tickPause is the time between two pictures of the tree.
	tickPause = 100 * time.Millisecond
)

// errServerGone ends a run whose engine was in a process that has ended.
var errServerGone = fmt.Errorf("%w: the process that served the data directory has ended", natsnode.ErrUnreachable)

// errStopped ends a run at the second interrupt.
var errStopped = errors.New("stopped at once")

// crew is the worker of a run; with --no-worker there is none.
type crew struct {
	worker *worker.Worker
	// stop makes it give back what it has in hand.
	stop context.CancelFunc
	// ended is closed after its end; err is why.
	ended chan struct{}
	err   error
}

// watched is what the watch of a session brings.
type watched struct {
	entry contract.CommitEntry
	err   error
}

// follow executes and shows the session until it has settled. An interrupt
// pauses it; its context ends no request.
func (r *runner) follow(ctx context.Context, from uint64) error {
	life, hurry := context.WithCancel(context.WithoutCancel(ctx))
	defer hurry()
	news := r.watch(life, from)
	crew, err := r.hire(life)
	if err != nil {
		return err
	}
	defer crew.dismiss()
	tick := time.NewTicker(tickPause)
	defer tick.Stop()
	second, forget := secondSignal(ctx)
	defer forget()
	p := &pausing{r: r, crew: crew, asked: make(chan error, 1)}
	r.revive(life)
	for !r.settled(p.begun) {
		select {
		case n := <-news:
			err = r.take(life, n)
		case <-tick.C:
			r.show.picture(r.board)
			err = r.checkServer()
		case <-p.unmanned():
			err = p.workerEnded(life)
		case <-r.engine:
			err = fmt.Errorf("%w: the engine in this process has ended", natsnode.ErrUnreachable)
		case <-p.interrupted(ctx):
			err = p.begin(life)
		case err = <-p.asked:
			err = p.answered(err)
		case <-p.patience:
			p.stopWorker()
		case <-second:
			crew.abandon()
			return errStopped
		}
		if err != nil {
			return crew.without(err)
		}
	}
	return nil
}

// without ends the crew at once where nobody would hear what it reports.
func (c *crew) without(err error) error {
	if errors.Is(err, natsnode.ErrUnreachable) {
		c.abandon()
	}
	return err
}

// settled reports whether nothing will happen any more that this run waits for.
func (r *runner) settled(pausing bool) bool {
	s := r.board.Session()
	if s.Version < r.awaited || s.Version == 0 {
		return false
	}
	switch s.State {
	case domain.StateCompleted, domain.StateCancelled:
		return true
	case domain.StateFailed:
		return s.InFlight == 0
	case domain.StatePaused:
		return pausing && s.InFlight == 0
	case domain.StateNone, domain.StatePending, domain.StateRunning:
	}
	return s.Gone != nil
}

// watch follows the commits of the session.
func (r *runner) watch(ctx context.Context, from uint64) <-chan watched {
	news := make(chan watched)
	go func() {
		for entry, err := range r.client.Watch(ctx, r.id, from) {
			select {
			case news <- watched{entry, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return news
}

// take puts a commit on the board and shows it.
func (r *runner) take(ctx context.Context, n watched) error {
	if n.err != nil {
		return r.link.explain(n.err)
	}
	if r.board.apply(n.entry) != nil {
		reply, err := r.client.Get(ctx, r.id)
		if err != nil {
			return err
		}
		r.board.replace(reply.Session)
	}
	r.show.commit(n.entry, r.board.Session())
	r.revive(ctx)
	for _, hint := range r.hints(r.board.Session()) {
		r.show.hint(hint)
	}
	return nil
}

// checkServer ends the run when the engine was in another process on this
// machine that has ended; other servers are waited for.
func (r *runner) checkServer() error {
	if r.engine != nil || r.a.remote() || r.link.nc.Status() != nats.RECONNECTING {
		return nil
	}
	_, running, err := natsnode.ReadLock(r.a.dataDir())
	if err == nil && !running {
		return errServerGone
	}
	return nil
}

// hire starts the worker.
func (r *runner) hire(ctx context.Context) (*crew, error) {
	if r.f.noWorker {
		return &crew{stop: func() {}}, nil
	}
	name := runWorker
	if r.engine != nil {
		name = embeddedWorker
	}
	owner := r.a.owner()
	w, err := worker.New(r.link.nc, worker.Config{
		ID: name + randomWord(workerWord), Names: r.names, Concurrency: r.f.concurrency, Lease: time.Duration(r.f.lease),
		DrainTimeout: time.Nanosecond, // --patience was before
		Logger:       r.workerLog(),
		Accept: func(ref contract.TaskRef) bool {
			return ref.User == owner && ref.Session == r.id
		},
	})
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	for action, builtin := range r.served {
		w.Handle(action, r.board.observed(builtinHandler(builtin, r.f.dir)))
	}
	ctx, stop := context.WithCancel(ctx)
	c := &crew{worker: w, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.err = w.Run(ctx)
	}()
	return c, nil
}

// workerLog is nil unless more than errors are to be logged: what the worker
// calls an error, such as a result that is refused after a cancel, shows already.
func (r *runner) workerLog() *slog.Logger {
	if r.f.level >= slog.LevelError {
		return nil
	}
	return r.log
}

// dismiss stops the worker and waits for it.
func (c *crew) dismiss() {
	c.stop()
	if c.worker != nil {
		<-c.ended
	}
}

// abandon kills what runs; nothing is reported.
func (c *crew) abandon() {
	if c.worker != nil {
		c.worker.Abandon()
	}
}

// secondSignal tells of a signal that comes after ctx has ended.
func secondSignal(ctx context.Context) (second <-chan os.Signal, forget func()) {
	signals := make(chan os.Signal, 1)
	stop := context.AfterFunc(ctx, func() { signal.Notify(signals, os.Interrupt, syscall.SIGTERM) })
	return signals, func() {
		stop()
		signal.Stop(signals)
	}
}

// pausing is what happens after an interrupt: pause; wait for --patience; stop
// the worker, which gives back its steps; take away what others still have.
type pausing struct {
	r    *runner
	crew *crew
	// begun is set at the interrupt, alone once the worker's end was seen.
	begun, alone bool
	// busy is set before asked gets a nil: something was in flight at the pause.
	busy     bool
	asked    chan error
	patience <-chan time.Time
}

func quiesced(e contract.EventSummary) bool { return e.Type == domain.TypeSessionQuiesced }

// interrupted is the end of ctx until that was noticed.
func (p *pausing) interrupted(ctx context.Context) <-chan struct{} {
	if p.begun {
		return nil
	}
	return ctx.Done()
}

// unmanned is the end of the worker until that was noticed.
func (p *pausing) unmanned() <-chan struct{} {
	if p.alone {
		return nil
	}
	return p.crew.ended
}

// begin pauses the session. A run that executes nothing leaves it alone.
func (p *pausing) begin(ctx context.Context) error {
	p.begun, p.r.stopping = true, true
	if p.r.f.noWorker {
		return errors.New("interrupted before the session was done; it is as it was")
	}
	p.patience = time.After(time.Duration(p.r.f.patience))
	p.pause(ctx, domain.PauseDrain)
	return nil
}

// pause asks for it; asked gets the answer.
func (p *pausing) pause(ctx context.Context, mode domain.PauseMode) {
	go func() {
		reply, err := p.r.client.Pause(ctx, p.r.id, domain.Pause{Mode: mode, Reason: "the run was interrupted"})
		p.busy = err == nil && !slices.ContainsFunc(reply.Events, quiesced)
		select {
		case p.asked <- err:
		case <-ctx.Done():
		}
	}()
}

// answered takes what the engine said to a pause. That the session is paused
// already, or has just ended, is as good.
func (p *pausing) answered(err error) error {
	switch client.CodeOf(err) {
	case domain.CodeAlready, domain.CodeIllegalTransition, domain.CodeGone, domain.CodeNotFound:
		err = nil
	default:
	}
	if err != nil {
		return fmt.Errorf("the session could not be paused: %w", err)
	}
	n := p.r.board.Session().InFlight
	if p.busy { // what was begun last may not be on the board yet
		n = max(n, 1)
	}
	if n > 0 && p.patience != nil {
		p.r.show.notice(fmt.Sprintf("pausing: %s in flight may go on for %s; interrupt again to stop at once",
			plural(n, "step"), p.r.f.patience.String()))
	}
	return nil
}

// stopWorker ends the handlers; their steps are given back.
func (p *pausing) stopWorker() {
	p.patience = nil
	p.crew.stop()
}

// workerEnded is the end of a worker that was stopped, after which the attempts
// of other workers are taken away; or of one that could not work.
func (p *pausing) workerEnded(ctx context.Context) error {
	p.alone = true
	if !p.begun {
		return p.crew.err
	}
	if p.crew.err != nil {
		p.r.show.notice(p.crew.err.Error())
	}
	if p.r.board.Session().InFlight > 0 {
		p.pause(ctx, domain.PauseInterrupt)
	}
	return nil
}
