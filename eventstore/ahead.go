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
	// maxAhead is how many messages are fetched before a walk asks for them.
	maxAhead = 64
	// aheadAfter is how many messages a walk fetches one by one before it looks
	// for a block that knows the next ones.
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

	hops    int
	top     uint64   // blocks before this one may be looked for
	tried   uint64   // the block looked for last, and one
	guesses []uint64 // descending, not yet fetched
	flights []flight
}

// flight is a message on its way.
type flight struct {
	seq  uint64
	done chan landed
}

type landed struct {
	m   Message
	err error
}

// readAhead begins a walk from head. The block is the one whose end head is,
// nil for none.
func (s *Store) readAhead(ctx context.Context, head Message, b *block) *ahead {
	a := &ahead{s: s}
	a.ctx, a.cancel = context.WithCancel(ctx)
	if s.blocks != nil {
		a.top = blockOf(versionOf(head))
	}
	if b != nil {
		a.tried = b.Number + 1
		a.guess(b, head)
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
	a.hops++
	a.look(m)
	a.launch()
	if len(a.flights) > 0 && a.flights[0].seq == m.Prev {
		next := a.flights[0]
		a.flights = a.flights[1:]
		if got := <-next.done; got.err == nil {
			return got.m, nil
		}
	} else {
		a.guesses, a.flights = nil, nil // guessed wrong; the answers go nowhere
	}
	return a.s.driver.Get(a.ctx, m.Prev)
}

// look finds guesses if there are none and the walk seems to be a long one.
func (a *ahead) look(m Message) {
	if a.top == 0 || len(a.guesses)+len(a.flights) > 0 || a.hops <= aheadAfter && a.tried == 0 {
		return
	}
	n := blockOf(versionOf(m) - 1)
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

// launch keeps maxAhead messages on their way.
func (a *ahead) launch() {
	for len(a.guesses) > 0 && len(a.flights) < maxAhead {
		f := flight{seq: a.guesses[0], done: make(chan landed, 1)}
		a.guesses = a.guesses[1:]
		a.flights = append(a.flights, f)
		a.wg.Go(func() {
			m, err := a.s.driver.Get(a.ctx, f.seq)
			f.done <- landed{m, err}
		})
	}
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
