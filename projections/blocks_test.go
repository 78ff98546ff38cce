package projections

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

var historyConfig = KVConfig{Bucket: contract.Default().HistoryBucket()}

func openBlocks(t *testing.T) *KVBlocks {
	t.Helper()
	s := serve(t, t.TempDir())
	k, err := OpenKVBlocks(t.Context(), dial(t, s), dial(t, s), historyConfig)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBlockStore(t *testing.T) {
	k, ctx := openBlocks(t), t.Context()
	has := func(user, session string, number uint64, want string) {
		t.Helper()
		body, err := k.Block(ctx, key(user, session), number)
		if want == "" && !errors.Is(err, eventstore.ErrNotFound) || want != "" && (err != nil || string(body) != want) {
			t.Errorf("block %d of %s/%s is %q %v and should be %q", number, user, session, body, err, want)
		}
	}
	for _, b := range []struct {
		user, session string
		number        uint64
	}{{"ada", "s1", 0}, {"ada", "s1", 1}, {"ada", "s2", 0}, {"a b", "s1", 0}} {
		if err := k.Put(ctx, eventstore.Block{Key: key(b.user, b.session), Number: b.number, Body: []byte(fmt.Sprint(b))}); err != nil {
			t.Fatal(err)
		}
	}
	has("ada", "s1", 1, "{ada s1 1}")
	has("a b", "s1", 0, "{a b s1 0}")
	has("ada", "s1", 2, "")
	if err := k.Remove(ctx, key("ada", "s1")); err != nil {
		t.Fatal(err)
	}
	has("ada", "s1", 0, "")
	has("ada", "s1", 1, "")
	has("ada", "s2", 0, "{ada s2 0}")
	if err := k.Wipe(ctx); err != nil {
		t.Fatal(err)
	}
	has("ada", "s2", 0, "")
	has("a b", "s1", 0, "")
}

// A bucket that somebody deletes is no more than slow.
func TestBlockBucketDeleted(t *testing.T) {
	k, ctx := openBlocks(t), t.Context()
	if err := k.write.DeleteStream(ctx, "KV_"+historyConfig.Bucket); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Block(ctx, key("ada", "s1"), 0); err == nil {
		t.Error("a block of nowhere")
	}
	if err := k.Remove(ctx, key("ada", "s1")); err != nil {
		t.Error(err)
	}
	b := eventstore.Block{Key: key("ada", "s1"), Body: []byte("x")}
	if err := k.Put(ctx, b); err != nil {
		t.Fatal(err)
	}
	if body, err := k.Block(ctx, b.Key, 0); err != nil || string(body) != "x" {
		t.Errorf("%q %v", body, err)
	}
}

func TestBlockBucketOfOthers(t *testing.T) {
	s := serve(t, t.TempDir())
	js, err := jetstream.New(dial(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: historyConfig.Bucket, History: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKVBlocks(t.Context(), dial(t, s), dial(t, s), historyConfig); !errors.Is(err, ErrSettings) {
		t.Errorf("a bucket with another history: %v", err)
	}
}

// blockShelf is a BlockStore in memory that fails when it is told to.
type blockShelf struct {
	mu   sync.Mutex
	kept map[string][]byte
	fail error
}

func (s *blockShelf) with(fn func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		fn()
	}
	return s.fail
}

func (s *blockShelf) Block(_ context.Context, k eventstore.Key, number uint64) (body []byte, err error) {
	err = eventstore.ErrNotFound
	failed := s.with(func() {
		if found, ok := s.kept[fmt.Sprint(k, ".", number)]; ok {
			body, err = found, nil
		}
	})
	return body, errors.Join(err, failed)
}

func (s *blockShelf) Put(_ context.Context, b eventstore.Block) error {
	return s.with(func() { s.kept[fmt.Sprint(b.Key, ".", b.Number)] = b.Body })
}

func (s *blockShelf) Remove(_ context.Context, k eventstore.Key) error {
	return s.with(func() {
		for n := range 64 {
			delete(s.kept, fmt.Sprint(k, ".", n))
		}
	})
}

func (s *blockShelf) Wipe(context.Context) error { return s.with(func() { clear(s.kept) }) }

func (s *blockShelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept)
}

func (s *blockShelf) failing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// blocked is a world whose long sessions have blocks.
func blocked(t *testing.T) (*world, *Blocks, *blockShelf) {
	t.Helper()
	shelf := &blockShelf{kept: map[string][]byte{}}
	var b *Blocks
	w := openWorld(t, eventstore.NewMemory(), eventstore.Config{Blocks: shelf, Lacking: func(k eventstore.Key) { b.Lacking(k) }})
	var err error
	if b, err = NewBlocks(BlocksConfig{Source: w.store, Store: shelf, Report: w.report.add}); err != nil {
		t.Fatal(err)
	}
	return w, b, shelf
}

// grow takes a session to a version.
func (w *world) grow(k eventstore.Key, version uint64) {
	w.t.Helper()
	a, err := w.store.Load(w.t.Context(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	if a.Session.Version == 0 {
		a = w.create(k)
	}
	for a.Session.Version < version {
		a = w.do(k, &domain.SetMetadata{Set: map[string]string{"note": strconv.FormatUint(a.Session.Version, 10)}})
	}
}

func TestBlocksOfLongSessionsAreKeptAndGoWithThem(t *testing.T) {
	w, b, shelf := blocked(t)
	stop := w.background(b.Run)
	eventually(t, "the role", b.held)
	w.runner(b)
	w.grow(key("ada", "short"), 200)
	w.grow(key("ada", "long"), 3*eventstore.BlockSize)
	eventually(t, "3 blocks", func() bool { return shelf.count() == 3 })
	shelf.failing(errNoBucket)
	w.purge(key("ada", "long"))
	eventually(t, "a report", func() bool { return w.report.count(errNoBucket) > 0 })
	shelf.failing(nil)
	eventually(t, "no blocks", func() bool { return shelf.count() == 0 })
	stop()
}

func TestBlocksThatAWalkMissesAreMade(t *testing.T) {
	w, b, shelf := blocked(t)
	k := key("ada", "long")
	w.grow(k, 4*eventstore.BlockSize+10) // while nobody holds the role
	read := func() {
		t.Helper()
		if err := w.store.Commits(t.Context(), k, 0, func(eventstore.Committed) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if n := shelf.count(); n != 0 {
		t.Fatalf("%d blocks without a holder", n)
	}
	stop := w.background(b.Run)
	eventually(t, "4 blocks", func() bool { read(); return shelf.count() == 4 })
	if err := b.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "4 blocks again", func() bool { read(); return shelf.count() == 4 })
	stop()
	stop = w.background(b.Run) // the role comes back
	stop()
}

func TestBlocksNeedTheirParts(t *testing.T) {
	if _, err := NewBlocks(BlocksConfig{}); err == nil {
		t.Error("blocks without a source")
	}
}

var errNoBucket = errors.New("no bucket")

// Behind the first block of a session its blocks are made of what the runner
// brings, whether that comes at once or late, and are those that the events give.
func TestBlocksOfWhatTheRunnerBrings(t *testing.T) {
	for _, late := range []bool{false, true} {
		w, b, shelf := blocked(t)
		stop := w.background(b.Run)
		eventually(t, "the role", b.held)
		k := key("ada", "long")
		const blocks = 5
		if late {
			w.grow(k, 2*eventstore.BlockSize+40)
		}
		feed := &lagging{Blocks: b, gate: make(chan struct{})}
		if !late {
			close(feed.gate)
		}
		w.runner(feed)
		w.grow(k, blocks*eventstore.BlockSize)
		if late {
			close(feed.gate)
		}
		eventually(t, "the blocks", func() bool { return shelf.count() == blocks })
		stop()
		want := &blockShelf{kept: map[string][]byte{}}
		again, err := eventstore.Open(t.Context(), eventstore.Config{Driver: w.driver, Blocks: want})
		if err == nil {
			err = again.MakeBlocks(t.Context(), k, true, func(block eventstore.Block) error { return want.Put(t.Context(), block) })
		}
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(shelf.kept, want.kept) {
			t.Errorf("late %v: the blocks are not those of the events", late)
		}
	}
}

// lagging brings nothing before its gate is open.
type lagging struct {
	*Blocks

	gate chan struct{}
}

func (l *lagging) Apply(ctx context.Context, c Change) error {
	<-l.gate
	return l.Blocks.Apply(ctx, c)
}

func TestATrailThatMissesACommitMakesNoBlock(t *testing.T) {
	w := newWorld(t)
	w.grow(key("ada", "long"), 3*eventstore.BlockSize)
	for _, missing := range []uint64{0, 300, 512, 600} {
		known, fold := trails{}, newFolder(0, w.store)
		made := 0
		err := w.store.Commits(t.Context(), key("ada", "long"), 0, func(c eventstore.Committed) error {
			after, err := fold.fold(t.Context(), c)
			if c.Commit.Version == missing || err != nil {
				return err
			}
			if ended, ok := known.follow(Change{Committed: c, After: after}); ok {
				made++
				if len(ended.seqs) != eventstore.BlockSize {
					t.Errorf("without version %d block %d has %d commits", missing, ended.number, len(ended.seqs))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[uint64]int{0: 2, 300: 1, 512: 0, 600: 1}[missing]; made != want {
			t.Errorf("without version %d there are %d blocks and should be %d", missing, made, want)
		}
	}
}
