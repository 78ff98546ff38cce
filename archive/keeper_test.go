package archive

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	esjs "reprise/eventstore/jetstream"
)

// startServer runs a server for one test and returns a connection.
func startServer(t *testing.T) *nats.Conn {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the embedded server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestDirKeepsAndVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.populate(16)
	path := filepath.Join(t.TempDir(), "kept")
	dir, err := NewDir(w.store, path)
	w.must(err)
	ref := keepsHistories(t, w, dir)
	location, err := url.Parse(ref)
	if err != nil || location.Scheme != "file" || !strings.HasPrefix(location.Path, filepath.ToSlash(path)) {
		t.Fatalf("reference %s, %v", ref, err)
	}
	file, err := os.ReadFile(filepath.FromSlash(location.Path))
	w.must(err)
	b := newWorld(t)
	if _, err := b.load(file, ImportOptions{}); err != nil {
		t.Errorf("the archive can't be imported: %v", err)
	}
	w.must(os.WriteFile(filepath.FromSlash(location.Path), file[:len(file)/2], 0o600))
	if again, err := dir.Archive(t.Context(), w.key("ann", 2), 0); err != nil || again != ref {
		t.Errorf("a damaged archive is not made anew: %s, %v", again, err)
	}
	if now, err := os.ReadFile(filepath.FromSlash(location.Path)); err != nil || len(now) < len(file)/2+1 {
		t.Errorf("it has %d bytes, %v", len(now), err)
	}
}

// keepsHistories archives sessions twice, and refuses those there are not.
func keepsHistories(t *testing.T, w *world, keeper Archiver) string {
	t.Helper()
	key := w.key("ann", 2)
	ref, err := keeper.Archive(t.Context(), key, 0)
	w.must(err)
	again, err := keeper.Archive(t.Context(), key, 0)
	if err != nil || again != ref {
		t.Errorf("again it is %s and not %s, %v", again, ref, err)
	}
	for _, key := range []eventstore.Key{w.key("bob@example.org", 7), w.key("ann", 99)} {
		_, err := keeper.Archive(t.Context(), key, 0)
		wantError(t, err, ErrNoSession, "has no history to archive")
	}
	part := w.key("ann", 3)
	agg := w.do(part)
	whole, err := keeper.Archive(t.Context(), part, agg.Seq)
	w.must(err)
	w.do(part, &domain.Resume{})
	before, err := keeper.Archive(t.Context(), part, agg.Seq)
	if err != nil || before != whole {
		t.Errorf("up to the same sequence it is %s and not %s, %v", before, whole, err)
	}
	longer, err := keeper.Archive(t.Context(), part, 0)
	if err != nil || longer == whole {
		t.Errorf("a longer history is kept as %s, %v", longer, err)
	}
	return ref
}

func TestObjectStoreKeepsAndVerifies(t *testing.T) {
	t.Parallel()
	js, err := jetstream.New(startServer(t))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.populate(16)
	ref := keepsHistories(t, w, NewObjectStore(w.store, bucket, "kept"))
	name, ok := strings.CutPrefix(ref, "nats-object://kept/")
	if !ok {
		t.Fatalf("reference %s", ref)
	}
	raw, err := bucket.GetBytes(t.Context(), name)
	w.must(err)
	b := newWorld(t)
	if _, err := b.load(raw, ImportOptions{}); err != nil {
		t.Errorf("the archive can't be imported: %v", err)
	}
	w.must(js.DeleteObjectStore(t.Context(), "kept"))
	if _, err := NewObjectStore(w.store, bucket, "kept").Archive(t.Context(), w.key("ann", 1), 0); err == nil {
		t.Error("archived without a bucket")
	}
}

func TestArchivesThatCannotBeKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(w.key("ann", 1), plan(9))
	w.damaged(w.key("ann", 2))
	file := filepath.Join(t.TempDir(), "file")
	w.must(os.WriteFile(file, nil, 0o600))
	if _, err := NewDir(w.store, filepath.Join(file, "below")); err == nil {
		t.Error("a directory below a file")
	}
	path := t.TempDir()
	dir, err := NewDir(w.store, path)
	w.must(err)
	_, err = dir.Archive(t.Context(), w.key("ann", 2), 0)
	wantError(t, err, eventstore.ErrCorrupt, "session ann.s2 can't be archived")
	w.must(os.WriteFile(filepath.Join(path, "ann"), nil, 0o600))
	if _, err := dir.Archive(t.Context(), w.key("ann", 1), 0); err == nil {
		t.Error("archived where a file is in the way")
	}
	w.must(os.Remove(filepath.Join(path, "ann")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dir.Archive(ctx, w.key("ann", 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(path, unfinished+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestConfirmSeesAnotherHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(w.key("ann", 1), plan(9))
	w.do(w.key("ann", 2), plan(9))
	one, err := readHistory(t.Context(), w.store, w.key("ann", 1), 0)
	w.must(err)
	two, err := readHistory(t.Context(), w.store, w.key("ann", 2), 0)
	w.must(err)
	var out bytes.Buffer
	w.must(keep(t.Context(), w.store, &out, one))
	if err := confirm(t.Context(), bytes.NewReader(out.Bytes()), two); err == nil {
		t.Error("it was taken for another session's")
	}
	if err := confirm(t.Context(), strings.NewReader("x"), two); !errors.Is(err, ErrDamaged) {
		t.Errorf("no export: %v", err)
	}
}

func TestCheckpointsInTheTarget(t *testing.T) {
	t.Parallel()
	nc := startServer(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, names := t.Context(), contract.Default()
	if _, err := OpenCheckpoints(ctx, js, names); err == nil {
		t.Error("checkpoints without a store")
	}
	if err := esjs.EnsureStream(ctx, js, esjs.StreamConfig{Names: names}); err != nil {
		t.Fatal(err)
	}
	book, err := OpenCheckpoints(ctx, js, names)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := book.Load(ctx); err != nil || at != (Checkpoint{}) {
		t.Errorf("at the start: %+v, %v", at, err)
	}
	want := Checkpoint{Source: "x", Run: "r", Phase: phaseCopy, Next: 7, Sessions: 3}
	if err := book.Save(ctx, want); err != nil {
		t.Fatal(err)
	}
	again, err := OpenCheckpoints(ctx, js, names)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := again.Load(ctx); err != nil || at != want {
		t.Errorf("loaded %+v, %v", at, err)
	}
	if _, err := book.kv.Put(ctx, checkpointKey, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := book.Load(ctx); err == nil {
		t.Error("nonsense was loaded")
	}
	nc.Close()
	if err := book.Save(ctx, want); err == nil {
		t.Error("saved without a server")
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	b := newBudget(10)
	ctx, cancel := context.WithCancel(t.Context())
	if err := b.take(ctx, 25); err != nil {
		t.Errorf("more than all of it, alone: %v", err)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := b.take(ctx, 5); err == nil {
				b.give(5)
			}
		})
	}
	b.give(25)
	wg.Wait()
	if err := b.take(ctx, 6); err != nil {
		t.Error(err)
	}
	cancel()
	if err := b.take(ctx, 6); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestAbandonedFilesAreRemoved: those of a process that was killed, and not one
// that is being written.
func TestAbandonedFilesAreRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := t.TempDir()
	for name, age := range map[string]time.Duration{unfinished + "1": 2 * abandonedAfter, unfinished + "2": 0, "kept": 2 * abandonedAfter} {
		file := filepath.Join(path, name)
		w.must(os.WriteFile(file, nil, 0o600))
		w.must(os.Chtimes(file, time.Time{}, time.Now().Add(-age)))
	}
	_, err := NewDir(w.store, path)
	w.must(err)
	var left []string
	entries, err := os.ReadDir(path)
	w.must(err)
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if got := strings.Join(left, " "); got != unfinished+"2 kept" {
		t.Errorf("left are %s", got)
	}
}
