// Command temporal is the worker and the client of a comparison for Temporal, with
// its Go SDK. It is a module of its own, outside of the workspace, so that its
// dependencies stay with it.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"reprise/bench/load"
)

func main() {
	os.Exit(load.Main(map[string]load.Role{"worker": work, "load": serveLoad}))
}

const (
	namespace = "default"
	taskQueue = "bench"
	// patience bounds the start of the server, a session, and what the worker may
	// take for a step.
	patience = time.Minute
	// lookAgain is the pause between two looks whether the server is ready.
	lookAgain = 10 * time.Millisecond
)

// silent is a logger that says nothing.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

var _ log.Logger = silent{}

// dial connects to the server once it says that it is healthy.
func dial(ctx context.Context, address string) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		c, err := client.DialContext(ctx, client.Options{HostPort: address, Namespace: namespace, Logger: silent{}})
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no server at %s: %w", address, err)
		case <-tick.C:
		}
	}
}

// plan is what a session does.
type plan struct {
	Steps int
	// Eager lets the server hand a step to the worker in the answer to the one
	// before it.
	Eager bool
}

// chain is the workflow: its steps one after another.
func chain(ctx workflow.Context, p plan) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: patience, DisableEagerExecution: !p.Eager})
	for range p.Steps {
		if err := workflow.ExecuteActivity(ctx, nothing).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// nothing is the activity.
func nothing(context.Context) error { return nil }

// work executes workflows and activities until ctx ends.
func work(ctx context.Context, args []string) error {
	flags := load.Flags("worker")
	address := flags.String("address", "", "`HOST:PORT` of the server")
	pollers := flags.Int("pollers", 0, "`N` requests for work at once, of either kind; 0 for the SDK's default")
	eager := flags.Bool("eager", false, "take steps in the answer to the one before")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := dial(ctx, *address)
	if err != nil {
		return err
	}
	defer c.Close()
	w := worker.New(c, taskQueue, worker.Options{
		DisableEagerActivities:           !*eager,
		MaxConcurrentActivityTaskPollers: *pollers, MaxConcurrentWorkflowTaskPollers: *pollers,
	})
	w.RegisterWorkflow(chain)
	w.RegisterActivity(nothing)
	if err := w.Start(); err != nil {
		return err
	}
	<-ctx.Done()
	w.Stop()
	return nil
}

// serveLoad starts workflows as the harness asks.
func serveLoad(ctx context.Context, args []string) error {
	flags := load.Flags("load")
	address := flags.String("address", "", "`HOST:PORT` of the server")
	steps := flags.Int("steps", 1, "`N` steps a session")
	eager := flags.Bool("eager", false, "allow eager steps")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := dial(ctx, *address)
	if err != nil {
		return err
	}
	defer c.Close()
	p := plan{Steps: *steps, Eager: *eager}
	return load.Serve(ctx, os.Stdin, os.Stdout, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: taskQueue}, chain, p)
		if err != nil {
			return err
		}
		return run.Get(ctx, nil)
	})
}
