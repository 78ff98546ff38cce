package jetstream_test

import (
	"context"
	"errors"
	"strings"
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
)

// TestEveryAppendCarriesTheGuard looks at what the server stores, since it
// ignores a guard that is spelt wrong.
func TestEveryAppendCarriesTheGuard(t *testing.T) {
	n := onServer(t, embedded(t), true)
	ctx := t.Context()
	if _, err := n.driver.Append(ctx, []eventstore.Record{record(newKey(1), eventstore.ExpectNew(), "a")}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.driver.Append(ctx, []eventstore.Record{record(newKey(1), eventstore.ExpectLast(1), "b"), record(newKey(2), eventstore.ExpectNew(), "c")}); err != nil {
		t.Fatal(err)
	}
	stream, err := n.api.Stream(ctx, "REPRISE_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	for seq, guard := range map[uint64]string{1: "0", 2: "1", 3: "0"} {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Header[contract.HeaderGuard]; len(got) != 1 || got[0] != guard {
			t.Errorf("sequence %d carries the guard %q, not %q", seq, got, guard)
		}
	}
}

// TestLive receives what is appended on the live subject.
func TestLive(t *testing.T) {
	n := onServer(t, embedded(t), true)
	key := eventstore.Key{User: "a b", Session: "s1"}
	live, err := n.read.SubscribeSync(contract.Default().Live(key.User, key.Session))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.read.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.driver.Append(t.Context(), []eventstore.Record{record(key, eventstore.ExpectNew(), "a")}); err != nil {
		t.Fatal(err)
	}
	msg, err := live.NextMsg(patience)
	if err != nil || string(msg.Data) != "a" || msg.Header.Get(js.SequenceHeader) != "1" {
		t.Fatal(msg, err)
	}
}

// TestNoAnswerIsUnknown stores a commit whose acknowledgement nobody receives.
func TestNoAnswerIsUnknown(t *testing.T) {
	srv := embedded(t)
	n := onServer(t, srv, true)
	slow, err := jetstream.Open(t.Context(), jetstream.Config{
		Write: dial(t, srv, jetstream.WriteOptions()...), Read: n.read, Names: contract.Default(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.Close(); err != nil { // no answer arrives any more
		t.Fatal(err)
	}
	ctx := untilStored(t, n)
	r := record(newKey(1), eventstore.ExpectNew(), "a")
	if _, err := slow.Append(ctx, []eventstore.Record{r}); !errors.Is(err, eventstore.ErrUnknownOutcome) {
		t.Fatalf("the error is %v", err)
	}
	m, err := n.driver.Last(t.Context(), newKey(1))
	if err != nil || string(m.Body) != "a" {
		t.Fatalf("the append was %+v, %v", m, err)
	}
}

// untilStored is a context that ends once the stream holds a message.
func untilStored(t *testing.T, n node) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if info, err := n.driver.Info(ctx); err == nil && info.Messages > 0 {
				return
			}
		}
	}()
	return ctx
}

func TestTimeoutIsUnknown(t *testing.T) {
	srv := embedded(t)
	n := onServer(t, srv, true)
	hasty, err := jetstream.Open(t.Context(), jetstream.Config{
		Write: dial(t, srv, jetstream.WriteOptions()...), Read: n.read, Names: contract.Default(), Timeout: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := hasty.Close(); err != nil {
		t.Fatal(err)
	}
	for _, records := range [][]eventstore.Record{
		{record(newKey(1), eventstore.ExpectNew(), "a")},
		{record(newKey(2), eventstore.ExpectNew(), "a"), record(newKey(3), eventstore.ExpectNew(), "a")},
	} {
		if _, err := hasty.Append(t.Context(), records); !errors.Is(err, eventstore.ErrUnknownOutcome) || !strings.Contains(err.Error(), "2s") {
			t.Fatalf("the error is %v", err)
		}
	}
}

func TestNothingIsSentWhileDisconnected(t *testing.T) {
	srv := startServer(t, t.TempDir())
	n := onServer(t, srv, true)
	stopServer(srv)
	eventually(t, "the connection knows", func() bool { return !n.write.IsConnected() })
	_, err := n.driver.Append(t.Context(), []eventstore.Record{record(newKey(1), eventstore.ExpectNew(), "a")})
	if !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("a single append: %v", err)
	}
	_, err = n.driver.Append(t.Context(), []eventstore.Record{record(newKey(1), eventstore.ExpectNew(), "a"), record(newKey(2), eventstore.ExpectNew(), "a")})
	if !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("a batch: %v", err)
	}
}

func TestWithoutStreamItIsUnavailable(t *testing.T) {
	n := onServer(t, embedded(t), true)
	if err := n.api.DeleteStream(t.Context(), "REPRISE_EVENTS"); err != nil {
		t.Fatal(err)
	}
	_, err := n.driver.Append(t.Context(), []eventstore.Record{record(newKey(1), eventstore.ExpectNew(), "a")})
	if !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	if _, err = n.driver.Last(t.Context(), newKey(1)); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("last: %v", err)
	}
	if _, err = n.driver.Get(t.Context(), 1); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if _, err = n.driver.Info(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("info: %v", err)
	}
	if err = n.driver.Compact(t.Context(), newKey(1), 1); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("compact: %v", err)
	}
	err = n.driver.Scan(t.Context(), eventstore.Filter{}, func(eventstore.Message) error { return nil })
	if !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("scan: %v", err)
	}
}

// TestIncarnation follows a stream that is removed and made anew.
func TestIncarnation(t *testing.T) {
	srv := embedded(t)
	n := onServer(t, srv, true)
	if _, err := n.driver.Append(t.Context(), []eventstore.Record{record(newKey(1), eventstore.ExpectNew(), "a")}); err != nil {
		t.Fatal(err)
	}
	follows, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- n.driver.Follow(t.Context(), 1, func(eventstore.Message) error { close(follows); return nil })
	}()
	<-follows
	if err := n.api.DeleteStream(t.Context(), "REPRISE_EVENTS"); err != nil {
		t.Fatal(err)
	}
	again := onServer(t, srv, true)
	if err := <-done; !errors.Is(err, eventstore.ErrIncarnation) {
		t.Errorf("the follower ends with %v", err)
	}
	if _, err := n.driver.Info(t.Context()); !errors.Is(err, eventstore.ErrIncarnation) {
		t.Errorf("the old driver says %v", err)
	}
	old, err := again.driver.Info(t.Context())
	if err != nil || old.Incarnation == "" {
		t.Error(old, err)
	}
}

// TestFollowSurvivesRestart goes on where it was after the server was away.
func TestFollowSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	var srv atomic.Pointer[server.Server]
	srv.Store(startServer(t, dir))
	fast := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}
	write, read := dialNext(t, &srv, append(jetstream.WriteOptions(), fast...)...), dialNext(t, &srv, fast...)
	n := connect(t, write, read, jetstream.StreamConfig{Names: contract.Default()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	bodies, done := make(chan string, 10), make(chan error, 1)
	go func() {
		done <- n.driver.Follow(ctx, 1, func(m eventstore.Message) error { bodies <- string(m.Body); return nil })
	}()
	put := func(last uint64, body string) {
		t.Helper()
		eventually(t, "the append gets through", func() bool {
			_, err := n.driver.Append(ctx, []eventstore.Record{record(newKey(1), eventstore.ExpectLast(last), body)})
			return err == nil || errors.Is(err, eventstore.ErrConflict)
		})
		if got := <-bodies; got != body {
			t.Fatalf("the follower gets %q, not %q", got, body)
		}
	}
	put(0, "a")
	stopServer(srv.Load())
	srv.Store(startServer(t, dir))
	t.Cleanup(func() { stopServer(srv.Load()) })
	put(1, "b")
	put(2, "c")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the follower ends with %v", err)
	}
}

// TestInFlightIsBounded fills the window of appends and asks for one more.
func TestInFlightIsBounded(t *testing.T) {
	srv := embedded(t)
	n := onServer(t, srv, true)
	narrow, err := jetstream.Open(t.Context(), jetstream.Config{
		Write: dial(t, srv, jetstream.WriteOptions()...), Read: n.read, Names: contract.Default(), InFlight: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := narrow.Close(); err != nil { // so that the first one waits for its answer
		t.Fatal(err)
	}
	ctx := untilStored(t, n)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = narrow.Append(ctx, []eventstore.Record{record(newKey(i), eventstore.ExpectNew(), "a")})
		})
	}
	wg.Wait()
	unknown, refused := errs[0], errs[1]
	if errors.Is(refused, eventstore.ErrUnknownOutcome) {
		unknown, refused = refused, unknown
	}
	if !errors.Is(unknown, eventstore.ErrUnknownOutcome) || !errors.Is(refused, eventstore.ErrUnavailable) {
		t.Errorf("the errors are %v", errs)
	}
}

func TestOpenRefuses(t *testing.T) {
	srv := embedded(t)
	n := onServer(t, srv, true)
	good := jetstream.Config{Write: n.write, Read: n.read, Names: contract.Default()}
	other, err := contract.NewNames("other")
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*jetstream.Config){
		"no connections":        func(c *jetstream.Config) { c.Write, c.Read = nil, nil },
		"one connection":        func(c *jetstream.Config) { c.Read = c.Write },
		"no names":              func(c *jetstream.Config) { c.Names = contract.Names{} },
		"a negative window":     func(c *jetstream.Config) { c.InFlight = -1 },
		"a huge window":         func(c *jetstream.Config) { c.InFlight = jetstream.MaxInFlight + 1 },
		"a negative timeout":    func(c *jetstream.Config) { c.Timeout = -1 },
		"no stream":             func(c *jetstream.Config) { c.Names = other },
		"writes that are kept":  func(c *jetstream.Config) { c.Write = dial(t, srv) },
		"a closed connection":   func(c *jetstream.Config) { c.Write = closed(t, dial(t, srv, jetstream.WriteOptions()...)) },
		"an API that is absent": func(c *jetstream.Config) { c.JetStream, _ = js.NewWithDomain(n.read, "nowhere") },
	} {
		cfg := good
		spoil(&cfg)
		if d, err := jetstream.Open(t.Context(), cfg); err == nil {
			t.Errorf("a configuration with %s is accepted: %v", name, d.Features())
		}
	}
	if _, err := n.driver.Append(t.Context(), make([]eventstore.Record, 0)); err == nil {
		t.Error("an append of nothing is accepted")
	}
	many := make([]eventstore.Record, 1001)
	for i := range many {
		many[i] = record(newKey(i), eventstore.ExpectNew(), "a")
	}
	if _, err := n.driver.Append(t.Context(), many); err == nil {
		t.Error("a batch beyond the server's bound is accepted")
	}
	if _, err := n.driver.Append(t.Context(), many[:1000]); err != nil {
		t.Errorf("a batch at the server's bound: %v", err)
	}
}

func closed(t *testing.T, nc *nats.Conn) *nats.Conn {
	t.Helper()
	nc.Close()
	return nc
}

// TestTooLargeForTheServer sends more than the server takes in one message.
func TestTooLargeForTheServer(t *testing.T) {
	n := onServer(t, embedded(t), true)
	r := record(newKey(1), eventstore.ExpectNew(), "a")
	r.Body = make([]byte, 2<<20)
	if _, err := n.driver.Append(t.Context(), []eventstore.Record{r}); !errors.Is(err, eventstore.ErrTooLarge) {
		t.Errorf("one: %v", err)
	}
	small := record(newKey(2), eventstore.ExpectNew(), "a")
	for _, batch := range [][]eventstore.Record{{small, r}, {r, small}, {small, r, record(newKey(3), eventstore.ExpectNew(), "a")}} {
		if _, err := n.driver.Append(t.Context(), batch); !errors.Is(err, eventstore.ErrTooLarge) {
			t.Errorf("a batch: %v", err)
		}
	}
	if info, err := n.driver.Info(t.Context()); err != nil || info.Messages != 0 {
		t.Errorf("stored: %+v %v", info, err)
	}
}

// TestManyPairs makes more batches at once than the server takes.
func TestManyPairs(t *testing.T) {
	n := onServer(t, embedded(t), true)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			_, err := n.driver.Append(t.Context(), []eventstore.Record{
				record(newKey(2*i), eventstore.ExpectNew(), "a"), record(newKey(2*i+1), eventstore.ExpectNew(), "b"),
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if info, err := n.driver.Info(t.Context()); err != nil || info.Messages != 400 {
		t.Errorf("stored: %+v %v", info, err)
	}
}
