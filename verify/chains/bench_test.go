// Package chains measures steps from end to end: sessions of one chain that a
// worker executes, with server, engine, worker and client in one process.
package chains

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/internal/cputime"
	"reprise/natsnode"
	"reprise/worker"
)

const (
	// stepsEach is how many steps a session has, one after another.
	stepsEach = 5
	// slots is how many steps the worker runs at once.
	slots = 128
	// patience bounds one session.
	patience = 30 * time.Second
)

// BenchmarkChains measures sessions of five empty steps from their start to
// COMPLETED, one alone and 64 in flight, in both durability modes.
func BenchmarkChains(b *testing.B) {
	for _, mode := range []struct {
		name string
		set  func(*natsnode.Options)
	}{
		{"interval", func(o *natsnode.Options) { o.SyncInterval = 100 * time.Millisecond }},
		{"always", func(o *natsnode.Options) { o.SyncAlways = true }},
	} {
		for _, flights := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/flights=%d", mode.name, flights), func(b *testing.B) {
				run(b, start(b, mode.set), flights)
			})
		}
	}
}

// start starts all but the client, and returns a connection for that.
func start(b *testing.B, set func(*natsnode.Options)) *nats.Conn {
	b.Helper()
	o := natsnode.Options{DataDir: b.TempDir(), Listen: natsnode.ListenNone}
	set(&o)
	node, err := natsnode.StartEmbedded(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = node.Close(context.Background()) })
	e, err := engine.New(engine.Config{Dial: node.Dial, GroupCommit: o.SyncAlways, Stage: node.StageInMemory, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	inBackground(b, e.Run)
	<-e.Ready()
	w, err := worker.New(dial(b, node, "worker"), worker.Config{Concurrency: slots, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	w.Handle("nothing", func(context.Context, *worker.Task) (any, error) { return true, nil })
	inBackground(b, w.Run)
	return dial(b, node, "client")
}

func dial(b *testing.B, node *natsnode.Node, name string) *nats.Conn {
	b.Helper()
	nc, err := node.Dial(name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	return nc
}

func inBackground(b *testing.B, run func(context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}

// caller starts sessions and hears of their ends.
type caller struct {
	*client.Client
	start   *domain.Batch
	waiting sync.Map // of channels, by session
}

func newCaller(b *testing.B, nc *nats.Conn) *caller {
	b.Helper()
	cl, err := client.New(nc, client.Config{User: "ada", Timeout: patience})
	if err != nil {
		b.Fatal(err)
	}
	chain := domain.ChainDef{ID: "c", Steps: make([]domain.StepDef, stepsEach)}
	for i := range chain.Steps {
		chain.Steps[i].Action = "nothing"
	}
	create := &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{chain}}}
	c := &caller{Client: cl, start: &domain.Batch{Commands: []domain.Command{create, &domain.Start{}}}}
	if _, err := nc.Subscribe(cl.Names().Live("ada", "*"), c.heard); err != nil {
		b.Fatal(err)
	}
	return c
}

func (c *caller) heard(m *nats.Msg) {
	if !strings.Contains(m.Header.Get(contract.HeaderTypes), string(domain.TypeSessionCompleted)) {
		return
	}
	if ended, ok := c.waiting.LoadAndDelete(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]); ok {
		close(ended.(chan struct{}))
	}
}

// session runs one session and returns how long it took.
func (c *caller) session(id string) (time.Duration, error) {
	ended := make(chan struct{})
	c.waiting.Store(id, ended)
	began := time.Now()
	if _, err := c.Do(context.Background(), id, c.start); err != nil {
		return 0, err
	}
	select {
	case <-ended:
		return time.Since(began), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("session %s did not complete within %s", id, patience)
	}
}

func run(b *testing.B, nc *nats.Conn, flights int) {
	b.Helper()
	c := newCaller(b, nc)
	for i := range flights { // the worker has found its tasks after that
		if _, err := c.session(fmt.Sprint("warm", i)); err != nil {
			b.Fatal(err)
		}
	}
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	b.ResetTimer()
	began := cputime.Used()
	for range flights {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				var err error
				if took[i], err = c.session(fmt.Sprint("s", i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	spent := cputime.Used() - began
	slices.Sort(took)
	b.ReportMetric(float64(b.N*stepsEach)/b.Elapsed().Seconds(), "steps/s")
	b.ReportMetric(float64(spent.Nanoseconds())/1e3/float64(b.N*stepsEach), "cpu-us/step")
	b.ReportMetric(float64(took[b.N/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-us")
}
