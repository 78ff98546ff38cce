package worker_test

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/nats-io/nats.go"

	"reprise/worker"
)

// A worker that greets.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	nc, err := nats.Connect(nats.DefaultURL)
	if err != nil {
		log.Print(err)
		return
	}
	defer nc.Close()

	w, err := worker.New(nc, worker.Config{})
	if err != nil {
		log.Print(err)
		return
	}
	w.Handle("greet", func(_ context.Context, t *worker.Task) (any, error) {
		var in struct{ Name string }
		if err := t.Decode(&in); err != nil {
			return nil, err
		}
		return "hello " + in.Name, nil
	})
	if err := w.Run(ctx); err != nil {
		log.Print(err)
	}
}
