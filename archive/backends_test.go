package archive

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
	esjs "reprise/eventstore/jetstream"
)

// backend is an event store on a server that is reached over TCP.
type backend struct {
	store *eventstore.Store
	book  *KVCheckpoints
}

func newBackend(t testing.TB, memory bool) *backend {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	dial := func(options ...nats.Option) *nats.Conn {
		nc, err := nats.Connect(srv.ClientURL(), options...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	read, write, names := dial(), dial(esjs.WriteOptions()...), contract.Default()
	js, err := jetstream.New(read)
	if err != nil {
		t.Fatal(err)
	}
	if err := esjs.EnsureStream(t.Context(), js, esjs.StreamConfig{Names: names, Memory: memory}); err != nil {
		t.Fatal(err)
	}
	driver, err := esjs.Open(t.Context(), esjs.Config{Read: read, Write: write, Names: names})
	if err != nil {
		t.Fatal(err)
	}
	book, err := OpenCheckpoints(t.Context(), js, names)
	if err != nil {
		t.Fatal(err)
	}
	return &backend{store: openStore(t, driver), book: book}
}

// TestManySessionsMoveBetweenBackends copies thousands of sessions from memory
// to file storage, to another server, and back into memory; each copy is killed
// at random points and goes on. Every session is compared byte for byte.
func TestManySessionsMoveBetweenBackends(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves thousands of sessions three times")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	first := newBackend(t, true)
	w := &world{TB: t, store: first.store}
	w.populate(manySessions)
	want := w.all()
	from := first
	for n, memory := range []bool{false, false, true} {
		to := newBackend(t, memory)
		kills := copyWithKills(t, from, to, random)
		same(t, everything(t, to.store), want)
		t.Logf("hop %d was killed %d times", n+1, kills)
		from = to
	}
}

// copyWithKills copies until it gets through, and returns how often it was
// killed.
func copyWithKills(t *testing.T, from, to *backend, random *rand.Rand) int {
	t.Helper()
	for kills := 0; ; kills++ {
		ctx, kill := context.WithCancel(t.Context())
		left := 1 + random.Uint64N(2*manySessions)
		turn := make(chan struct{}, 1)
		report, err := Copy(ctx, from.store, to.store, CopyOptions{Checkpoints: to.book, Run: "r", Progress: func(Progress) {
			turn <- struct{}{}
			defer func() { <-turn }()
			if left--; left == 0 {
				kill()
			}
		}})
		kill()
		switch {
		case err == nil && report.Compared == manySessions:
			return kills
		case err == nil:
			t.Fatalf("%+v", report)
		case !errors.Is(err, context.Canceled) && !errors.Is(err, eventstore.ErrUnknownOutcome):
			t.Fatal(err)
		}
	}
}

// TestImportOnAServer restores an export on a server, where headers and guards
// are the server's.
func TestImportOnAServer(t *testing.T) {
	w := newWorld(t)
	w.populate(64)
	file, _ := w.export(ExportOptions{Filter: Filter{Tombstones: true}})
	to := newBackend(t, false)
	report, err := Import(t.Context(), to.store, from(file), ImportOptions{})
	if err != nil || report.New != 64 {
		t.Fatalf("%+v, %v", report, err)
	}
	same(t, everything(t, to.store), w.all())
	err = to.store.Raw(t.Context(), eventstore.Filter{}, func(m eventstore.Message) error {
		if !m.Guarded {
			t.Errorf("sequence %d has no guard", m.Seq)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
