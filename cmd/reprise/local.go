package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reprise/engine"
	"reprise/natsnode"
)

// stopPatience bounds how long an engine in this process may take to stop.
const stopPatience = 30 * time.Second

// host is an engine that runs in this process.
type host struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// startHost runs an engine on a node and returns when it answers commands. Both
// `reprise serve` and the commands that work without a server start it here.
// The caller stops it, and closes the node after that.
func startHost(ctx context.Context, node *natsnode.Node, cfg engine.Config) (*host, error) {
	if cfg.Dial == nil {
		cfg.Dial = node.Dial
	}
	cfg.GroupCommit, cfg.Stage = cfg.GroupCommit || node.SyncsAlways(), node.StageInMemory
	e, err := engine.New(cfg)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h := &host{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.err = e.Run(running)
	}()
	select {
	case <-e.Ready():
		return h, nil
	case <-h.done:
		cancel()
		return nil, fmt.Errorf("the engine did not start: %w", orStopped(h.err))
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), h.stop(context.WithoutCancel(ctx)))
	}
}

func orStopped(err error) error {
	if err == nil {
		return errors.New("it stopped at once")
	}
	return err
}

// Done is closed when the engine has ended, by itself or by stop.
func (h *host) Done() <-chan struct{} { return h.done }

// stop ends the engine, lets it answer what is in flight, and returns the error
// it ended with.
func (h *host) stop(ctx context.Context) error {
	h.cancel()
	select {
	case <-h.done:
		if errors.Is(h.err, context.Canceled) {
			return nil
		}
		return h.err
	case <-ctx.Done():
		return fmt.Errorf("the engine is still stopping: %w", ctx.Err())
	}
}
