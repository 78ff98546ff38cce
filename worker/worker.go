package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
)

// Handler executes one attempt of a step. What it returns becomes the step's
// output as JSON (at most domain.MaxPayloadBytes; nil for none). See the
// package comment for errors and the context.
type Handler func(ctx context.Context, t *Task) (any, error)

// HandleOption changes how one action is served.
type HandleOption func(*handler)

// Concurrency bounds how many steps of the action run at once, within the
// worker's own bound.
func Concurrency(n int) HandleOption {
	return func(h *handler) { h.limit, h.bound = newSlots(max(n, 0)), n }
}

// Lease asks for another lease than Config.Lease.
func Lease(d time.Duration) HandleOption {
	return func(h *handler) { h.lease = d }
}

// handler is one action that the worker serves.
type handler struct {
	action string
	fn     Handler
	lease  time.Duration
	// limit is nil where the action has no bound of its own.
	limit slots
	bound int
}

// Worker runs handlers for the steps of an engine. Make one with New, add
// handlers, and run it once.
type Worker struct {
	nc       *nats.Conn
	cfg      Config
	log      *slog.Logger
	handlers map[string]*handler
	problems []error
	slots    slots

	used      atomic.Bool
	abandon   sync.Once
	abandoned chan struct{}

	// running counts attempts, by what is logged of them.
	running sync.WaitGroup
	mu      sync.Mutex
	busy    map[string]int
}

// New checks the configuration and returns a worker on that connection. It
// sends and starts nothing; the caller closes the connection after Run. The
// error joins everything that is wrong.
func New(nc *nats.Conn, cfg Config) (*Worker, error) {
	if nc == nil {
		return nil, errors.New("worker: a NATS connection is needed")
	}
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Worker{
		nc: nc, cfg: cfg, log: cfg.Logger.With("worker", cfg.ID), handlers: map[string]*handler{},
		slots: newSlots(cfg.Concurrency), abandoned: make(chan struct{}), busy: map[string]int{},
	}, nil
}

// ID returns the name of the worker.
func (w *Worker) ID() string { return w.cfg.ID }

// Handle registers the handler of an action. It must not be called after Run;
// what is wrong with the arguments is returned by Run.
func (w *Worker) Handle(action string, fn Handler, opts ...HandleOption) {
	h := &handler{action: action, fn: fn, lease: w.cfg.Lease, bound: 1}
	for _, opt := range opts {
		opt(h)
	}
	refuse := func(bad bool, sentence string) {
		if bad {
			w.problems = append(w.problems, fmt.Errorf("worker: Handle(%.80q): %s", action, sentence))
		}
	}
	refuse(!contract.ValidToken(action), "an action name is 1-64 of A-Z a-z 0-9 _ -")
	refuse(fn == nil, "the handler is nil")
	refuse(w.handlers[action] != nil, "the action has a handler already")
	refuse(h.bound < 1, "its concurrency must be 1 or more")
	refuse(h.lease < 0, "its lease must be more than 0")
	w.handlers[action] = h
}

// Actions lists the actions with a handler, in order.
func (w *Worker) Actions() []string {
	actions := make([]string, 0, len(w.handlers))
	for action := range w.handlers {
		actions = append(actions, action)
	}
	slices.Sort(actions)
	return actions
}

// Abandon makes Run return within a second: contexts of handlers end with ErrAbandoned,
// nothing is reported, and the steps go to others once their leases are over.
// It may be called at any time and from any goroutine.
func (w *Worker) Abandon() { w.abandon.Do(func() { close(w.abandoned) }) }

// shift is what bounds the work of one Run.
type shift struct {
	// closing is closed when nothing new is to be taken.
	closing <-chan struct{}
	// work ends when handlers have to stop, life when nothing more is sent.
	work, life context.Context //nolint:containedctx // they belong together and go down every call
}

func (s shift) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Run serves the registered actions until ctx ends. Then it pulls no more,
// waits DrainTimeout for handlers, ends the context of those that are left and
// gives their steps back. It waits for engines that are not there yet and goes
// on after interruptions.
//
// It returns nil after a drain that left nothing behind; ErrUnfinished (with
// the steps) if handlers did not return; ErrAbandoned after Abandon; and what
// makes an action impossible to serve, such as missing rights or a closed
// connection.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	pulling, stopPulling := context.WithCancel(ctx)
	defer stopPulling()
	life, die := context.WithCancelCause(context.WithoutCancel(ctx))
	defer die(nil)
	work, stop := context.WithCancelCause(life)
	defer stop(nil)
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-w.abandoned:
			die(ErrAbandoned)
			stopPulling()
		case <-finished:
		}
	}()
	err := w.pullAll(pulling, stopPulling, shift{closing: pulling.Done(), work: work, life: life})
	return errors.Join(err, w.drain(stop))
}

func (w *Worker) begin() error {
	if w.used.Swap(true) {
		return ErrUsed
	}
	problems := w.problems
	if len(w.handlers) == 0 {
		problems = append(problems, errors.New("worker: there is no handler; call Handle before Run"))
	}
	return errors.Join(problems...)
}

// pullAll runs a loop for each action. The first one that fails ends all.
func (w *Worker) pullAll(ctx context.Context, stop func(), s shift) error {
	errs := make([]error, len(w.handlers))
	var loops sync.WaitGroup
	for i, action := range w.Actions() {
		loops.Go(func() {
			defer stop()
			errs[i] = w.pullLoop(ctx, s, w.handlers[action])
		})
	}
	loops.Wait()
	return errors.Join(errs...)
}

// drain waits for the attempts that are running.
func (w *Worker) drain(stop context.CancelCauseFunc) error {
	idle := make(chan struct{})
	go func() {
		w.running.Wait()
		close(idle)
	}()
	done := w.await(idle, w.cfg.DrainTimeout)
	if !done {
		stop(ErrDraining)
		done = w.await(idle, w.cfg.StopTimeout)
	}
	select {
	case <-w.abandoned:
		sleepUntil(idle, abandonWait)
		return ErrAbandoned
	default:
	}
	if !done {
		return fmt.Errorf("%w: %s", ErrUnfinished, strings.Join(w.unfinished(), ", "))
	}
	return nil
}

// await waits for idle and reports whether it came; Abandon and the time end it.
func (w *Worker) await(idle <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
		return true
	case <-timer.C:
	case <-w.abandoned:
	}
	return false
}

// sleepUntil waits for done, at most d.
func sleepUntil(done <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// began and ended keep the list of attempts that are running.
func (w *Worker) began(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[name]++
}

func (w *Worker) ended(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[name]--; w.busy[name] == 0 {
		delete(w.busy, name)
	}
}

func (w *Worker) unfinished() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := make([]string, 0, len(w.busy))
	for name := range w.busy {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
