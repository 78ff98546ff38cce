package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"reprise/domain"
	"reprise/worker"
	"reprise/worker/workertest"
)

// wait bounds everything that a test waits for.
const wait = workertest.Wait

// site is an engine and a worker on one server.
type site struct {
	*workertest.Engine

	t    testing.TB
	url  string
	w    *worker.Worker
	stop context.CancelFunc
	done chan error
}

func newSite(t testing.TB) *site {
	t.Helper()
	url := workertest.Server(t)
	return &site{Engine: workertest.Start(t, url), t: t, url: url}
}

// brisk is a configuration that waits for answers for longer than any machine needs,
// and for nothing else.
func brisk() worker.Config {
	return worker.Config{
		ID: "amber", Concurrency: 4, Lease: wait, RequestTimeout: wait / 4,
		DrainTimeout: wait, StopTimeout: wait, ProgressInterval: time.Millisecond,
	}
}

// curt is brisk where answers don't come.
func curt() worker.Config {
	cfg := brisk()
	cfg.RequestTimeout = 100 * time.Millisecond
	return cfg
}

// worker makes the worker of the site.
func (s *site) worker(cfg worker.Config) *worker.Worker {
	s.t.Helper()
	w, err := worker.New(workertest.Connect(s.t, s.url), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.w = w
	return w
}

// run runs the worker until the test ends.
func (s *site) run() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.done = cancel, make(chan error, 1)
	go func() { s.done <- s.w.Run(ctx) }()
	s.t.Cleanup(func() {
		s.w.Abandon()
		cancel()
	})
}

// ended waits for the end of Run.
func (s *site) ended() error {
	s.t.Helper()
	return receive(s.t, s.done)
}

func (s *site) drained() {
	s.t.Helper()
	s.stop()
	if err := s.ended(); err != nil {
		s.t.Fatalf("Run: %v", err)
	}
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(wait):
		t.Fatalf("waited %s in vain", wait)
		panic("unreachable")
	}
}

// one is a session of one step with action "build".
const one = `{"chains":[{"id":"c","steps":[{"id":"s","action":"build"}]}]}`

// hanging is a handler that tells when it runs and why it had to stop.
type hanging struct {
	started chan *worker.Task
	causes  chan error
}

func newHanging() hanging {
	return hanging{started: make(chan *worker.Task, 16), causes: make(chan error, 16)}
}

func (h hanging) handle(ctx context.Context, t *worker.Task) (any, error) {
	h.started <- t
	<-ctx.Done()
	h.causes <- context.Cause(ctx)
	return nil, ctx.Err()
}

// counter counts how often each step ran, and how many ran at once.
type counter struct {
	mu           sync.Mutex
	runs         map[string]int
	now, most    int
	simultaneous error
	inside       map[string]bool
}

func newCounter() *counter { return &counter{runs: map[string]int{}, inside: map[string]bool{}} }

func (c *counter) enter(t *worker.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := t.Session + "/" + t.Chain + "/" + t.Step
	if c.inside[key] {
		c.simultaneous = errors.New(key + " ran twice at the same time")
	}
	c.inside[key] = true
	c.runs[key]++
	c.now++
	c.most = max(c.most, c.now)
}

func (c *counter) leave(t *worker.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inside, t.Session+"/"+t.Chain+"/"+t.Step)
	c.now--
}

func (c *counter) handle(_ context.Context, t *worker.Task) (any, error) {
	c.enter(t)
	defer c.leave(t)
	return t.Step, nil
}

// times returns how often a step ran, after checking that it never ran twice at
// the same time.
func (c *counter) times(t testing.TB, key string) int {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.simultaneous != nil {
		t.Error(c.simultaneous)
	}
	return c.runs[key]
}

func stepIs(chain, step string, status domain.StepStatus) func(*domain.Session) bool {
	return func(s *domain.Session) bool { return s.Step(chain, step).Status == status }
}
