package projections

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	events "reprise/eventstore/jetstream"
	"reprise/internal/cputime"
)

// envCommits says how many commits of others lie around the long sessions of
// BenchmarkLongHistory; 100,000 without.
const envCommits = "REPRISE_COMMITS"

const (
	benchOthers   = 100_000
	benchSessions = 20_000 // of the others
	benchWriters  = 64
	benchGets     = 5_000 // to know what one takes
)

// longBench is a stream on file with long sessions among many others.
type longBench struct {
	driver *events.Driver
	store  *eventstore.Store // while it is filled
	views  *KVViews
	blocks *KVBlocks
	get    time.Duration // what one direct get takes here and now
	stop   func()        // ends the server

	noisy []uint64 // the last sequence of each session that noise goes on with
	turn  int      // the next one of these
}

func newLongBench(b *testing.B, dir string) *longBench {
	b.Helper()
	ns, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: dir, SyncInterval: 100 * time.Millisecond, NoSigs: true, NoLog: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	ns.Start()
	stop := func() { ns.Shutdown(); ns.WaitForShutdown() }
	b.Cleanup(stop)
	if !ns.ReadyForConnections(time.Minute) {
		b.Fatal("the server does not start")
	}
	connect := func(options ...nats.Option) *nats.Conn {
		nc, err := nats.Connect("", append(options, nats.InProcessServer(ns))...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		return nc
	}
	x, ctx, read := &longBench{stop: stop}, context.Background(), connect()
	api, err := jetstream.New(read)
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	check(err)
	check(events.EnsureStream(ctx, api, events.StreamConfig{Names: contract.Default()}))
	x.driver, err = events.Open(ctx, events.Config{Write: connect(events.WriteOptions()...), Read: read, Direct: []*nats.Conn{connect(), connect(), connect(), connect()}, Names: contract.Default()})
	check(err)
	b.Cleanup(func() { _ = x.driver.Close() })
	x.views, err = OpenKV(ctx, read, connect(), bucketConfig)
	check(err)
	x.blocks, err = OpenKVBlocks(ctx, read, connect(), historyConfig)
	check(err)
	x.store, err = eventstore.Open(ctx, eventstore.Config{Driver: x.driver})
	check(err)
	return x
}

// note appends a commit of some 300 bytes.
func (w *benchWorld) note(k eventstore.Key) {
	base, err := w.store.Load(context.Background(), k)
	if err != nil {
		w.b.Error(err)
		return
	}
	if base.Session.Version == 0 {
		w.do(k, &domain.Create{Definition: domain.Definition{KeepOpen: true}})
		return
	}
	w.do(k, &domain.SetMetadata{Set: map[string]string{"note": strconv.Itoa(w.n)}})
}

// fill appends the commits of a long session, evenly among those of others.
func (x *longBench) fill(b *testing.B, k eventstore.Key, commits, others int) {
	b.Helper()
	turns := make(chan struct{}, benchWriters)
	var appended atomic.Int64
	var wg sync.WaitGroup
	for writer := range benchWriters {
		wg.Go(func() {
			w := &benchWorld{b: b, store: x.store}
			for i := writer; i < others; i += benchWriters {
				w.note(key("bob", fmt.Sprint(k.Session, writer+benchWriters*(i%(benchSessions/benchWriters)))))
				if n := appended.Add(1); n%int64(max(1, others/commits)) == 0 {
					turns <- struct{}{}
				}
			}
		})
	}
	w := &benchWorld{b: b, store: x.store}
	for range commits {
		<-turns
		w.note(k)
	}
	go func() { wg.Wait(); close(turns) }()
	for range turns { // what did not divide evenly
	}
}

// keep puts the blocks and the view of a session.
func (x *longBench) keep(b *testing.B, k eventstore.Key) {
	b.Helper()
	ctx := context.Background()
	store := x.cold(b, true, false)
	err := store.MakeBlocks(ctx, k, true, func(block eventstore.Block) error { return x.blocks.Put(ctx, block) })
	if err != nil {
		b.Fatal(err)
	}
	w, err := x.views.Open(ctx)
	if err != nil {
		b.Fatal(err)
	}
	a, err := x.store.Load(ctx, k)
	if err != nil {
		b.Fatal(err)
	}
	view, err := encodeView(a, nil)
	if err == nil {
		err = w.Write(ctx, []View{view})
	}
	if err != nil {
		b.Fatal(err)
	}
}

// cold opens a store that caches nothing.
func (x *longBench) cold(b *testing.B, blocks, views bool) *eventstore.Store {
	b.Helper()
	cfg := eventstore.Config{Driver: x.driver, CacheBytes: -1}
	if blocks {
		cfg.Blocks = x.blocks
	}
	if views {
		cfg.Snapshots = SnapshotsOf(x.views)
	}
	store, err := eventstore.Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	return store
}

// measure runs one thing and shows it as a number of direct gets as well.
func (x *longBench) measure(b *testing.B, name string, do func() error) {
	b.Run(name, func(b *testing.B) {
		cpu := cputime.Used()
		for b.Loop() {
			if err := do(); err != nil {
				b.Fatal(err)
			}
		}
		took := b.Elapsed() / time.Duration(b.N)
		b.ReportMetric(float64((cputime.Used()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		if x.get > 0 {
			b.ReportMetric(float64(took)/float64(x.get), "gets/op")
		}
	})
}

// BenchmarkLongHistory reads sessions of 1,000 and of 10,000 commits that are
// spread evenly over many others, on file storage, with blocks and without.
func BenchmarkLongHistory(b *testing.B) {
	others := benchOthers
	if n, err := strconv.Atoi(os.Getenv(envCommits)); err == nil && n > 0 {
		others = n
	}
	x, ctx := newLongBench(b, b.TempDir()), context.Background()
	small, large := key("ada", "thousand"), key("ada", "tenthousand")
	x.fill(b, small, 1_000, others/2)
	x.fill(b, large, 10_000, others/2)
	x.keep(b, small)
	x.keep(b, large)
	x.store = nil // and what it has cached
	last, err := x.driver.Last(ctx, large)
	if err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	for range benchGets {
		if _, err := x.driver.Get(ctx, last.Seq); err != nil {
			b.Fatal(err)
		}
	}
	x.get = time.Since(begun) / benchGets
	b.Logf("one direct get takes %s here and now", x.get)
	unkept := x.cold(b, true, false)
	x.measure(b, "making 39 blocks", func() error {
		if err := x.blocks.Remove(ctx, large); err != nil {
			return err
		}
		return unkept.MakeBlocks(ctx, large, true, func(block eventstore.Block) error { return x.blocks.Put(ctx, block) })
	})
	for _, blocks := range []bool{false, true} {
		store, with := x.cold(b, blocks, false), map[bool]string{true: "blocks", false: "plain"}[blocks]
		count := func(k eventstore.Key, from uint64, want int) error {
			n := 0
			err := store.Commits(ctx, k, from, func(eventstore.Committed) error {
				if n++; n == want {
					return errEnough
				}
				return nil
			})
			if err == errEnough || err == nil && n == want { //nolint:errorlint // it is returned as it is
				return nil
			}
			return fmt.Errorf("%d commits: %w", n, err)
		}
		x.measure(b, "history of 1000/"+with, func() error { return count(small, 0, 1_000) })
		x.measure(b, "page of 100 of 10000/"+with, func() error { return count(large, 5_000, 100) })
		x.measure(b, "history of 10000/"+with, func() error { return count(large, 0, 10_000) })
		x.measure(b, "at 5000 of 10000/"+with, func() error { return version(store.At(ctx, large, eventstore.Cut{Version: 5_000}))(5_000) })
		x.measure(b, "at 9983 of 10000/"+with, func() error { return version(store.At(ctx, large, eventstore.Cut{Version: 9_983}))(9_983) })
		x.measure(b, "cold load without a view/"+with, func() error { return version(store.Load(ctx, large))(10_000) })
	}
	viewed := x.cold(b, true, true)
	x.measure(b, "cold load/view", func() error { return version(viewed.Load(ctx, large))(10_000) })
}

var errEnough = fmt.Errorf("the page is full")

// version checks what was read.
func version(a eventstore.Aggregate, err error) func(want uint64) error {
	return func(want uint64) error {
		if err == nil && a.Session.Version != want {
			return fmt.Errorf("version %d instead of %d", a.Session.Version, want)
		}
		return err
	}
}
