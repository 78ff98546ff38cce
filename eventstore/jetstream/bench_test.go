package jetstream_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
	"reprise/eventstore/jetstream"
	"reprise/internal/cputime"
	"reprise/natsnode"
)

// benchWriters is the number of goroutines that append side by side.
const benchWriters = 256

var benchBody = make([]byte, 300)

// writers runs fn b.N times over benchWriters goroutines, each with numbers of
// its own.
func writers(b *testing.B, fn func(n int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	used := cputime.Used()
	b.ResetTimer()
	for range benchWriters {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := fn(int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cputime.Used()-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkAppend is the driver's guarded append on file storage, each to a
// session of its own, under the server's default.
func BenchmarkAppend(b *testing.B) {
	benchAppend(b, onServer(b, embedded(b), false))
}

// BenchmarkSync is the price of each durability mode (ADR 0013): the pause
// between two syncs, every write synced, and the same with group commit.
func BenchmarkSync(b *testing.B) {
	every := func(d time.Duration) func(*server.Options) {
		return func(o *server.Options) { o.SyncInterval = d }
	}
	for _, mode := range []struct {
		name    string
		serving func(*server.Options)
	}{
		{"server's default", func(*server.Options) {}},
		{"interval=1s", every(time.Second)},
		{"interval=100ms", every(100 * time.Millisecond)},
		{"interval=10ms", every(10 * time.Millisecond)},
	} {
		b.Run(mode.name, func(b *testing.B) { benchAppend(b, onServer(b, embedded(b, mode.serving), false)) })
	}
	b.Run("always, singly", func(b *testing.B) { benchAppend(b, synced(b, false)) })
	b.Run("always, grouped", func(b *testing.B) { benchAppend(b, synced(b, true)) })
}

// synced is a driver as `reprise serve --sync always` has one, with group commit
// or without.
func synced(b *testing.B, group bool) node {
	b.Helper()
	n, err := natsnode.StartEmbedded(natsnode.Options{DataDir: b.TempDir(), Listen: natsnode.ListenNone, SyncAlways: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close(context.Background()) })
	conns := make([]*nats.Conn, 2)
	for i, options := range [][]nats.Option{jetstream.WriteOptions(), nil} {
		if conns[i], err = n.Dial("bench", options...); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(conns[i].Close)
	}
	names := contract.Default()
	return connect(b, conns[0], conns[1], jetstream.StreamConfig{Names: names}, func(c *jetstream.Config) {
		c.GroupCommit, c.CheapBatches = group, group && n.StageInMemory(names.EventsStream())
	})
}

func benchAppend(b *testing.B, n node) {
	b.Helper()
	header := map[string]string{
		"ce-id": "ada.s1.1", "ce-source": "reprise", "ce-specversion": "1.0", "ce-subject": "ada.s1",
		"ce-time": "2026-03-01T12:00:00Z", "ce-type": "reprise.commit.v1", "Reprise-Types": "step.started",
	}
	writers(b, func(i int) error {
		_, err := n.driver.Append(context.Background(), []eventstore.Record{{Key: newKey(i), Guard: eventstore.ExpectNew(), Header: header, Body: benchBody}})
		return err
	})
}

// BenchmarkPublishAsync is the same by the client library's own asynchronous
// publish, to compare.
func BenchmarkPublishAsync(b *testing.B) {
	n := onServer(b, embedded(b), false)
	api, err := js.New(n.write, js.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	writers(b, func(i int) error {
		h := nats.Header{}
		for k, v := range map[string]string{
			"ce-id": "ada.s1.1", "ce-source": "reprise", "ce-specversion": "1.0", "ce-subject": "ada.s1",
			"ce-time": "2026-03-01T12:00:00Z", "ce-type": "reprise.commit.v1", "Reprise-Types": "step.started",
		} {
			h[k] = []string{v}
		}
		h[contract.HeaderGuard] = []string{"0"}
		f, err := api.PublishMsgAsync(&nats.Msg{Subject: "reprise.evt.ada.s" + strconv.Itoa(i), Header: h, Data: benchBody}, js.WithRetryAttempts(0))
		if err != nil {
			return err
		}
		select {
		case <-f.Ok():
			return nil
		case err := <-f.Err():
			return err
		}
	})
}

// BenchmarkLast is the direct get of a session's last message.
func BenchmarkLast(b *testing.B) {
	n := onServer(b, embedded(b), false)
	ctx := context.Background()
	if _, err := n.driver.Append(ctx, []eventstore.Record{{Key: newKey(1), Guard: eventstore.ExpectNew(), Body: benchBody}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := n.driver.Last(ctx, newKey(1)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan replays a stream of usual size; an operation is one message.
func BenchmarkScan(b *testing.B) {
	const messages = 100_000
	n := onServer(b, embedded(b), false)
	ctx := context.Background()
	var wg sync.WaitGroup
	for w := range benchWriters {
		wg.Go(func() {
			for i := w; i < messages; i += benchWriters {
				if _, err := n.driver.Append(ctx, []eventstore.Record{{Key: newKey(i), Guard: eventstore.ExpectNew(), Body: benchBody}}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= messages {
		err := n.driver.Scan(ctx, eventstore.Filter{To: uint64(min(left, messages))}, func(eventstore.Message) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
