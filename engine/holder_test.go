package engine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// campaign is an engine that takes part in the election.
type campaign struct {
	*holder
	holds atomic.Bool
	terms atomic.Int32
	stop  func()
	log   *syncBuffer
	js    jetstream.JetStream
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startJetStream starts an embedded server with streams in a directory of the test.
func startJetStream(t testing.TB) *server.Server {
	t.Helper()
	return startServer(t, func(o *server.Options) { o.JetStream, o.StoreDir = true, t.TempDir() })
}

func startCampaign(t *testing.T, ns *server.Server, id string, clock func() time.Time) *campaign {
	t.Helper()
	return startCampaignOn(t, dialServer(t, ns), id, clock)
}

func startCampaignOn(t *testing.T, nc *nats.Conn, id string, clock func() time.Time) *campaign {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	open := func(ctx context.Context) (jetstream.KeyValue, error) {
		return ensureControl(ctx, js, "reprise_control", 1)
	}
	kv, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &campaign{log: &syncBuffer{}, js: js}
	c.holder = &holder{kv: kv, open: open, id: id, connected: nc.IsConnected, clock: clock, log: slog.New(slog.NewTextHandler(c.log, nil))}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx, func(ctx context.Context) error {
			c.terms.Add(1)
			c.holds.Store(true)
			defer c.holds.Store(false)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	c.stop = func() { cancel(); <-done }
	t.Cleanup(c.stop)
	return c
}

func TestOneEngineHolds(t *testing.T) {
	ns := startJetStream(t)
	first := startCampaign(t, ns, "first", time.Now)
	until(t, "the first engine holds", first.holds.Load)
	second := startCampaign(t, ns, "second", time.Now)

	began := time.Now()
	first.stop()
	gaveUp := time.Since(began) >= leaseRenewal // the server was too slow for it
	if e, err := second.kv.Get(t.Context(), leaseKey); err == nil && string(e.Value()) == "first" && !gaveUp {
		t.Error("the lease was not given back")
	}
	until(t, "the second engine holds", second.holds.Load)
	if first.holds.Load() {
		t.Error("both hold")
	}
}

func TestHolderThatLosesItsLeaseStops(t *testing.T) {
	ns := startJetStream(t)
	c := startCampaign(t, ns, "loser", time.Now)
	until(t, "the engine holds", c.holds.Load)
	if _, err := c.kv.Put(t.Context(), leaseKey, []byte("usurper")); err != nil {
		t.Fatal(err)
	}
	until(t, "it has noticed", func() bool { return !c.holds.Load() })
	until(t, "it says so", func() bool { return strings.Contains(c.log.String(), "another engine is the holder now") })
	until(t, "it holds again once the lease has expired", func() bool { return c.holds.Load() && c.terms.Load() >= 2 })
}

func TestBucketThatIsGoneIsMadeAgain(t *testing.T) {
	c := startCampaign(t, startJetStream(t), "only", time.Now)
	until(t, "the engine holds", c.holds.Load)
	if err := c.js.DeleteKeyValue(t.Context(), "reprise_control"); err != nil {
		t.Fatal(err)
	}
	until(t, "it holds again in a new bucket", func() bool { return c.holds.Load() && c.terms.Load() >= 2 })
}

func TestDeadHolderIsReplaced(t *testing.T) {
	ns := startJetStream(t)
	c := startCampaign(t, ns, "alive", time.Now)
	until(t, "the engine holds", c.holds.Load)
	c.stop()
	if _, err := c.kv.Create(t.Context(), leaseKey, []byte("dead")); err != nil {
		t.Fatal(err)
	}
	next := startCampaign(t, ns, "next", time.Now)
	until(t, "the lease of the dead engine has expired", next.holds.Load)
}

func TestWrongClockDoesNotHold(t *testing.T) {
	ns := startJetStream(t)
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		c := startCampaign(t, ns, "wrong", func() time.Time { return time.Now().Add(off) })
		until(t, "it has refused the lease", func() bool { return strings.Contains(c.log.String(), errClockSkew.Error()) })
		if c.terms.Load() != 0 {
			t.Errorf("an engine whose clock is off by %s became the holder", off)
		}
		c.stop()
	}
}

// laggard is a bucket of which the first reads come from a replica that is behind.
type laggard struct {
	jetstream.KeyValue
	left atomic.Int32
}

func (b *laggard) GetRevision(ctx context.Context, key string, rev uint64) (jetstream.KeyValueEntry, error) {
	if b.left.Add(-1) >= 0 {
		return nil, jetstream.ErrKeyNotFound
	}
	return b.KeyValue.GetRevision(ctx, key, rev)
}

func TestReplicaThatIsBehindDoesNotKeepAnybodyFromHolding(t *testing.T) {
	js, err := jetstream.New(dialServer(t, startJetStream(t)))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := ensureControl(t.Context(), js, "reprise_control", 1)
	if err != nil {
		t.Fatal(err)
	}
	slow := &laggard{KeyValue: kv}
	slow.left.Store(2)
	h := &holder{kv: slow, id: "a", clock: time.Now, log: slog.New(slog.DiscardHandler)}
	if _, ok := h.acquire(t.Context()); !ok {
		t.Error("it does not hold")
	}
}

func TestHolderGoesOnWhenItsWorkFails(t *testing.T) {
	ns := startJetStream(t)
	c := startCampaign(t, ns, "first", time.Now)
	until(t, "the engine holds", c.holds.Load)
	c.stop()
	var terms atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx, func(context.Context) error {
			terms.Add(1)
			return errors.New("the disk is full")
		})
	}()
	until(t, "the work was tried again", func() bool { return terms.Load() >= 2 })
	cancel()
	<-done
	if !strings.Contains(c.log.String(), "the disk is full") {
		t.Errorf("the log does not say why: %s", c.log)
	}
}
