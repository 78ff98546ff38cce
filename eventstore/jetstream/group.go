package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"reprise/eventstore"
)

// The bounds of a group (ADR 0014).
const (
	// maxGroupRecords is how many commits are written together: as many as the
	// server takes in one batch.
	maxGroupRecords = maxBatchRecords
	// maxGroupBytes bounds the bodies of a group. A commit that is larger than
	// maxMemberBytes is written by itself, as it may not fit with the headers of
	// a batch.
	maxGroupBytes  = 8 << 20
	maxMemberBytes = 256 << 10
	// minGroup is the least that is written as a batch, which costs six syncs
	// whatever it holds; less goes as single publishes, of one sync each. Where the
	// server stages batches in memory one costs a single sync (ADR 0020), and
	// minCheapGroup is the least.
	minGroup      = 7
	minCheapGroup = 2
	// guardReads is how many guards of a failed group are read side by side.
	guardReads = 16
)

// groupLog is where a committer writes. Errors are those of
// eventstore.Driver's Append; but for ErrUnknownOutcome nothing was stored.
type groupLog interface {
	// together stores records of different sessions in one atomic step and
	// returns the sequence of the last; the others come right before it.
	together(ctx context.Context, records []*eventstore.Record) (uint64, error)
	// singly stores each record by itself, and calls done for each.
	singly(ctx context.Context, records []*eventstore.Record, done func(i int, seq uint64, err error))
	// moved reports whether the guard of a record can't hold any more.
	moved(ctx context.Context, record *eventstore.Record) bool
}

// A committer gathers the appends of many callers and writes them in groups,
// so that they share the syncs to disk: while one group is being written the
// next one gathers. All methods are safe for concurrent use.
type committer struct {
	log groupLog
	// timeout is how long a group waits for the server.
	timeout time.Duration
	// least is the smallest group that is written as a batch.
	least int

	mu      sync.Mutex
	waiting []*member
	writing bool // a goroutine runs write
}

// member is one append of a group.
type member struct {
	record *eventstore.Record
	answer chan outcome // of one place
}

type outcome struct {
	seq uint64
	err error
}

// append stores one record with the next group and returns its sequence. When
// ctx ends before the record was sent nothing is stored and the error is
// ErrUnavailable; after that it is ErrUnknownOutcome. An answer takes up to
// twice the timeout: the rest of the group before, and its own.
func (c *committer) append(ctx context.Context, record *eventstore.Record) (uint64, error) {
	m := &member{record: record, answer: make(chan outcome, 1)}
	c.join(m) //nolint:contextcheck // a group is written for all of its members
	select {
	case a := <-m.answer:
		return a.seq, a.err
	case <-ctx.Done():
	}
	if c.leave(m) {
		return 0, fmt.Errorf("%w: it waited for the group before: %w", eventstore.ErrUnavailable, ctx.Err())
	}
	return 0, fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, ctx.Err())
}

// join puts m into the next group, and starts writing if nobody is at it.
func (c *committer) join(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, m)
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

// leave takes m back; false if it is being written already.
func (c *committer) leave(m *member) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.waiting {
		if other == m {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// write writes group after group until nobody waits.
func (c *committer) write() {
	for group := c.next(); len(group) > 0; group = c.next() {
		ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
		c.store(ctx, group)
		cancel()
	}
}

// next takes the next group: those who wait, in order, up to the bounds and one
// of a session, since only the first message of a subject in a batch may carry
// its guard. With none it notes that nobody writes any more.
func (c *committer) next() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	var group, later []*member
	size, seen := 0, make(map[eventstore.Key]struct{}, min(len(c.waiting), maxGroupRecords))
	for i, m := range c.waiting {
		if !fits(len(group), size, len(m.record.Body)) {
			later = append(later, c.waiting[i:]...)
			break
		}
		if _, twice := seen[m.record.Key]; twice {
			later = append(later, m)
			continue
		}
		seen[m.record.Key] = struct{}{}
		group, size = append(group, m), size+len(m.record.Body)
	}
	c.waiting, c.writing = later, len(group) > 0
	return group
}

// fits reports whether a commit of some bytes joins a group that has a number
// of them, and their size. The first always does.
func fits(have, size, bytes int) bool {
	if have == 0 {
		return true
	}
	alone := have == 1 && size > maxMemberBytes
	return have < maxGroupRecords && size+bytes <= maxGroupBytes && bytes <= maxMemberBytes && !alone
}

// store writes a group and answers each of its members.
func (c *committer) store(ctx context.Context, group []*member) {
	if len(group) < c.least {
		c.singly(ctx, group)
		return
	}
	switch err := c.together(ctx, group); {
	case err == nil:
	case errors.Is(err, eventstore.ErrConflict):
		c.storeAgain(ctx, c.withoutMoved(ctx, group))
	default:
		c.singly(ctx, group)
	}
}

// storeAgain writes what is left of a group whose guards failed: once more
// together, and then singly, so that at last each has an answer of its own.
func (c *committer) storeAgain(ctx context.Context, rest []*member) {
	if len(rest) < c.least || c.together(ctx, rest) != nil {
		c.singly(ctx, rest)
	}
}

// together writes a group as one batch. Its members have their answers then,
// unless the error says that nothing was stored.
func (c *committer) together(ctx context.Context, group []*member) error {
	seq, err := c.log.together(ctx, records(group))
	if err != nil && !errors.Is(err, eventstore.ErrUnknownOutcome) {
		return err
	}
	for i, m := range group {
		if err == nil {
			m.answer <- outcome{seq: seq - uint64(len(group)-1-i)}
		} else {
			m.answer <- outcome{err: err}
		}
	}
	return nil
}

// singly writes each member by itself, unless the group has used up its time.
func (c *committer) singly(ctx context.Context, group []*member) {
	if ctx.Err() != nil {
		for _, m := range group {
			m.answer <- outcome{err: fmt.Errorf("session %s: %w: there was no time left to send it by itself", m.record.Key, eventstore.ErrUnavailable)}
		}
		return
	}
	c.log.singly(ctx, records(group), func(i int, seq uint64, err error) {
		group[i].answer <- outcome{seq: seq, err: err}
	})
}

// withoutMoved answers those with a conflict whose session has changed, and
// returns the others. A failed batch doesn't say whose guard it was.
func (c *committer) withoutMoved(ctx context.Context, group []*member) []*member {
	moved := make([]bool, len(group))
	var readers sync.WaitGroup
	for first := range min(guardReads, len(group)) {
		readers.Go(func() {
			for i := first; i < len(group); i += guardReads {
				moved[i] = c.log.moved(ctx, group[i].record)
			}
		})
	}
	readers.Wait()
	var rest []*member
	for i, m := range group {
		if moved[i] {
			m.answer <- outcome{err: fmt.Errorf("session %s: %w", m.record.Key, eventstore.ErrConflict)}
		} else {
			rest = append(rest, m)
		}
	}
	return rest
}

func records(group []*member) []*eventstore.Record {
	list := make([]*eventstore.Record, len(group))
	for i, m := range group {
		list[i] = m.record
	}
	return list
}

// driverLog is a driver's stream as a committer's log.
type driverLog struct{ *Driver }

// together stores records by one atomic batch.
func (l driverLog) together(ctx context.Context, records []*eventstore.Record) (uint64, error) {
	return l.storeBatch(ctx, nuid.Next(), records)
}

// singly publishes all records before it waits for the first answer.
func (l driverLog) singly(ctx context.Context, records []*eventstore.Record, done func(i int, seq uint64, err error)) {
	tickets, errs := make([]ticket, len(records)), make([]error, len(records))
	for i, r := range records {
		tickets[i], errs[i] = l.publisher.send(l.message(r))
	}
	for i, r := range records {
		seq, err := uint64(0), errs[i]
		if err == nil {
			seq, err = tickets[i].wait(ctx)
		}
		if err != nil {
			err = fmt.Errorf("session %s: %w", r.Key, err)
		}
		done(i, seq, err)
	}
}

// moved reads the last sequence of the record's session. What can't be read
// counts as not moved; the guard will tell.
func (l driverLog) moved(ctx context.Context, r *eventstore.Record) bool {
	guard, _ := r.Guard.Seq()
	last, err := l.Last(ctx, r.Key)
	if errors.Is(err, eventstore.ErrNotFound) {
		return guard != 0
	}
	return err == nil && last.Seq != guard
}
