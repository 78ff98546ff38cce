package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

// serve starts a server without a listener.
func serve(t testing.TB, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, MaxPayload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func dial(t testing.TB, s *server.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", append(options, nats.InProcessServer(s), nats.Timeout(patience))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func openBucket(t testing.TB, s *server.Server, cfg KVConfig) *KVViews {
	t.Helper()
	k, err := OpenKV(t.Context(), dial(t, s), dial(t, s), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var bucketConfig = KVConfig{Bucket: "reprise_sessions"}

// everyStore runs a test over each kind of view store.
func everyStore(t *testing.T, test func(t *testing.T, store ViewStore)) {
	t.Run("memory", func(t *testing.T) { test(t, NewMemoryViews()) })
	t.Run("kv", func(t *testing.T) { test(t, openBucket(t, serve(t, t.TempDir()), bucketConfig)) })
	t.Run("kv in memory", func(t *testing.T) {
		test(t, openBucket(t, serve(t, t.TempDir()), KVConfig{Bucket: "views", Memory: true}))
	})
}

func writer(t *testing.T, store ViewStore) ViewWriter {
	t.Helper()
	w, err := store.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func write(t *testing.T, w ViewWriter, views ...View) {
	t.Helper()
	if err := w.Write(t.Context(), views); err != nil {
		t.Fatal(err)
	}
}

func put(key string, n int) View {
	return View{Key: key, Body: fmt.Appendf(nil, `{"n":%d}`, n), Index: fmt.Appendf(nil, `{"é":%d}`, n)}
}

func TestViewStore(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		ctx := t.Context()
		if err := store.Scan(ctx, true, func(View) error { return errors.New("a view") }); err != nil {
			t.Errorf("empty: %v", err)
		}
		w := writer(t, store)
		if c, err := store.Checkpoint(ctx); err != nil || c.Seq != 0 {
			t.Errorf("empty: %+v %v", c, err)
		}
		write(t, w, put("ada.s1", 1), put("ada.s2", 2), put("bob.s1", 3))
		want := Checkpoint{Schema: 1, Declared: []string{"team"}, Incarnation: "i", Seq: 7, Hash: "h", User: "ada", Session: "s1"}
		if err := w.SetCheckpoint(ctx, want); err != nil {
			t.Fatal(err)
		}
		write(t, w, put("ada.s1", 4), View{Key: "ada.s2"}, View{Key: "eve.s9"})
		same(t, dump(t, store), map[string]View{"ada.s1": put("ada.s1", 4), "bob.s1": put("bob.s1", 3)})
		if got, err := store.Checkpoint(ctx); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("checkpoint %+v %v", got, err)
		}
		if v, err := store.Get(ctx, "ada.s1"); err != nil || string(v.Body) != `{"n":4}` || string(v.Index) != `{"é":4}` {
			t.Errorf("get: %+v %v", v, err)
		}
		for _, k := range []string{"ada.s2", "ada.none"} {
			if _, err := store.Get(ctx, k); !errors.Is(err, ErrNoView) {
				t.Errorf("get %s: %v", k, err)
			}
		}
		stop := errors.New("stop")
		err := store.Scan(ctx, false, func(v View) error {
			if len(v.Body) != 0 || len(v.Index) == 0 {
				t.Errorf("headers only: %+v", v)
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Errorf("scan: %v", err)
		}
	})
}

func TestViewStoreWipe(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := writer(t, store)
		write(t, w, put("ada.s1", 1))
		if err := errors.Join(w.SetCheckpoint(t.Context(), Checkpoint{Seq: 7}), w.Wipe(t.Context())); err != nil {
			t.Fatal(err)
		}
		same(t, dump(t, store), nil)
		if c, err := store.Checkpoint(t.Context()); err != nil || c.Seq != 0 {
			t.Errorf("checkpoint %+v %v", c, err)
		}
		write(t, w, put("ada.s1", 2))
		same(t, dump(t, store), map[string]View{"ada.s1": put("ada.s1", 2)})
	})
}

func TestViewStoreFencesTheWriterBefore(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		old := writer(t, store)
		write(t, old, put("ada.s1", 1))
		next := writer(t, store)
		late := make([]View, 3*writeWindow)
		for i := range late {
			late[i] = put(fmt.Sprintf("ada.late%d", i), 2)
		}
		for range 2 {
			if err := old.Write(t.Context(), late); !errors.Is(err, ErrFenced) {
				t.Fatalf("the old writer: %v", err)
			}
		}
		if err := old.SetCheckpoint(t.Context(), Checkpoint{Seq: 9}); !errors.Is(err, ErrFenced) {
			t.Errorf("the old writer's checkpoint: %v", err)
		}
		if err := old.Wipe(t.Context()); !errors.Is(err, ErrFenced) {
			t.Errorf("the old writer's wipe: %v", err)
		}
		write(t, next, put("ada.s2", 3))
		same(t, dump(t, store), map[string]View{"ada.s1": put("ada.s1", 1), "ada.s2": put("ada.s2", 3)})
	})
}

// A guard names a sequence, and with a window in flight one stranger's message
// makes the next guard true again. What a writer still has in flight when
// another one is opened must be refused to the last message.
func TestKVFenceHoldsForAWholeWindow(t *testing.T) {
	s := serve(t, t.TempDir())
	store := openBucket(t, s, bucketConfig)
	old := writer(t, store).(*kvWriter)
	write(t, old, put("ada.s1", 1))
	next := writer(t, store)
	for i := range uint64(writeWindow + 1) { // as if sent before the takeover
		future, err := store.write.PublishMsgAsync(store.message(put("ada.s1", 2)), jetstream.WithExpectLastSequence(old.last+i))
		if err != nil {
			t.Fatal(err)
		}
		if err := acknowledged(t.Context(), future); !errors.Is(err, ErrFenced) {
			t.Fatalf("message %d of the window: %v", i, err)
		}
	}
	write(t, next, put("ada.s2", 1))
	same(t, dump(t, store), map[string]View{"ada.s1": put("ada.s1", 1), "ada.s2": put("ada.s2", 1)})
}

// shortSighted is a stream that says it ends earlier than it does: what it said
// was so a moment ago.
type shortSighted struct{ jetstream.Stream }

func (s shortSighted) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := s.Stream.Info(ctx, opts...)
	if err == nil {
		info.State.LastSeq -= fenceGap / 2
	}
	return info, err
}

// TestKVTakeoverWaitsForItself: when a writer could not take over, nothing that it
// sent is on its way any more. It would move the end of the stream under the next
// try, again and again.
func TestKVTakeoverWaitsForItself(t *testing.T) {
	store := openBucket(t, serve(t, t.TempDir()), bucketConfig)
	writer(t, store)
	hasty := *store
	hasty.read = shortSighted{store.read}
	for range 20 {
		if _, err := hasty.open(t.Context()); !errors.Is(err, ErrFenced) {
			t.Fatalf("with an end that is past: %v", err)
		}
		before, err := store.read.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.write.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		write(t, writer(t, store), put("ada.s1", 1))
		after, err := store.read.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if moved := after.State.LastSeq - before.State.LastSeq; moved != fenceGap+1 {
			t.Fatalf("the next one took the stream on by %d messages, not %d", moved, fenceGap+1)
		}
	}
}

func TestKVWriterNoticesAStranger(t *testing.T) {
	s := serve(t, t.TempDir())
	store := openBucket(t, s, bucketConfig)
	w := writer(t, store)
	many := make([]View, 4*writeWindow)
	for i := range many {
		many[i] = put(fmt.Sprintf("ada.s%d", i%100), i)
	}
	write(t, w, many...)
	if n := len(dump(t, store)); n != 100 {
		t.Errorf("%d views", n)
	}
	go func() { _ = store.write.Conn().Publish(store.subject("eve.intruder"), nil) }()
	var err error
	for err == nil {
		err = w.Write(t.Context(), many)
	}
	if !errors.Is(err, ErrFenced) {
		t.Fatal(err)
	}
	write(t, writer(t, store), put("ada.s1", 1))
}

func TestKVClientsSeeAnOrdinaryBucket(t *testing.T) {
	s := serve(t, t.TempDir())
	store := openBucket(t, s, bucketConfig)
	js, err := jetstream.New(dial(t, s))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "reprise_sessions")
	if err != nil {
		t.Fatal(err)
	}
	watch, err := kv.Watch(t.Context(), "ada.>")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Stop() }()
	sees := func(want jetstream.KeyValueOp) {
		t.Helper()
		for {
			select {
			case u := <-watch.Updates():
				if u == nil {
					continue // what was there at the start is over
				}
				if u.Operation() != want {
					t.Errorf("the watch sees %s, not %s", u.Operation(), want)
				}
				return
			case <-time.After(patience):
				t.Fatalf("the watch does not see %s", want)
			}
		}
	}
	w := writer(t, store)
	write(t, w, put("ada.s1", 1))
	sees(jetstream.KeyValuePut) // before it is gone
	entry, err := kv.Get(t.Context(), "ada.s1")
	if err != nil || string(entry.Value()) != `{"n":1}` {
		t.Fatal(entry, err)
	}
	write(t, w, View{Key: "ada.s1"})
	if _, err := kv.Get(t.Context(), "ada.s1"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Error(err)
	}
	sees(jetstream.KeyValuePurge)
	marker, err := store.read.GetLastMsgForSubject(t.Context(), store.subject("ada.s1"))
	if err != nil || marker.Header.Get("Nats-Rollup") != "sub" || marker.Header.Get("Nats-TTL") != "" {
		t.Errorf("%+v %v", marker, err)
	}
	cfg := store.read.CachedInfo().Config
	if cfg.PersistMode != jetstream.AsyncPersistMode || !cfg.DenyDelete || !cfg.AllowDirect {
		t.Errorf("%+v", cfg)
	}
}

func TestKVSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	store := openBucket(t, s, bucketConfig)
	w := writer(t, store)
	write(t, w, put("ada.s1", 1), put("ada.s2", 1), View{Key: "ada.s2"})
	if err := w.SetCheckpoint(t.Context(), Checkpoint{Seq: 3}); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	store = openBucket(t, serve(t, dir), bucketConfig)
	same(t, dump(t, store), map[string]View{"ada.s1": put("ada.s1", 1)})
	if c, err := store.Checkpoint(t.Context()); err != nil || c.Seq != 3 {
		t.Errorf("%+v %v", c, err)
	}
}

func TestKVTooLarge(t *testing.T) {
	store := openBucket(t, serve(t, t.TempDir()), bucketConfig)
	w := writer(t, store)
	big := View{Key: "ada.big", Body: make([]byte, 1<<20)}
	if err := w.Write(t.Context(), []View{big, put("ada.s1", 1)}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	write(t, w, put("ada.s2", 1))
	if n := len(dump(t, store)); n != 2 {
		t.Errorf("%d views", n)
	}
}

func TestKVRefusesSettingsThatDoNotFit(t *testing.T) {
	s := serve(t, t.TempDir())
	nc := dial(t, s)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "reprise_sessions", History: 5, TTL: time.Hour, MaxBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenKV(t.Context(), nc, nc, bucketConfig)
	if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), "history is 5") || !strings.Contains(err.Error(), "1h0m0s") {
		t.Error(err)
	}
	if _, err := OpenKV(t.Context(), nc, nc, KVConfig{Bucket: "a b"}); err == nil {
		t.Error("a bucket with a space was made")
	}
}

func TestKVWithoutAServer(t *testing.T) {
	s := serve(t, t.TempDir())
	store := openBucket(t, s, bucketConfig)
	w := writer(t, store)
	s.Shutdown()
	s.WaitForShutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Write(ctx, []View{put("ada.s1", 1)}); err == nil || errors.Is(err, ErrFenced) {
		t.Errorf("write: %v", err)
	}
	if _, err := store.Open(ctx); err == nil {
		t.Error("open")
	}
	if _, err := store.Get(ctx, "ada.s1"); err == nil || errors.Is(err, ErrNoView) {
		t.Errorf("get: %v", err)
	}
	if _, err := store.Checkpoint(ctx); err == nil {
		t.Error("checkpoint")
	}
	if err := store.Scan(ctx, true, func(View) error { return nil }); err == nil {
		t.Error("scan")
	}
}

func TestKVCheckpointThatCantBeRead(t *testing.T) {
	s := serve(t, t.TempDir())
	store := openBucket(t, s, bucketConfig)
	if err := dial(t, s).Publish(store.subject(checkpointKey), []byte("{")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the publish", func() bool {
		_, err := store.Get(t.Context(), checkpointKey)
		return err == nil
	})
	if c, err := store.Checkpoint(t.Context()); err != nil || c.Seq != 0 {
		t.Errorf("%+v %v", c, err)
	}
}

// The configuration of a replicated bucket keeps the server's defaults.
func TestKVConfigReplicated(t *testing.T) {
	cfg := KVConfig{Bucket: contract.Default().SessionsBucket(), Replicas: 3}.stream()
	if cfg.PersistMode != jetstream.DefaultPersistMode || cfg.Replicas != 3 || cfg.Name != "KV_reprise_sessions" {
		t.Errorf("%+v", cfg)
	}
}
