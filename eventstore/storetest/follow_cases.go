package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

var followCases = []testCase{
	{"a follower sees every commit once and in order, while one store writes", followOneWriter},
	{"a follower sees every commit once and in order, with two writers", followTwoWriters},
	{"a follower sees every commit once and in order, with strangers, pairs, lost acknowledgements and compaction", followEverything},
}

// witness is a follower that notes the hash of what it sees by sequence, empty
// for damage.
type witness struct {
	seen map[uint64]string
	done chan error
	at   atomic.Uint64
}

// witness starts a follower of a store that ends at the last commit.
func (w *world) witness(s *eventstore.Store) *witness {
	f := &witness{seen: map[uint64]string{}, done: make(chan error, 1)}
	go func() {
		f.done <- s.Follow(w.ctx, 1, func(c eventstore.Committed, err error) error {
			if c.Seq <= f.at.Load() {
				return fmt.Errorf("sequence %d comes after %d", c.Seq, f.at.Load())
			}
			f.at.Store(c.Seq)
			f.seen[c.Seq] = c.Hash
			switch {
			case err != nil && !errors.Is(err, eventstore.ErrCorrupt):
				return err
			case err == nil && c.Commit.ID == lastCommit:
				return errStop
			}
			return nil
		})
	}()
	return f
}

// check waits for the end of a witness and compares what it saw with what is
// stored now: everything is there, and what is there besides was compacted.
func (w *world) check(f *witness, compacted uint64) {
	w.Helper()
	if err := <-f.done; err != errStop { //nolint:errorlint // it must be returned as it is
		w.Fatalf("the follower returned %v", err)
	}
	stored := 0
	w.must(w.cold().Scan(w.ctx, eventstore.Filter{}, func(c eventstore.Committed, _ error) error {
		stored++
		if hash, ok := f.seen[c.Seq]; !ok || hash != c.Hash {
			w.Errorf("sequence %d was seen with the hash %q (%v) and is stored with %q", c.Seq, hash, ok, c.Hash)
		}
		return nil
	}))
	if more := uint64(len(f.seen) - stored); more > compacted {
		w.Errorf("the follower saw %d messages, and %d are stored, of which %d were compacted", len(f.seen), stored, compacted)
	}
}

// writers appends notes through a store, each writer to a session of its own.
func (w *world) writers(s *eventstore.Store, from, to, each int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := from; n < to; n++ {
		wg.Go(func() {
			agg, err := s.Load(w.ctx, key(n))
			for i := 0; err == nil && i < each; i++ {
				agg, err = w.one(s, agg, i)
			}
			if err != nil {
				w.Error(err)
			}
		})
	}
}

// one appends the next commit of a writer.
func (w *world) one(s *eventstore.Store, agg eventstore.Aggregate, i int) (eventstore.Aggregate, error) {
	var c domain.Command = plan(1)
	if agg.Session.Version > 0 {
		c = note(strconv.Itoa(i))
	}
	p, err := proposal(agg, commandID(agg), c)
	if err != nil {
		return agg, err
	}
	return s.Append(w.ctx, p)
}

// finish appends the commit at which the witnesses end.
func (w *world) finish(s *eventstore.Store) {
	w.Helper()
	agg, err := s.Load(w.ctx, key(9999))
	w.must(err)
	_, err = s.Append(w.ctx, w.propose(agg, lastCommit, plan(1)))
	w.must(err)
}

// lastCommit is the id of the commit at which a witness ends.
const lastCommit = "last"

func followOneWriter(w *world) {
	s := w.store(eventstore.Config{})
	f := w.witness(s)
	w.writers(s, 0, 8, 100)
	w.untilFed(s, 8)
	w.finish(s)
	w.check(f, 0)
}

// fedPatience is how long a store writes until its follower is fed: on a busy
// machine that may fall behind again and again, and then reads the stream.
const fedPatience = time.Minute

// untilFed goes on writing, each time to new sessions, until the follower of a
// store that writes alone was handed commits without reading them.
func (w *world) untilFed(s *eventstore.Store, from int) {
	w.Helper()
	for deadline := time.Now().Add(fedPatience); s.Stats().FollowedOwn == 0; from += 8 {
		if time.Now().After(deadline) {
			w.Fatalf("the follower has read everything from the stream: %+v", s.Stats())
		}
		w.writers(s, from, from+8, 100)
	}
}

func followTwoWriters(w *world) {
	a, b := w.store(eventstore.Config{}), w.store(eventstore.Config{})
	fa, fb, idle := w.witness(a), w.witness(b), w.witness(w.store(eventstore.Config{}))
	w.writers(a, 0, 4, 50)
	w.writers(b, 4, 8, 50)
	var wg sync.WaitGroup
	wg.Go(func() { w.writers(a, 8, 12, 50) })
	wg.Go(func() { w.writers(b, 12, 16, 50) })
	wg.Wait()
	w.finish(a)
	for _, f := range []*witness{fa, fb, idle} {
		w.check(f, 0)
	}
}

func followEverything(w *world) {
	var appends atomic.Uint64
	forgetful := lossy{w.Driver, func() bool { return appends.Add(1)%17 == 0 }}
	a, b := w.store(eventstore.Config{Driver: forgetful}), w.store(eventstore.Config{})
	fa, fb := w.witness(a), w.witness(b)
	w.writers(a, 10, 14, 40)
	var wg sync.WaitGroup
	wg.Go(func() { w.writers(a, 14, 20, 40) })
	wg.Go(func() { w.writers(b, 20, 22, 20) })
	wg.Go(func() { w.strangers(10) })
	wg.Go(func() { w.appendPairs(a, 5) })
	compacted := w.compactSome(a)
	wg.Wait()
	w.writers(a, 22, 26, 40)
	w.finish(a)
	for _, f := range []*witness{fa, fb} {
		w.check(f, compacted)
	}
}

// strangers writes messages without guards.
func (w *world) strangers(n int) {
	for i := range n {
		if err := w.Foreign(w.ctx, key(100+i), []byte("foreign")); err != nil {
			w.Error(err)
		}
	}
}

// appendPairs appends to two sessions at once.
func (w *world) appendPairs(s *eventstore.Store, n int) {
	for i := range n {
		from, to := eventstore.Key{User: "ada", Session: fmt.Sprint("from", i)}, eventstore.Key{User: "ada", Session: fmt.Sprint("to", i)}
		if err := w.appendPair(s, from, to); err != nil {
			w.Error(err)
		}
	}
}

func (w *world) appendPair(s *eventstore.Store, from, to eventstore.Key) error {
	var pair [2]eventstore.Proposal
	for i, k := range []eventstore.Key{from, to} {
		agg, err := s.Load(w.ctx, k)
		if err == nil {
			agg, err = w.one(s, agg, 0)
		}
		if err == nil {
			pair[i], err = proposal(agg, commandID(agg), note("both"))
		}
		if err != nil {
			return err
		}
	}
	_, _, err := s.AppendPair(w.ctx, pair[0], pair[1])
	return err
}

// compactSome removes the beginning of histories while they are followed, and
// returns how many messages that may be.
func (w *world) compactSome(s *eventstore.Store) uint64 {
	var removed uint64
	for n := 10; n < 14; n++ {
		agg, err := s.Load(w.ctx, key(n))
		w.must(err)
		w.must(w.Driver.Compact(w.ctx, key(n), agg.Last))
		removed += agg.Session.Commits - 1
	}
	return removed
}
