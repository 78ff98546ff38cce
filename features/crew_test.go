package features

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/worker"
)

const (
	// usualLease is how long a worker of a crew may be silent if the scenario
	// says nothing; a sign of life comes every third of it. shortLease is for one
	// that falls silent, and still longer than a busy machine stands still.
	usualLease = 15 * time.Second
	shortLease = 6 * time.Second
	// newsPause is the shortest pause between two reports of progress.
	newsPause = 10 * time.Millisecond
	// errorOfStep is what a step that fails says.
	errorOfStep = "disk full"
)

// conduct is how a step behaves in the hands of a worker.
type conduct struct {
	// fails is how many attempts fail; panics is for all of them.
	fails  int
	panics bool
	// waits is set for a step that goes on until it is let go or told to stop.
	waits bool
	// spoilt is set for a step that fails once it is let go.
	spoilt bool
	// line is what it puts out before it waits.
	line string
}

// always is a number of failures that no retry policy gets past.
const always = 1 << 20

func readConduct(text string) (conduct, error) {
	c, ok := map[string]conduct{
		"succeeds":             {},
		"fails":                {fails: always},
		"fails once":           {fails: 1},
		"fails twice":          {fails: 2},
		"fails once and waits": {fails: 1, waits: true},
		"panics":               {panics: true},
		"waits":                {waits: true},
		"waits and fails":      {waits: true, spoilt: true},
		"reports and waits":    {waits: true, line: "linking"},
	}[text]
	if !ok {
		return c, fmt.Errorf("no step %q", text)
	}
	return c, nil
}

// crew is the workers of one scenario and what they have seen. Its action is
// the scenario's own, so that they carry out nothing else.
type crew struct {
	action  string
	workers map[string]*hand

	mu sync.Mutex
	// conducts say how steps behave; those that aren't here succeed.
	conducts map[string]conduct
	// begun are the attempts in the order in which they began.
	begun []*stint
	// gates are closed to let steps go that wait.
	gates map[string]chan struct{}
}

// hand is a worker that runs.
type hand struct {
	nc   *nats.Conn
	w    *worker.Worker
	done chan error
}

// stint is an attempt as its handler sees it.
type stint struct {
	*worker.Task

	worker string
	// over and cause are guarded by the crew: whether the handler has returned,
	// and why it was told to stop.
	over  bool
	cause error
}

func newCrew(action string) *crew {
	return &crew{
		action: action, workers: map[string]*hand{},
		conducts: map[string]conduct{}, gates: map[string]chan struct{}{},
	}
}

// expect says how a step will behave.
func (c *crew) expect(key string, how conduct) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conducts[key] = how
}

// stepKey names a step of a session.
func stepKey(session, step string) string { return session + "/" + step }

// hire starts a worker.
func (c *crew) hire(svc *service, id string, lease time.Duration) error {
	nc, err := svc.connect()
	if err != nil {
		return err
	}
	w, err := worker.New(nc, worker.Config{ID: id, Lease: lease, ProgressInterval: newsPause, StopTimeout: patience})
	if err != nil {
		nc.Close()
		return err
	}
	w.Handle(c.action, func(ctx context.Context, t *worker.Task) (any, error) { return c.carryOut(ctx, id, t) })
	h := &hand{nc: nc, w: w, done: make(chan error, 1)}
	go func() { h.done <- w.Run(context.Background()) }()
	c.workers[id] = h
	return nil
}

// silence makes a worker vanish without a word.
func (c *crew) silence(id string) error {
	h, ok := c.workers[id]
	if !ok {
		return fmt.Errorf("there is no worker %q", id)
	}
	delete(c.workers, id)
	h.w.Abandon()
	err := <-h.done
	h.nc.Close()
	if errors.Is(err, worker.ErrAbandoned) {
		return nil
	}
	return err
}

// dismiss ends all workers.
func (c *crew) dismiss() error {
	var errs []error
	for id := range c.workers {
		errs = append(errs, c.silence(id))
	}
	return errors.Join(errs...)
}

// carryOut is the handler of all workers.
func (c *crew) carryOut(ctx context.Context, id string, t *worker.Task) (any, error) {
	a, how, gate := c.begin(id, t)
	defer c.end(ctx, a)
	switch {
	case how.panics:
		panic("no such branch")
	case t.Attempt <= how.fails:
		return result(t, true)
	case !how.waits:
		return result(t, false)
	}
	if how.line != "" {
		t.PartialOutput(func() any { return map[string]string{"log": how.line} })
	}
	select {
	case <-gate:
		return result(t, how.spoilt)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// result is what an attempt comes to.
func result(t *worker.Task, failed bool) (any, error) {
	if failed {
		return nil, &worker.Error{Code: "exit_status", Message: errorOfStep}
	}
	return map[string]string{"done": t.Step}, nil
}

func (c *crew) begin(id string, t *worker.Task) (*stint, conduct, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &stint{Task: t, worker: id}
	c.begun = append(c.begun, a)
	key := stepKey(t.Session, t.Chain+"/"+t.Step)
	return a, c.conducts[key], c.gate(key)
}

func (c *crew) end(ctx context.Context, a *stint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.over, a.cause = true, context.Cause(ctx)
}

// gate is what a step waits for. The crew is locked.
func (c *crew) gate(key string) chan struct{} {
	if c.gates[key] == nil {
		c.gates[key] = make(chan struct{})
	}
	return c.gates[key]
}

// let lets a step go.
func (c *crew) let(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.gate(key))
}

// attempts lists what a session's step went through, as it is now.
func (c *crew) stints(key string) []stint {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []stint
	for _, a := range c.begun {
		if stepKey(a.Session, a.Chain+"/"+a.Step) == key {
			all = append(all, stint{Task: a.Task, worker: a.worker, over: a.over, cause: a.cause})
		}
	}
	return all
}

// latest is the last attempt at a step.
func (c *crew) latest(key string) (stint, error) {
	all := c.stints(key)
	if len(all) == 0 {
		return stint{}, errors.New("nobody has begun it")
	}
	return all[len(all)-1], nil
}

// order lists the steps of a session in the order in which they were begun.
func (c *crew) order(session string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, a := range c.begun {
		if a.Session == session {
			all = append(all, a.Step)
		}
	}
	return all
}
