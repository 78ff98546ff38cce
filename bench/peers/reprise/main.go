// Command reprise is the worker and the client of a comparison for Reprise: the
// worker with package worker, the client with package client, each as a service
// would use them. The server is `reprise serve`.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"reprise/bench/load"
	"reprise/worker"
)

func main() {
	os.Exit(load.Main(map[string]load.Role{"worker": work, "load": serveLoad}))
}

// action is what the steps ask for, user the owner of all sessions.
const (
	action = "nothing"
	user   = "bench"
)

// connect dials the server that the flags name.
func connect(url, name string) (*nats.Conn, error) {
	nc, err := nats.Connect(url, nats.Name(name))
	if err != nil {
		return nil, fmt.Errorf("no server at %s: %w", url, err)
	}
	return nc, nil
}

// work executes steps that do nothing until ctx ends.
func work(ctx context.Context, args []string) error {
	flags := load.Flags("worker")
	url := flags.String("url", "", "`URL` of the server")
	slots := flags.Int("concurrency", 1, "`N` steps at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	nc, err := connect(*url, "bench-worker")
	if err != nil {
		return err
	}
	defer nc.Close()
	w, err := worker.New(nc, worker.Config{ID: "bench", Concurrency: *slots})
	if err != nil {
		return err
	}
	w.Handle(action, func(context.Context, *worker.Task) (any, error) { return struct{}{}, nil }, worker.Concurrency(*slots))
	return w.Run(ctx)
}
