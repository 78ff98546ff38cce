package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"reprise/contract"
	"reprise/eventstore"
	esjs "reprise/eventstore/jetstream"
	"reprise/internal/cputime"
)

// benchClients are the numbers of clients that wait for their answers at once;
// they share benchConns connections.
var benchClients = []int{1, 64, 256}

const benchConns = 4

// benchScript is what a client does with a session before it takes a new one.
var benchScript = []struct{ verb, body string }{
	{"create", `{"chains":[{"id":"c","steps":[{"id":"a","action":"build","input":{"order":"A-1007"}},{"id":"b","action":"test"}]}],"metadata":{"customer":"c-4711"}}`},
	{"start", ``},
	{"pause", ``},
	{"resume", ``},
	{"metadata.set", `{"set":{"k":"1"}}`},
	{"metadata.set", `{"set":{"k":"2"}}`},
	{"pause", ``},
	{"resume", ``},
	{"step.skip", `{"chain":"c","step":"a"}`},
	{"cancel", ``},
}

// BenchmarkCommandPath measures the whole round trip of a command: request,
// load, decide, guarded append, answer.
func BenchmarkCommandPath(b *testing.B) {
	for _, storage := range []jetstream.StorageType{jetstream.MemoryStorage, jetstream.FileStorage} {
		for _, clients := range benchClients {
			b.Run(fmt.Sprintf("%s/clients=%d", storage, clients), func(b *testing.B) {
				ns := startServer(b, func(o *server.Options) { o.JetStream, o.StoreDir = true, b.TempDir() })
				benchService(b, ns, storage)
				runClients(b, ns, clients, func(client, n int) (string, string) {
					step := benchScript[n%len(benchScript)]
					return fmt.Sprintf("reprise.cmd.ann.s%d-%d.%s", client, n/len(benchScript), step.verb), step.body
				})
			})
		}
	}
}

// BenchmarkEcho is the floor: a micro endpoint that answers at once.
func BenchmarkEcho(b *testing.B) {
	for _, clients := range benchClients {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			ns := startServer(b)
			nc := dialServer(b, ns)
			svc, err := micro.AddService(nc, micro.Config{Name: "echo", Version: "0.0.1"})
			if err != nil {
				b.Fatal(err)
			}
			err = svc.AddEndpoint("echo", micro.HandlerFunc(func(r micro.Request) { _ = r.Respond(r.Data()) }), micro.WithEndpointSubject("echo.*"))
			if err != nil {
				b.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				b.Fatal(err)
			}
			runClients(b, ns, clients, func(int, int) (string, string) { return "echo.a", `{"chain":"c","step":"a"}` })
		})
	}
}

func benchService(b *testing.B, ns *server.Server, storage jetstream.StorageType) {
	b.Helper()
	write, err := nats.Connect("", append(esjs.WriteOptions(), nats.InProcessServer(ns))...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(write.Close)
	read := dialServer(b, ns)
	js, err := jetstream.New(read)
	if err != nil {
		b.Fatal(err)
	}
	names := contract.Default()
	if err := esjs.EnsureStream(b.Context(), js, esjs.StreamConfig{Names: names, Memory: storage == jetstream.MemoryStorage}); err != nil {
		b.Fatal(err)
	}
	driver, err := esjs.Open(b.Context(), esjs.Config{Names: names, Read: read, Write: write})
	if err != nil {
		b.Fatal(err)
	}
	store, err := eventstore.Open(b.Context(), eventstore.Config{Driver: driver})
	if err != nil {
		b.Fatal(err)
	}
	lanes := newLanes(maxInFlight, maxPerSession, maxRunning)
	b.Cleanup(lanes.close)
	requests := dialServer(b, ns)
	_, err = startService(serviceConfig{
		Names: names, Version: "0.0.1", Requests: requests, Replies: dialServer(b, ns), Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		Executor: &executor{lanes: lanes, commander: newCommander(commanderConfig{Store: store})},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := requests.Flush(); err != nil {
		b.Fatal(err)
	}
}

// runClients sends b.N requests from a number of clients, waits for the answers and
// measures all that.
func runClients(b *testing.B, ns *server.Server, clients int, next func(client, n int) (subject, body string)) {
	b.Helper()
	b.ReportAllocs()
	used := cputime.Used()
	b.ResetTimer()
	sendAll(b, ns, clients, b.N, next)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64((cputime.Used()-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// sendAll sends a number of requests and waits for the answers.
func sendAll(b *testing.B, ns *server.Server, clients, requests int, next func(client, n int) (subject, body string)) {
	b.Helper()
	conns := make([]*nats.Conn, min(benchConns, clients))
	for i := range conns {
		conns[i] = dialServer(b, ns)
	}
	var left, failed atomic.Int64
	left.Store(int64(requests))
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			nc := conns[client%len(conns)]
			for n := 0; left.Add(-1) >= 0; n++ {
				subject, body := next(client, n)
				m, err := nc.RequestWithContext(context.Background(), subject, []byte(body))
				if err != nil || len(m.Header) > 0 {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		b.Errorf("%d of %d requests failed", failed.Load(), requests)
	}
}
