package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"reprise/bench/load"
	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

// patience bounds one session; lookAgain is the silence after which its state is
// asked for, since a live message is a hint and may be lost.
const (
	patience  = time.Minute
	lookAgain = 2 * time.Second
)

// serveLoad starts sessions as the harness asks.
func serveLoad(ctx context.Context, args []string) error {
	flags := load.Flags("load")
	url := flags.String("url", "", "`URL` of the server")
	steps := flags.Int("steps", 1, "`N` steps a session")
	if err := flags.Parse(args); err != nil {
		return err
	}
	nc, err := connect(*url, "bench-client")
	if err != nil {
		return err
	}
	defer nc.Close()
	c, err := newCaller(nc, *steps)
	if err != nil {
		return err
	}
	return load.Serve(ctx, os.Stdin, os.Stdout, c.session)
}

// caller starts sessions and hears of their ends. It is safe for concurrent use.
type caller struct {
	client *client.Client
	start  *domain.Batch

	mu sync.Mutex
	// waiting has a channel for every session in flight, closed at its end.
	waiting map[string]chan struct{}
}

// newCaller subscribes to what happens to the sessions of the user.
func newCaller(nc *nats.Conn, steps int) (*caller, error) {
	cl, err := client.New(nc, client.Config{User: user})
	if err != nil {
		return nil, err
	}
	chain := domain.ChainDef{ID: "c", Steps: make([]domain.StepDef, steps)}
	for i := range chain.Steps {
		chain.Steps[i].Action = action
	}
	create := &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{chain}}}
	c := &caller{client: cl, waiting: map[string]chan struct{}{}, start: &domain.Batch{Commands: []domain.Command{create, &domain.Start{}}}}
	_, err = nc.Subscribe(cl.Names().Live(user, "*"), c.heard)
	if err != nil {
		return nil, fmt.Errorf("cannot subscribe to the live events: %w", err)
	}
	return c, nil
}

// heard looks for the commit that completes a session.
func (c *caller) heard(m *nats.Msg) {
	if !strings.Contains(m.Header.Get(contract.HeaderTypes), string(domain.TypeSessionCompleted)) {
		return
	}
	id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	c.mu.Lock()
	defer c.mu.Unlock()
	if ended, ok := c.waiting[id]; ok {
		close(ended)
		delete(c.waiting, id)
	}
}

// session creates and starts one in one command, and waits for its end.
func (c *caller) session(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id, ended := uuid.NewString(), make(chan struct{})
	c.wait(id, ended)
	defer c.forget(id)
	if _, err := c.client.Do(ctx, id, c.start); err != nil {
		return fmt.Errorf("cannot start session %s: %w", id, err)
	}
	return c.await(ctx, id, ended)
}

func (c *caller) wait(id string, ended chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[id] = ended
}

func (c *caller) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// await returns once the session is COMPLETED.
func (c *caller) await(ctx context.Context, id string, ended <-chan struct{}) error {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("session %s did not complete in time: %w", id, ctx.Err())
		case <-look.C:
		}
		now, err := c.client.Get(ctx, id)
		if err != nil {
			return fmt.Errorf("cannot look at session %s: %w", id, err)
		}
		if now.Session.State == domain.StateCompleted {
			return nil
		}
	}
}
