package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
)

const (
	// benchedPurge is how many sessions are purged; REPRISE_PURGE says otherwise.
	benchedPurge = 20_000
	// benchedClients send a command each benchedPace, to sessions of their own.
	benchedClients = 8
	benchedPace    = 2 * time.Millisecond
	// benchedIdle is how long the commands are measured without a purge.
	benchedIdle = 5 * time.Second
)

// BenchmarkCommandsDuringPurge measures how long commands to other sessions take
// while many are purged, next to when nothing else goes on. Run it with
// `make bench-purge`.
func BenchmarkCommandsDuringPurge(b *testing.B) {
	n := benchedPurge
	if text := os.Getenv("REPRISE_PURGE"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	concurrency := cleanup.DefaultConcurrency
	if text := os.Getenv("REPRISE_PURGE_CONCURRENCY"); text != "" {
		concurrency, _ = strconv.Atoi(text)
	}
	for b.Loop() {
		w := newPurgeBench(b, n)
		idle := w.commands(func() { time.Sleep(benchedIdle) })
		var report *contract.CleanupReport
		began := time.Now()
		busy := w.commands(func() { report = w.purge(concurrency) })
		took := time.Since(began)
		if report == nil || report.Purged != n {
			b.Fatalf("the purge: %+v", report)
		}
		b.ReportMetric(float64(quantile(idle, 0.99).Microseconds()), "idle-p99-us")
		b.ReportMetric(float64(quantile(busy, 0.99).Microseconds()), "purge-p99-us")
		b.ReportMetric(float64(quantile(busy, 0.99))/float64(quantile(idle, 0.99)), "ratio")
		b.ReportMetric(float64(n)/took.Seconds(), "purged/s")
		b.ReportMetric(float64(len(busy))/took.Seconds(), "commands/s")
	}
}

type purgeBench struct {
	b  *testing.B
	nc *nats.Conn
}

// newPurgeBench starts an engine on files with sessions that have ended.
func newPurgeBench(b *testing.B, n int) *purgeBench {
	b.Helper()
	w := &purgeBench{b: b}
	ns := startJetStream(b)
	w.nc = dialServer(b, ns)
	w.start(ns)
	work := make(chan int)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := range work {
				id := fmt.Sprintf("old%d", i)
				for _, verb := range []domain.Verb{domain.VerbCreate, domain.VerbStart, domain.VerbCancel} {
					w.send(id, verb)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	for c := range benchedClients {
		w.send(fmt.Sprintf("live%d", c), domain.VerbCreate)
		w.send(fmt.Sprintf("live%d", c), domain.VerbStart)
	}
	return w
}

// start runs an engine until the end of the benchmark.
func (w *purgeBench) start(ns *server.Server) {
	w.b.Helper()
	e, err := New(Config{Dial: func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("", append(options, nats.Name(name), nats.InProcessServer(ns))...)
	}})
	if err != nil {
		w.b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	w.b.Cleanup(func() { cancel(); <-done })
	select {
	case <-e.Ready():
	case err := <-done:
		w.b.Fatalf("the engine did not start: %v", err)
	}
}

// send sends a command that has to be accepted, and returns how long that took.
func (w *purgeBench) send(id string, verb domain.Verb) time.Duration {
	body := []byte("{}")
	if verb == domain.VerbCreate {
		body, _ = domain.Marshal(housePlan)
	}
	began := time.Now()
	m, err := w.nc.Request(contract.Default().Command("ann", id, verb), body, 20*time.Second)
	if err != nil || m.Header.Get(contract.HeaderError) != "" {
		w.b.Errorf("%s %s: %v %v", verb, id, err, m)
	}
	return time.Since(began)
}

// commands measures commands for as long as something else goes on.
func (w *purgeBench) commands(meanwhile func()) []time.Duration {
	w.b.Helper()
	done := make(chan struct{})
	times := make([][]time.Duration, benchedClients)
	var wg sync.WaitGroup
	for c := range benchedClients {
		wg.Go(func() {
			tick := time.NewTicker(benchedPace)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				verb := []domain.Verb{domain.VerbPause, domain.VerbResume}[n%2]
				times[c] = append(times[c], w.send(fmt.Sprintf("live%d", c), verb))
			}
		})
	}
	meanwhile()
	close(done)
	wg.Wait()
	for c := range benchedClients { // so that the next measurement begins with a pause again
		if len(times[c])%2 == 1 {
			w.send(fmt.Sprintf("live%d", c), domain.VerbResume)
		}
	}
	return slices.Concat(times...)
}

func (w *purgeBench) purge(concurrency int) *contract.CleanupReport {
	w.b.Helper()
	body, err := domain.Marshal(contract.CleanupRequest{Filter: atOnce(domain.StateCancelled), Concurrency: concurrency})
	if err != nil {
		w.b.Fatal(err)
	}
	inbox := nats.NewInbox()
	sub, err := w.nc.SubscribeSync(inbox)
	if err != nil {
		w.b.Fatal(err)
	}
	if err := w.nc.PublishRequest(contract.Default().Admin("olga", contract.AdminPurge), inbox, body); err != nil {
		w.b.Fatal(err)
	}
	var all told
	for all.report == nil && all.rejected == nil {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			w.b.Fatal(err)
		}
		all.take(w.b, m)
	}
	return all.report
}

func quantile(times []time.Duration, q float64) time.Duration {
	slices.Sort(times)
	return times[int(float64(len(times)-1)*q)]
}
