package eventstore

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The bounds of reading ahead.
const (
	// maxWindow is how many messages are fetched at once, maxWindows how many
	// such fetches a walk has under way or not yet used up.
	maxWindow  = 64
	maxWindows = 2
	// aheadAfter is how many messages a walk gets one by one before it looks for a
	// block that knows the next ones.
	aheadAfter = 8
)

// ahead fetches the messages that a walk is going to ask for, as far as history
// blocks know them. What they say are guesses: the walk goes where the back
// pointers lead, and a message is what it is, whoever guessed its sequence. It
// is for one goroutine; close it.
type ahead struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // it is the walk's own
	cancel context.CancelFunc
	wg     sync.WaitGroup

	have    map[uint64]Message // what was fetched before the walk
	hops    int
	top     uint64   // blocks before this one may be looked for
	tried   uint64   // the block looked for last, and one
	guesses []uint64 // descending, not yet fetched
	windows []window
}

// window is a fetch of some messages, which may be under way.
type window struct {
	seqs []uint64 // that the walk has not come to
	done chan map[uint64]Message
	have map[uint64]Message // once it is done
}

// readAhead begins a walk from head.
func (s *Store) readAhead(ctx context.Context, head Message, h hints) *ahead {
	a := &ahead{s: s, have: h.have}
	a.ctx, a.cancel = context.WithCancel(ctx)
	if s.blocks != nil {
		a.top = BlockOf(versionOf(head))
	}
	if h.block != nil {
		a.tried = h.block.Number + 1
		a.guess(h.block, head)
	}
	return a
}

// close waits for what is on its way.
func (a *ahead) close() {
	a.cancel()
	a.wg.Wait()
}

// before fetches the message before m.
func (a *ahead) before(m Message) (Message, error) {
	if next, ok := a.have[m.Prev]; ok {
		return next, nil
	}
	a.hops++
	a.look(m)
	a.launch()
	if len(a.windows) == 0 || a.windows[0].seqs[0] != m.Prev {
		a.guesses, a.windows = nil, nil // guessed wrong; the answers go nowhere
		return a.s.driver.Get(a.ctx, m.Prev)
	}
	w := &a.windows[0]
	if w.have == nil {
		w.have = <-w.done
	}
	next, ok := w.have[m.Prev]
	if w.seqs = w.seqs[1:]; len(w.seqs) == 0 {
		a.windows = a.windows[1:]
	}
	if ok {
		return next, nil
	}
	return a.s.driver.Get(a.ctx, m.Prev)
}

// look finds guesses if there are none and the walk seems to be a long one.
func (a *ahead) look(m Message) {
	if a.top == 0 || len(a.guesses)+len(a.windows) > 0 || a.hops <= aheadAfter && a.tried == 0 {
		return
	}
	n := BlockOf(versionOf(m) - 1)
	if n >= a.top || n+1 == a.tried {
		return
	}
	a.tried = n + 1
	if b := a.s.block(a.ctx, m.Key, n); b != nil {
		a.guess(b, m)
	}
}

// guess takes the sequences of a block that come before a message.
func (a *ahead) guess(b *block, m Message) {
	end, _ := slices.BinarySearch(b.Seqs, m.Seq)
	a.guesses = slices.Clone(b.Seqs[:end])
	slices.Reverse(a.guesses)
}

// launch keeps maxWindows fetches ahead of the walk.
func (a *ahead) launch() {
	for len(a.guesses) > 0 && len(a.windows) < maxWindows {
		n := min(maxWindow, len(a.guesses))
		w := window{seqs: a.guesses[:n], done: make(chan map[uint64]Message, 1)}
		a.guesses = a.guesses[n:]
		a.windows = append(a.windows, w)
		a.wg.Go(func() { w.done <- a.s.fetch(a.ctx, w.seqs) })
	}
}

// fetch gets what it can of some messages.
func (s *Store) fetch(ctx context.Context, seqs []uint64) map[uint64]Message {
	have := make(map[uint64]Message, len(seqs))
	if f, ok := s.driver.(Fetcher); ok {
		// What is missing for an error is asked for once more by the walk.
		_ = f.Fetch(ctx, seqs, func(m Message) { have[m.Seq] = m })
		return have
	}
	for _, seq := range seqs {
		m, err := s.driver.Get(ctx, seq)
		if err != nil {
			return have
		}
		have[seq] = m
	}
	return have
}

// versionOf reads the version of a commit from the header, where it is for
// everybody who doesn't read bodies; 1 if it is not there.
func versionOf(m Message) uint64 {
	id := m.Header[headerCEID]
	v, err := strconv.ParseUint(id[strings.LastIndexByte(id, '.')+1:], 10, 64)
	if err != nil {
		return 1
	}
	return max(v, 1)
}
