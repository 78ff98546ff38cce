package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/worker"
)

// The load on engines that are killed: so many sessions in so many rounds, with
// a kill in each after a random time up to longestRound.
const (
	dispatchRounds   = 4
	dispatchSessions = 25
	dispatchWorkers  = 2
	longestRound     = 1200 * time.Millisecond
)

// crew are workers that note what they run.
type crew struct {
	mu      sync.Mutex
	running map[string]bool
	runs    map[string]int
	errs    []error
}

// address leads connections to where a server is now: while it is down, its port may
// become somebody else's.
type address struct{ at atomic.Value }

// Dial connects to the server, whatever address is asked for.
func (a *address) Dial(network, _ string) (net.Conn, error) {
	at := a.at.Load().(string)
	if at == "" {
		return nil, errors.New("the server is down")
	}
	return net.DialTimeout(network, at, patience)
}

// moved says where the server is from now on; an empty URL means nowhere.
func (a *address) moved(t *testing.T, to string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	a.at.Store(u.Host)
}

// employ runs workers until the end of the test.
func employ(t *testing.T, url string, options ...nats.Option) *crew {
	t.Helper()
	c := &crew{running: map[string]bool{}, runs: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range dispatchWorkers {
		nc, err := nats.Connect(url, append(options, nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(lookAgain))...)
		if err != nil {
			t.Fatal(err)
		}
		w, err := worker.New(nc, worker.Config{RequestTimeout: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		w.Handle("work", c.run)
		wg.Go(func() {
			defer nc.Close()
			if err := w.Run(ctx); err != nil {
				c.wrong(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// run takes a moment, in which nobody else may run the same step.
func (c *crew) run(ctx context.Context, task *worker.Task) (any, error) {
	step := task.Session + "/" + task.Chain + "/" + task.Step
	c.mu.Lock()
	if c.running[step] {
		c.errs = append(c.errs, fmt.Errorf("%s runs twice at the same time", step))
	}
	c.running[step] = true
	c.runs[step]++
	c.mu.Unlock()
	moment := time.NewTimer(time.Duration(rand.IntN(20)) * time.Millisecond)
	defer moment.Stop()
	select {
	case <-moment.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[step] = false
	return task.Attempt, ctx.Err()
}

func (c *crew) wrong(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

// dispatchPlan has two chains side by side and a third that waits for both.
func dispatchPlan() object {
	step := object{"action": "work"}
	return object{"chains": []object{
		{"id": "a", "steps": []object{step, step}},
		{"id": "b", "steps": []object{step, {"action": "work", "waitsFor": []string{}}}},
		{"id": "c", "waitsFor": []string{"a", "b"}, "steps": []object{step}},
	}}
}

// insist sends a command again until it is answered for good.
func insist(t *testing.T, p *peer, session string, verb domain.Verb, body any) {
	t.Helper()
	eventually(t, func() error {
		data, err := domain.Marshal(body)
		if err != nil {
			return err
		}
		msg, err := p.nc.RequestMsg(&nats.Msg{
			Subject: p.names.Command(p.user, session, verb), Data: data,
			Header: headers(contract.HeaderCommandID, string(verb)+"-"+session),
		}, time.Second)
		if err != nil {
			return err
		}
		a, err := read(msg)
		if err == nil && a.refusal != nil {
			err = errors.New(a.refusal.Message)
		}
		return err
	})
}

// TestKilledEnginesDispatch kills engines with SIGKILL at random points while
// workers run steps. In the end every session is COMPLETED and every step has
// run exactly once.
func TestKilledEnginesDispatch(t *testing.T) { //nolint:tparallel // the two beside each other are enough for two cores
	t.Run("one embedded", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		p, server := embedded(t, dir), &address{}
		server.moved(t, p.url)
		killDispatchers(t, p.url, func(int) {
			server.moved(t, "")
			p.kill(t)
			p = embedded(t, dir)
			server.moved(t, p.url)
		}, nats.SetCustomDialer(server))
	})
	t.Run("two on one server", func(t *testing.T) {
		t.Parallel()
		url := externalServer(t)
		engines := []*process{serve(t, "--nats", url), serve(t, "--nats", url)}
		killDispatchers(t, url, func(round int) {
			victim := round % len(engines)
			engines[victim].kill(t)
			engines[victim] = serve(t, "--nats", url)
		})
	})
}

// killDispatchers makes sessions in rounds and calls kill within each.
func killDispatchers(t *testing.T, url string, kill func(round int), options ...nats.Option) {
	t.Helper()
	p, c := dial(t, url, "ada", options...), employ(t, url, options...)
	var ids []string
	for round := range dispatchRounds {
		for range dispatchSessions {
			id := fmt.Sprintf("d%d", len(ids))
			insist(t, p, id, domain.VerbCreate, dispatchPlan())
			insist(t, p, id, domain.VerbStart, object{})
			ids = append(ids, id)
		}
		wait := time.NewTimer(rand.N(longestRound))
		<-wait.C
		kill(round)
	}
	steps := 0
	for _, id := range ids {
		s := completed(t, p, id)
		for _, chain := range s.Chains {
			for _, st := range chain.Steps {
				steps++
				c.checkRan(t, id+"/"+chain.ID+"/"+st.ID, st.Attempt)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(c.errs...); err != nil || len(c.runs) != steps {
		t.Errorf("%d steps of %d ran; %v", len(c.runs), steps, err)
	}
}

// completed waits for the end of a session.
func completed(t *testing.T, p *peer, id string) *domain.Session {
	t.Helper()
	var got contract.GetReply
	eventually(t, func() error {
		got = contract.GetReply{}
		p.query(t, contract.QueryGet, object{"session": id}, &got)
		if got.Session.State != domain.StateCompleted {
			return fmt.Errorf("session %s is %s", id, got.Session.State)
		}
		return nil
	})
	return got.Session
}

// checkRan looks whether a step ran once, as its first attempt.
func (c *crew) checkRan(t *testing.T, step string, attempt int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs[step] != 1 || attempt != 1 {
		t.Errorf("%s ran %d times and ended as attempt %d", step, c.runs[step], attempt)
	}
}
