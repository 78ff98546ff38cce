package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// stepsPerSession is how many steps of one session of the benchmark may run at
// once.
const stepsPerSession = 100

// BenchmarkSteps measures whole steps: offer, pull, claim, acknowledge, result.
// All of it shares the machine: server, engine, workers and who made the
// sessions.
func BenchmarkSteps(b *testing.B) {
	ns := startJetStream(b)
	e, err := New(Config{Memory: true, Logger: slog.New(slog.DiscardHandler), Dial: func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("", append(options, nats.Name(name), nats.InProcessServer(ns))...)
	}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	<-e.Ready()
	defer func() { cancel(); <-done }()
	x := &stepBench{b: b, nc: dialServer(b, ns)}
	plan, err := domain.DecodeCommand(domain.VerbCreate, []byte(manySteps(stepsPerSession, "")))
	if err != nil {
		b.Fatal(err)
	}
	sessions := (b.N + stepsPerSession - 1) / stepsPerSession
	for i := range sessions {
		x.ask(contract.Default().Command("ann", fmt.Sprint("s", i), domain.VerbCreate), plan)
	}
	finished := x.work(sessions * stepsPerSession)
	b.ResetTimer()
	for i := range sessions {
		go x.ask(contract.Default().Command("ann", fmt.Sprint("s", i), domain.VerbStart), &domain.Start{})
	}
	<-finished
	b.StopTimer()
	b.ReportMetric(float64(sessions*stepsPerSession)/b.Elapsed().Seconds(), "steps/s")
}

// stepBench is a client and a worker.
type stepBench struct {
	b  *testing.B
	nc *nats.Conn
}

func (x *stepBench) ask(subject string, c domain.Command) {
	body, err := domain.Marshal(c)
	if err != nil {
		x.b.Error(err)
	}
	m, err := x.nc.Request(subject, body, 10*time.Second)
	if err != nil || m.Header.Get(contract.HeaderError) != "" {
		x.b.Errorf("%s: %v %v", subject, err, m)
	}
}

// work executes steps, 64 at once; the channel is closed after n of them.
func (x *stepBench) work(n int) <-chan struct{} {
	if _, err := x.nc.Request(contract.Default().Serve("boss", "build"), nil, 10*time.Second); err != nil {
		x.b.Fatal(err)
	}
	js, err := jetstream.New(x.nc)
	if err != nil {
		x.b.Fatal(err)
	}
	consumer, err := js.Consumer(x.b.Context(), contract.Default().WorkStream(), "build")
	if err != nil {
		x.b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(n))
	finished, slots := make(chan struct{}), make(chan struct{}, 64)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			x.execute(m)
			if left.Add(-1) == 0 {
				close(finished)
			}
		}()
	})
	if err != nil {
		x.b.Fatal(err)
	}
	x.b.Cleanup(consuming.Stop)
	return finished
}

func (x *stepBench) execute(m jetstream.Msg) {
	ref, _ := contract.Default().ParseWork(m.Subject())
	subject := func(v domain.Verb) string {
		return contract.Default().Worker("boss", ref.Action, ref.User, ref.Session, v)
	}
	x.ask(subject(domain.VerbClaim), &domain.Claim{Chain: ref.Chain, Step: ref.Step})
	if err := m.Ack(); err != nil {
		x.b.Error(err)
	}
	x.ask(subject(domain.VerbSucceed), &domain.Succeed{Chain: ref.Chain, Step: ref.Step, Attempt: 1})
}
