package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	"reprise/domain"
	"reprise/eventstore"
)

var blockCases = []testCase{
	{"a long history reads the same with blocks as without", blocksChangeNothing},
	{"a cut in a long history reads one block and what follows it", blocksBoundReads},
	{"blocks that are missing, damaged, of others or wrong change no answer", blocksThatLie},
	{"blocks that are missing are made again, byte for byte", blocksMadeAgain},
	{"messages that are fetched together are those that are got one by one", fetchesWhatGetGives},
	{"a short session has no blocks, and none is asked for", noBlocksForShort},
	{"blocks of a session that is gone change nothing", blocksOfTheGone},
	{"damage and foreign messages are found with blocks as without", blocksBesideDamage},
}

// shelf keeps blocks as a bucket does.
type shelf struct {
	mu    sync.Mutex
	kept  map[string][]byte
	asked atomic.Int64
}

func shelfKey(k eventstore.Key, number uint64) string { return fmt.Sprint(k, ".", number) }

// Block returns a block that is kept.
func (s *shelf) Block(_ context.Context, k eventstore.Key, number uint64) ([]byte, error) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if body, ok := s.kept[shelfKey(k, number)]; ok {
		return body, nil
	}
	return nil, eventstore.ErrNotFound
}

func (s *shelf) put(b eventstore.Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[shelfKey(b.Key, b.Number)] = bytes.Clone(b.Body)
	return nil
}

// shelve makes all blocks of some sessions.
func (w *world) shelve(keys ...eventstore.Key) *shelf {
	w.Helper()
	sh := &shelf{kept: map[string][]byte{}}
	for _, k := range keys {
		w.must(w.with(sh).MakeBlocks(w.ctx, k, true, sh.put))
	}
	return sh
}

// with opens a store that caches nothing and has blocks.
func (w *world) with(blocks eventstore.Blocks) *eventstore.Store {
	return w.store(eventstore.Config{Blocks: blocks, CacheBytes: -1})
}

// longVersions is how many events the long sessions of these cases have at least.
const longVersions = 800

// long appends commits of one to several events, among those of another session,
// with a payload that only its commit holds, and returns the aggregates after each.
func (w *world) long(s *eventstore.Store, k eventstore.Key) []eventstore.Aggregate {
	w.Helper()
	random := rand.New(rand.NewPCG(7, 11))
	create := plan(2)
	create.Chains[0].Steps[0].Input = big(6000)
	after := w.run(s, k, create, &domain.Start{})
	other := eventstore.Key{User: "bob", Session: k.Session}
	w.run(s, other, plan(1))
	for i := 0; after[len(after)-1].Session.Version < longVersions; i++ {
		var c domain.Command = note(strconv.Itoa(i))
		if random.IntN(4) == 0 {
			several := &domain.Batch{}
			for n := range 2 + random.IntN(9) {
				several.Commands = append(several.Commands, note(fmt.Sprint(i, "-", n)))
			}
			c = several
		}
		after = append(after, w.run(s, k, c)...)
		if random.IntN(8) == 0 {
			w.run(s, other, note(strconv.Itoa(i)))
		}
	}
	return after
}

// answers is everything that a store says of a session, as text.
func (w *world) answers(s *eventstore.Store, after []eventstore.Aggregate, seed uint64, cuts int) []string {
	w.Helper()
	random, k, last := rand.New(rand.NewPCG(seed, 1)), after[0].Key, after[len(after)-1]
	var all []string
	say := func(what string, v any, err error) { all = append(all, fmt.Sprint(what, text(w.T, v), err)) }
	for range cuts {
		agg := after[random.IntN(len(after))]
		cut := []eventstore.Cut{
			{Version: agg.Session.Version},
			{Version: agg.Session.Version + 1},
			{Seq: agg.Seq},
			{Seq: agg.Seq - 1},
			{Time: agg.Session.UpdatedAt},
			{Time: agg.Session.UpdatedAt.Add(-1)},
		}[random.IntN(6)]
		got, err := s.At(w.ctx, k, cut)
		say(fmt.Sprintf("at %+v ", cut), got, err)
	}
	for _, from := range []uint64{0, 257, last.Session.Version, 1 + random.Uint64N(last.Session.Version)} {
		var digest []string
		err := s.Commits(w.ctx, k, from, func(c eventstore.Committed) error {
			digest = append(digest, fmt.Sprint(c.Seq, c.Prev, c.Commit.Version, c.Hash[:8]))
			return nil
		})
		say(fmt.Sprint("history from ", from), digest, err)
	}
	loaded, err := s.Load(w.ctx, k)
	say("load", loaded, err)
	full, err := s.Hydrate(w.ctx, last)
	say("payloads", full, err)
	for _, known := range []domain.Applied{last.Session.Recent[0], last.Session.Recent[len(last.Session.Recent)/2]} {
		c, found, err := s.FindCommand(w.ctx, last, known.ID)
		say("command "+known.ID, fmt.Sprint(found, c.Seq, c.Hash), err)
	}
	return all
}

// sameAnswers compares what two stores say.
func (w *world) sameAnswers(what string, got, want []string) {
	w.Helper()
	for i := range want {
		if got[i] != want[i] {
			w.Fatalf("%s: the answer is\n%.600s\nand without blocks it is\n%.600s", what, got[i], want[i])
		}
	}
}

func blocksChangeNothing(w *world) {
	after := w.long(w.store(eventstore.Config{}), key(1))
	blocks := w.shelve(key(1))
	if n := len(blocks.kept); n != longVersions/eventstore.BlockSize {
		w.Fatalf("%d blocks are kept", n)
	}
	for seed := range uint64(4) {
		s := w.with(blocks)
		w.sameAnswers(fmt.Sprint("seed ", seed), w.answers(s, after, seed, 16), w.answers(w.cold(), after, seed, 16))
		if st := s.Stats(); st.BlocksUsed == 0 || st.BlocksRefused > 0 {
			w.Errorf("the blocks were not used: %+v", st)
		}
	}
}

// counting counts the messages that are read one by one.
type counting struct {
	eventstore.Driver
	gets atomic.Int64
}

// Get counts.
func (c *counting) Get(ctx context.Context, seq uint64) (eventstore.Message, error) {
	c.gets.Add(1)
	return c.Driver.Get(ctx, seq)
}

func blocksBoundReads(w *world) {
	after := w.long(w.store(eventstore.Config{}), key(1))
	blocks := w.shelve(key(1))
	most := int64(eventstore.BlockSize + 16)
	for _, i := range []int{5, len(after) / 2, len(after) - 1} {
		c := &counting{Driver: w.Driver}
		s := w.store(eventstore.Config{Driver: c, Blocks: blocks, CacheBytes: -1})
		_, err := s.At(w.ctx, key(1), eventstore.Cut{Version: after[i].Session.Version})
		w.must(err)
		if n := c.gets.Load(); n > most {
			w.Errorf("a cut after commit %d of %d reads %d messages", i, len(after), n)
		}
		c.gets.Store(0)
		w.want(s.Commits(w.ctx, key(1), after[i].Session.Version, func(eventstore.Committed) error { return errStop }), errStop)
		if n := c.gets.Load(); n > most {
			w.Errorf("the first page from commit %d of %d reads %d messages", i, len(after), n)
		}
	}
}

func blocksMadeAgain(w *world) {
	after := w.long(w.store(eventstore.Config{}), key(1))
	want := w.shelve(key(1)).kept
	sh := &shelf{kept: map[string][]byte{}}
	broken := errors.New("the bucket is full")
	for n := 0; ; n++ { // it breaks off after each block
		once := false
		err := w.with(sh).MakeBlocks(w.ctx, key(1), false, func(b eventstore.Block) error {
			if once {
				return broken
			}
			once = true
			return sh.put(b)
		})
		if err == nil {
			break
		}
		w.want(err, broken)
		w.sameAnswers(fmt.Sprint("after ", n+1, " blocks"), w.answers(w.with(sh), after, 5, 3), w.answers(w.cold(), after, 5, 3))
	}
	w.equal("the blocks", sh.kept, want)
	for name := range want {
		delete(sh.kept, name)
		var lacking []eventstore.Key
		s := w.store(eventstore.Config{Blocks: sh, CacheBytes: -1, Lacking: func(k eventstore.Key) { lacking = append(lacking, k) }})
		w.must(s.Commits(w.ctx, key(1), 0, func(eventstore.Committed) error { return nil }))
		w.equal("who lacks blocks", lacking, []eventstore.Key{key(1)})
		w.must(s.MakeBlocks(w.ctx, key(1), true, sh.put))
		w.equal("the blocks", sh.kept, want)
	}
	w.must(w.with(sh).MakeBlocks(w.ctx, key(1), true, func(eventstore.Block) error { return broken }))
}

func fetchesWhatGetGives(w *world) {
	f, ok := w.Driver.(eventstore.Fetcher)
	if !ok {
		w.Skip("the driver gets messages one by one")
	}
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 20)
	w.must(w.Foreign(w.ctx, key(1), []byte("not a commit")))
	gone := w.run(s, key(2), plan(1), &domain.Delete{})
	w.must(s.Compact(w.ctx, gone[1]))
	seqs := []uint64{after[3].Seq, after[19].Seq, after[19].Seq + 1, gone[0].Seq, gone[1].Seq, 1 << 40, after[0].Seq}
	have := map[uint64]eventstore.Message{}
	w.must(f.Fetch(w.ctx, seqs, func(m eventstore.Message) { have[m.Seq] = m }))
	for _, seq := range seqs {
		m, err := w.Driver.Get(w.ctx, seq)
		got, ok := have[seq]
		if ok != (err == nil) {
			w.Errorf("sequence %d: fetched %v; got one by one: %v", seq, ok, err)
		}
		w.equal(fmt.Sprint("message ", seq), got, m)
	}
	ended, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := f.Fetch(ended, seqs, func(eventstore.Message) {}); err == nil {
		w.Error("a fetch outlives its caller")
	}
}

func noBlocksForShort(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 200)
	sh := w.shelve(key(1))
	if len(sh.kept) > 0 {
		w.Errorf("%d blocks are kept", len(sh.kept))
	}
	sh.asked.Store(0)
	w.sameAnswers("a short session", w.answers(w.with(sh), after, 1, 3), w.answers(w.cold(), after, 1, 3))
	if n := sh.asked.Load(); n > 0 {
		w.Errorf("%d blocks were asked for", n)
	}
}

func blocksOfTheGone(w *world) {
	s := w.store(eventstore.Config{})
	w.long(s, key(1))
	sh := w.shelve(key(1))
	gone := w.run(s, key(1), &domain.Delete{Force: true})[0]
	for _, compact := range []bool{false, true} {
		if compact {
			w.must(s.Compact(w.ctx, gone))
		}
		got, err := w.with(sh).Load(w.ctx, key(1))
		w.must(err)
		w.equal("the session", got.Session.Gone, gone.Session.Gone)
		n := 0
		w.must(w.with(sh).Commits(w.ctx, key(1), 0, func(eventstore.Committed) error { n++; return nil }))
		if compact && n != 1 {
			w.Errorf("the history has %d commits", n)
		}
		w.must(w.with(sh).MakeBlocks(w.ctx, key(1), true, func(b eventstore.Block) error {
			return fmt.Errorf("block %d is made", b.Number)
		}))
	}
	agg, err := w.with(sh).At(w.ctx, key(1), eventstore.Cut{Version: 300})
	w.must(err)
	if agg.Session.Gone == nil {
		w.Error("a session that is gone can be seen as it was")
	}
}

func blocksBesideDamage(w *world) {
	s := w.store(eventstore.Config{})
	after := w.long(s, key(1))
	sh := w.shelve(key(1))
	w.must(w.Foreign(w.ctx, key(1), []byte("not a commit")))
	last, err := w.cold().Load(w.ctx, key(1))
	w.must(err)
	more := w.run(w.store(eventstore.Config{}), key(1), note("behind it"), note("and on"))
	w.equal("what came before", more[0].Session.Version, last.Session.Version+1)
	w.sameAnswers("a foreign message", w.answers(w.with(sh), append(after, more...), 9, 3), w.answers(w.cold(), append(after, more...), 9, 3))
	w.raw(key(1), more[1].Last, `{"v":1,"commit":"c`)
	count := func(s *eventstore.Store) (n int, err error) {
		err = s.Commits(w.ctx, key(1), 0, func(eventstore.Committed) error { n++; return nil })
		return n, err
	}
	n, err := count(w.with(sh))
	plain, plainErr := count(w.cold())
	if n != plain || fmt.Sprint(err) != fmt.Sprint(plainErr) || err == nil {
		w.Errorf("the history ends after %d commits with %v; without blocks after %d with %v", n, err, plain, plainErr)
	}
}
