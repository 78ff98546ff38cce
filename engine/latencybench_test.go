package engine

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reprise/internal/cputime"
)

const (
	// envRate sets the rate of BenchmarkHalfLoad, in commands a second.
	envRate = "REPRISE_RATE"

	halfClients = 256
	// capacityFor is how long the closed loop goes on that finds out the rate.
	capacityFor = 4 * time.Second
	// binaryGC is how the binary sets the collector where memory allows.
	binaryGC = 300
)

// BenchmarkAlone is one client that waits for each answer, in the engine's own
// process.
func BenchmarkAlone(b *testing.B) {
	debug.SetGCPercent(binaryGC)
	ns, e := latencyEngine(b)
	m := newMix(1_000, 1)
	sendAll(b, ns, 1, 1_000, m.create)
	e.settle(b)
	nc := dialServer(b, ns)
	b.Run("clients=1", func(b *testing.B) {
		took, used := make([]time.Duration, b.N), cputime.Used()
		b.ResetTimer()
		for n := range took {
			began := time.Now()
			commandOnce(b, nc, m, 0, n)
			took[n] = time.Since(began)
		}
		reportLatency(b, took, used)
	})
}

// BenchmarkHalfLoad sends commands at half the rate that 256 waiting clients reach,
// each at its time, whether those before it are answered or not: a client that is
// late counts from when it was due. b.N is the number of commands, of which there
// should be those of some seconds.
func BenchmarkHalfLoad(b *testing.B) {
	sessions := mixSessions
	if text := os.Getenv("REPRISE_SESSIONS"); text != "" {
		sessions, _ = strconv.Atoi(text)
	}
	debug.SetGCPercent(binaryGC)
	ns, e := latencyEngine(b)
	m := newMix(sessions, halfClients)
	sendAll(b, ns, halfClients, sessions, m.create)
	e.settle(b)
	rate, _ := strconv.ParseFloat(os.Getenv(envRate), 64)
	if rate <= 0 {
		rate = capacity(b, ns, m) / 2
		e.settle(b)
	}
	conns := make([]*nats.Conn, benchConns)
	for i := range conns {
		conns[i] = dialServer(b, ns)
	}
	b.Run(fmt.Sprintf("%.0f a second", rate), func(b *testing.B) {
		used := cputime.Used()
		b.ResetTimer()
		reportLatency(b, openLoop(b, conns, m, rate), used)
	})
}

func latencyEngine(b *testing.B) (*server.Server, mixed) {
	b.Helper()
	ns := startServer(b, func(o *server.Options) {
		o.JetStream, o.StoreDir, o.SyncInterval = true, b.TempDir(), 100*time.Millisecond
	})
	return ns, mixEngine(b, ns)
}

// commandOnce sends the next command of a client.
func commandOnce(b *testing.B, nc *nats.Conn, m *mix, client, n int) {
	b.Helper()
	subject, body := m.next(client, n)
	msg, err := nc.RequestWithContext(context.Background(), subject, []byte(body))
	if err != nil || len(msg.Header) > 0 {
		b.Error(subject, err)
	}
}

// capacity returns how many commands a second waiting clients get answered.
func capacity(b *testing.B, ns *server.Server, m *mix) float64 {
	b.Helper()
	commands, began := 0, time.Now()
	for time.Since(began) < capacityFor {
		sendAll(b, ns, halfClients, 10_000, m.next)
		commands += 10_000
	}
	return float64(commands) / time.Since(began).Seconds()
}

// openLoop sends b.N commands at a rate and returns how long after they were due
// they were answered.
func openLoop(b *testing.B, conns []*nats.Conn, m *mix, rate float64) []time.Duration {
	b.Helper()
	took := make([]time.Duration, b.N)
	pause, began := time.Duration(float64(time.Second)/rate), time.Now()
	var wg sync.WaitGroup
	for client := range halfClients {
		wg.Go(func() {
			for n := client; n < b.N; n += halfClients {
				due := began.Add(time.Duration(n) * pause)
				time.Sleep(time.Until(due))
				commandOnce(b, conns[client%len(conns)], m, client, n)
				took[n] = time.Since(due)
			}
		})
	}
	wg.Wait()
	return took
}

// reportLatency reports the quantiles, and the CPU time of each command.
func reportLatency(b *testing.B, took []time.Duration, used time.Duration) {
	b.Helper()
	b.StopTimer()
	b.ReportMetric(float64((cputime.Used()-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
	slices.Sort(took)
	for _, q := range []float64{50, 90, 99, 99.9} {
		b.ReportMetric(float64(took[int(float64(len(took)-1)*q/100)].Nanoseconds())/1000, fmt.Sprintf("p%g-us", q))
	}
}
