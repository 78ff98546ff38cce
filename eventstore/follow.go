package eventstore

import (
	"context"
	"errors"
	"time"
)

// The bounds of a follower.
const (
	// A follower turns to the local feed when localRow of its store's own
	// commits were acknowledged within localWithin.
	localRow    = 32
	localWithin = 50 * time.Millisecond
	// localTick is how often a follower in the local feed that gets nothing
	// looks around. A gap is read from the stream when the appends have ended
	// that were under way when it was seen, or after localPatience ticks; after
	// localIdle ticks without own commits the stream itself is followed. So a
	// commit of another writer is noticed within 50 ms, within 10 ms as a rule
	// while this store writes.
	localTick     = 5 * time.Millisecond
	localPatience = 10
	localIdle     = 10
	// localCheck is how often the local feed asks whether the stream is still
	// the one that was opened.
	localCheck = time.Second
	// localGap is the longest gap that is read message by message; for a longer
	// one the stream is followed.
	localGap = 64
	// Each message of a gap costs localCost of a credit of localCredit; each own
	// commit gives 1 back. Without credit the stream is followed, for a time that
	// doubles from localBackOff to localMaxBackOff.
	localCredit     = 256
	localCost       = 32
	localBackOff    = time.Second
	localMaxBackOff = time.Minute
	// localBatch is how many own commits are taken at once.
	localBatch = 64
)

// The reasons of a follower to change its ways.
var (
	errToLocal  = errors.New("own commits come in a row")
	errToStream = errors.New("the stream has to be followed")
)

// Follow is Scan from a sequence on for ever: it returns only when ctx ends,
// with its error, with fn's, or with ErrIncarnation if the stream was made
// anew. fn is called from the caller's goroutine.
//
// Commits that this store appended itself come from memory while they come in a
// row, without being read back or decoded. Of several followers of one Store
// the first gets that; the others read the stream.
func (s *Store) Follow(ctx context.Context, from uint64, fn func(Committed, error) error) error {
	f := &follower{store: s, own: s.own, fn: fn, next: max(from, 1), run: make([]Committed, 0, localBatch)}
	if !s.own.attach(f.next) {
		return s.driver.Follow(ctx, f.next, func(m Message) error { return f.read(m, Committed{}, false) })
	}
	defer s.own.detach()
	for {
		if err := f.stream(ctx); !errors.Is(err, errToLocal) {
			return err
		}
		if err := f.local(ctx); !errors.Is(err, errToStream) {
			return err
		}
	}
}

// follower hands over the stream in order. next is all that it carries from one
// way of getting messages to the other. It is for one goroutine.
type follower struct {
	store *Store
	own   *ownCommits
	fn    func(Committed, error) error
	next  uint64
	run   []Committed

	// In the stream: own commits as they were at a time.
	added uint64
	since time.Time
	// In the local feed.
	checked time.Time
	credit  int
	gap     uint64 // next when a gap was seen and marked
	// The local feed is not tried again before a time.
	backOff time.Duration
	notYet  time.Time
}

// read hands over a message that was read from the stream, decoded if it is not
// an own commit.
func (f *follower) read(m Message, own Committed, matched bool) error {
	var err error
	if !matched {
		own, err = f.store.decode(m)
	}
	f.store.followed.read.Add(1)
	if err := f.fn(own, err); err != nil {
		return err
	}
	f.next = m.Seq + 1
	return nil
}

// stream follows the stream until own commits come in a row: errToLocal.
func (f *follower) stream(ctx context.Context) error {
	f.added, _ = f.own.ready()
	f.since = time.Now()
	return f.store.driver.Follow(ctx, f.next, func(m Message) error {
		c, matched := f.own.match(m)
		if err := f.read(m, c, matched); err != nil {
			return err
		}
		if f.inRow() {
			return errToLocal
		}
		return nil
	})
}

// inRow reports whether the local feed is worth trying.
func (f *follower) inRow() bool {
	added, now := f.own.ready()
	if added-f.added < localRow || !now {
		return false
	}
	at := time.Now()
	quick := at.Sub(f.since) <= localWithin
	f.added, f.since = added, at
	return quick && !at.Before(f.notYet)
}

// local hands over own commits as they are acknowledged, until they don't come
// in a row any more: errToStream. Other writers' commits are gaps in the row.
func (f *follower) local(ctx context.Context) error {
	f.credit, f.checked = localCredit, time.Time{}
	ticker := time.NewTicker(localTick)
	defer ticker.Stop()
	for quiet := 0; ; {
		n, err := f.handOver(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			quiet = 0
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.own.wake:
			continue
		case <-ticker.C:
		}
		quiet++
		if err := f.lookAround(ctx, quiet); err != nil {
			return err
		}
	}
}

// handOver hands over the own commits that there are and returns how many.
func (f *follower) handOver(ctx context.Context) (int, error) {
	if now := time.Now(); now.Sub(f.checked) >= localCheck {
		f.checked = now
		if _, err := f.info(ctx); err != nil {
			return 0, err
		}
	}
	run, late := f.own.take(f.run)
	if late { // a slow acknowledgement, or a stream that begins at 1 again
		_, err := f.info(ctx)
		return 1, err
	}
	f.credit = min(f.credit+len(run), localCredit)
	f.store.followed.own.Add(uint64(len(run)))
	for i, c := range run {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := f.fn(c, nil); err != nil {
			return 0, err
		}
		run[i], f.next = Committed{}, c.Seq+1
	}
	return len(run), nil
}

// info asks the store for itself; anything but a new incarnation or the end of
// ctx is for the stream's follower to deal with.
func (f *follower) info(ctx context.Context) (Info, error) {
	info, err := f.store.driver.Info(ctx)
	switch {
	case err == nil, errors.Is(err, ErrIncarnation):
		return info, err
	case ctx.Err() != nil:
		return info, ctx.Err()
	}
	return info, errToStream
}

// lookAround decides what to do when next has not come for some ticks.
func (f *follower) lookAround(ctx context.Context, quiet int) error {
	row := f.own.ahead()
	if !row.known {
		return f.idle(quiet)
	}
	if f.gap != f.next && f.own.mark() {
		f.gap = f.next
		return nil
	}
	switch known := f.gap == f.next && row.settled; {
	case row.kept == f.next || !known && quiet < localPatience:
		return nil
	case row.lost: // the follower was too slow for what is kept
		return errToStream
	case row.kept == 0 || row.kept-f.next > localGap:
		return f.leave()
	}
	return f.fill(ctx, row.kept)
}

// idle decides what to do when nothing has come at all.
func (f *follower) idle(quiet int) error {
	if quiet < localIdle {
		return nil
	}
	if f.credit == localCredit {
		f.backOff = 0
	}
	return errToStream
}

// leave keeps the follower out of the local feed for a time, since others write
// too.
func (f *follower) leave() error {
	f.backOff = min(max(2*f.backOff, localBackOff), localMaxBackOff)
	f.notYet = time.Now().Add(f.backOff)
	return errToStream
}

// fill reads the messages before a commit that is stored. One that isn't there
// was compacted.
func (f *follower) fill(ctx context.Context, before uint64) error {
	info, err := f.info(ctx)
	if err == nil && info.Last < before { // a new leader has not caught up
		err = errToStream
	}
	if err != nil {
		return err
	}
	for f.next < before {
		if err := f.fillOne(ctx); err != nil {
			return err
		}
		f.credit -= localCost
	}
	if f.credit < 0 {
		return f.leave()
	}
	return nil
}

func (f *follower) fillOne(ctx context.Context) error {
	m, err := f.store.driver.Get(ctx, f.next)
	switch {
	case err == nil:
		c, matched := f.own.match(m)
		return f.read(m, c, matched)
	case errors.Is(err, ErrNotFound):
		f.next++
		f.own.skip(f.next)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return errToStream
}
