package eventstore

import (
	"bytes"
	"sync"
)

// The bounds of ownCommits.
const (
	// ownWindow is how many sequences ahead of the follower are kept.
	ownWindow = 16384
	// ownBytes is how much the bodies of kept commits may take together, in
	// bytes; one more may go over it.
	ownBytes = 64 << 20
)

// ownCommits holds the commits that this store appended and its follower has
// not been handed yet: a window of sequences that begins with the one the
// follower needs next. What does not fit is not kept, and read from the stream
// by the follower. Nothing is kept while nobody follows. All methods are safe
// for concurrent use.
type ownCommits struct {
	wake chan struct{} // told when a waiting follower can go on

	mu       sync.Mutex
	followed bool
	next     uint64
	high     uint64 // the highest sequence that was acknowledged
	added    uint64 // how many were
	dropped  uint64 // the highest sequence that was not kept
	late     bool   // one was acknowledged that the follower has passed
	waiting  bool   // the follower waits for next
	bytes    int
	window   []ownCommit // index is sequence modulo ownWindow
	// The appends under way, those that began before the last call of mark and
	// those that began after it taking turns in two places.
	underway [2]int
	current  int // where those that begin now are counted
}

// ownCommit is empty if its sequence is 0.
type ownCommit struct {
	Committed
	body []byte
}

func newOwnCommits() *ownCommits { return &ownCommits{wake: make(chan struct{}, 1)} }

// attach begins the window of a follower that needs next; false if somebody
// else follows already.
func (o *ownCommits) attach(next uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.followed {
		return false
	}
	o.followed, o.next, o.high, o.added, o.dropped = true, next, 0, 0, 0
	o.late, o.waiting, o.bytes = false, false, 0
	o.window = make([]ownCommit, ownWindow)
	return true
}

// detach forgets everything.
func (o *ownCommits) detach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.followed, o.window = false, nil
}

// begin counts an append that is under way; what it returns goes to end.
func (o *ownCommits) begin() (place int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.underway[o.current]++
	return o.current
}

// end follows after what was stored has been added.
func (o *ownCommits) end(place int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.underway[place]--
}

// mark begins to wait for the appends that are under way now; false if it still
// waits for those of an earlier call.
func (o *ownCommits) mark() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.underway[1-o.current] > 0 {
		return false
	}
	o.current = 1 - o.current
	return true
}

// add takes a commit that was stored, with its body.
func (o *ownCommits) add(c Committed, body []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.followed {
		return
	}
	o.added++
	o.high = max(o.high, c.Seq)
	switch {
	case c.Seq < o.next:
		o.late = true
		return
	case c.Seq-o.next >= ownWindow || o.bytes > ownBytes && c.Seq != o.next:
		o.dropped = max(o.dropped, c.Seq)
		return
	}
	o.forget(c.Seq)
	o.window[c.Seq%ownWindow] = ownCommit{Committed: c, body: body}
	o.bytes += len(body)
	if o.waiting && c.Seq == o.next {
		o.waiting = false
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

// forget empties the place of a sequence. It needs the lock.
func (o *ownCommits) forget(seq uint64) {
	place := &o.window[seq%ownWindow]
	o.bytes -= len(place.body)
	*place = ownCommit{}
}

// take moves commits from next on to the end of run, without a gap and up to
// its capacity. If there are none, wake will be told once there is one. late
// says that instead one was acknowledged since the last call whose sequence the
// follower has passed.
func (o *ownCommits) take(run []Committed) (taken []Committed, late bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.late {
		o.late = false
		return run, true
	}
	for len(run) < cap(run) {
		c := o.window[o.next%ownWindow].Committed
		if c.Seq != o.next {
			break
		}
		run = append(run, c)
		o.forget(c.Seq)
		o.next++
	}
	o.waiting = len(run) == 0
	return run, false
}

// match returns the commit of a message that was read from the stream, if it
// was appended here and is kept, and moves the window on behind it.
func (o *ownCommits) match(m Message) (Committed, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.window[m.Seq%ownWindow]
	o.pass(m.Seq + 1)
	ok := c.Seq == m.Seq && c.Key == m.Key && m.Guarded && c.Prev == m.Prev && bytes.Equal(c.body, m.Body)
	return c.Committed, ok
}

// skip moves the window on to next.
func (o *ownCommits) skip(next uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pass(next)
}

// pass is skip; it needs the lock.
func (o *ownCommits) pass(next uint64) {
	for seq := o.next; seq < min(next, o.next+ownWindow); seq++ {
		o.forget(seq)
	}
	o.next = max(o.next, next)
}

// row is what ownCommits knows of the sequences from next on.
type row struct {
	// kept is the first that is kept, 0 if none is.
	kept uint64
	// known: own commits are among them. lost: some were not kept. settled: no
	// append is under way that was so at the last mark.
	known, lost, settled bool
}

// ahead looks at what is ahead of the follower.
func (o *ownCommits) ahead() row {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := row{known: o.high >= o.next, lost: o.dropped >= o.next, settled: o.underway[1-o.current] == 0}
	for seq := o.next; r.kept == 0 && seq < min(o.high+1, o.next+ownWindow); seq++ {
		if o.window[seq%ownWindow].Seq == seq {
			r.kept = seq
		}
	}
	return r
}

// ready returns how many commits were added, and whether the follower could go
// on with them: next is one of them, or none is ahead of it.
func (o *ownCommits) ready() (added uint64, now bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.added, o.high < o.next || o.window[o.next%ownWindow].Seq == o.next
}
