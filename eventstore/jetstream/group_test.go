package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"reprise/eventstore"
)

// fakeLog stores records in memory and notes how they came. A step of its gate,
// if it has one, lets one write through.
type fakeLog struct {
	gate chan struct{}
	// lost makes the next batch get no answer, refuse makes it fail with an error.
	lost   bool
	refuse error

	mu     sync.Mutex
	seq    uint64
	last   map[eventstore.Key]uint64
	writes []string // "batch 7" or "single 1"
}

func (l *fakeLog) enter(kind string, n int) {
	if l.gate != nil {
		<-l.gate
	}
	l.mu.Lock()
	l.writes = append(l.writes, fmt.Sprint(kind, " ", n))
}

func (l *fakeLog) together(_ context.Context, records []*eventstore.Record) (uint64, error) {
	l.enter("batch", len(records))
	defer l.mu.Unlock()
	if err := l.refuse; err != nil {
		l.refuse = nil
		return 0, err
	}
	for _, r := range records {
		if guard, _ := r.Guard.Seq(); l.last[r.Key] != guard {
			return 0, eventstore.ErrConflict
		}
	}
	for _, r := range records {
		l.put(r)
	}
	if l.lost {
		return 0, eventstore.ErrUnknownOutcome
	}
	return l.seq, nil
}

func (l *fakeLog) singly(_ context.Context, records []*eventstore.Record, done func(int, uint64, error)) {
	l.enter("single", len(records))
	defer l.mu.Unlock()
	for i, r := range records {
		if guard, _ := r.Guard.Seq(); l.last[r.Key] != guard {
			done(i, 0, eventstore.ErrConflict)
			continue
		}
		done(i, l.put(r), nil)
	}
}

func (l *fakeLog) put(r *eventstore.Record) uint64 {
	l.seq++
	l.last[r.Key] = l.seq
	return l.seq
}

func (l *fakeLog) moved(_ context.Context, r *eventstore.Record) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	guard, _ := r.Guard.Seq()
	return l.last[r.Key] != guard
}

func (l *fakeLog) written() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.writes)
}

func newFake() (*committer, *fakeLog) {
	l := &fakeLog{last: map[eventstore.Key]uint64{}}
	return &committer{log: l, timeout: time.Minute, least: minGroup}, l
}

func sessionKey(n int) eventstore.Key {
	return eventstore.Key{User: "ada", Session: fmt.Sprint("s", n)}
}

func oneRecord(n int, last uint64) *eventstore.Record {
	return &eventstore.Record{Key: sessionKey(n), Guard: eventstore.ExpectLast(last), Body: []byte("x")}
}

// together hands records to a committer as if they had come during a write.
func together(t *testing.T, c *committer, records []*eventstore.Record) []outcome {
	t.Helper()
	settled(t, c)
	members := make([]*member, len(records))
	c.mu.Lock()
	for i, r := range records {
		members[i] = &member{record: r, answer: make(chan outcome, 1)}
	}
	c.waiting, c.writing = append(c.waiting, members...), true
	c.mu.Unlock()
	c.write()
	out := make([]outcome, len(members))
	for i, m := range members {
		out[i] = <-m.answer
	}
	return out
}

// settled waits until nobody writes.
func settled(t *testing.T, c *committer) {
	t.Helper()
	joined(t, c, func() bool { return !c.writing })
}

func sequence(n int, record func(i int) *eventstore.Record) []*eventstore.Record {
	list := make([]*eventstore.Record, n)
	for i := range list {
		list[i] = record(i)
	}
	return list
}

func fresh(i int) *eventstore.Record { return oneRecord(i, 0) }

// TestHowGroupsAreWritten says how what waits at the same time is written.
func TestHowGroupsAreWritten(t *testing.T) {
	large := func(i int) *eventstore.Record {
		r := fresh(i)
		r.Body = make([]byte, maxMemberBytes+1)
		return r
	}
	for name, test := range map[string]struct {
		records []*eventstore.Record
		want    []string
	}{
		"one":                               {sequence(1, fresh), []string{"single 1"}},
		"fewer than a batch pays for":       {sequence(minGroup-1, fresh), []string{"single 6"}},
		"as many as a batch pays for":       {sequence(minGroup, fresh), []string{"batch 7"}},
		"as many as the server takes":       {sequence(maxGroupRecords, fresh), []string{"batch 1000"}},
		"more than the server takes":        {sequence(maxGroupRecords+8, fresh), []string{"batch 1000", "batch 8"}},
		"a large one first":                 {append([]*eventstore.Record{large(-2)}, sequence(8, fresh)...), []string{"single 1", "batch 8"}},
		"a large one between others":        {append(append(sequence(8, fresh), large(50)), sequence(3, func(i int) *eventstore.Record { return fresh(i + 20) })...), []string{"batch 8", "single 1", "single 3"}},
		"more bytes than a group may have":  {sequence(40, func(i int) *eventstore.Record { r := fresh(i); r.Body = make([]byte, maxMemberBytes); return r }), []string{"batch 32", "batch 8"}},
		"a second commit of the same place": {append(sequence(8, fresh), oneRecord(3, 4)), []string{"batch 8", "single 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, l := newFake()
			for i, a := range together(t, c, test.records) {
				if a.err != nil {
					t.Errorf("record %d: %v", i, a.err)
				}
			}
			if got := l.written(); !slices.Equal(got, test.want) {
				t.Errorf("it was written as %q, want %q", got, test.want)
			}
			if c.writing || len(c.waiting) != 0 {
				t.Error("the committer has not come to rest")
			}
		})
	}
}

func TestSequencesOfAGroup(t *testing.T) {
	c, l := newFake()
	l.seq = 100
	for i, a := range together(t, c, sequence(20, fresh)) {
		if a.err != nil || a.seq != uint64(i+101) || l.last[sessionKey(i)] != a.seq {
			t.Errorf("record %d has %+v, and is stored at %d", i, a, l.last[sessionKey(i)])
		}
	}
}

func TestAMoverFailsAlone(t *testing.T) {
	c, l := newFake()
	l.last[sessionKey(5)] = 900
	for i, a := range together(t, c, sequence(20, fresh)) {
		if conflict := errors.Is(a.err, eventstore.ErrConflict); conflict != (i == 5) || (a.err != nil) != conflict {
			t.Errorf("record %d: %v", i, a.err)
		}
	}
	if got, want := l.written(), []string{"batch 20", "batch 19"}; !slices.Equal(got, want) {
		t.Errorf("it was written as %q, want %q", got, want)
	}
}

// TestAMoverThatReadsDoNotShow has a log whose reads are behind.
func TestAMoverThatReadsDoNotShow(t *testing.T) {
	l := &fakeLog{last: map[eventstore.Key]uint64{sessionKey(5): 900}}
	c := &committer{log: blindLog{l}, timeout: time.Minute, least: minGroup}
	for i, a := range together(t, c, sequence(20, fresh)) {
		if conflict := errors.Is(a.err, eventstore.ErrConflict); conflict != (i == 5) || (a.err != nil) != conflict {
			t.Errorf("record %d: %v", i, a.err)
		}
	}
	if got, want := l.written(), []string{"batch 20", "batch 20", "single 20"}; !slices.Equal(got, want) {
		t.Errorf("it was written as %q, want %q", got, want)
	}
}

type blindLog struct{ *fakeLog }

func (blindLog) moved(context.Context, *eventstore.Record) bool { return false }

func TestAGroupThatTheServerRefusesGoesSingly(t *testing.T) {
	for _, refusal := range []error{eventstore.ErrTooLarge, eventstore.ErrUnavailable} {
		c, l := newFake()
		l.refuse = refusal
		for i, a := range together(t, c, sequence(20, fresh)) {
			if a.err != nil || a.seq != uint64(i+1) {
				t.Errorf("record %d: %+v", i, a)
			}
		}
		if got, want := l.written(), []string{"batch 20", "single 20"}; !slices.Equal(got, want) {
			t.Errorf("it was written as %q, want %q", got, want)
		}
	}
}

// TestAGroupThatFailsLate is refused when its time is over: nothing was stored,
// and nothing is sent any more.
func TestAGroupThatFailsLate(t *testing.T) {
	c, l := newFake()
	l.refuse = eventstore.ErrUnavailable
	late, cancel := context.WithCancel(t.Context())
	cancel()
	group := make([]*member, 20)
	for i := range group {
		group[i] = &member{record: fresh(i), answer: make(chan outcome, 1)}
	}
	c.store(late, group)
	for i, m := range group {
		if a := <-m.answer; !errors.Is(a.err, eventstore.ErrUnavailable) || errors.Is(a.err, eventstore.ErrUnknownOutcome) {
			t.Errorf("record %d: %+v", i, a)
		}
	}
	if got, want := l.written(), []string{"batch 20"}; !slices.Equal(got, want) {
		t.Errorf("it was written as %q, want %q", got, want)
	}
}

func TestALostAnswerIsUnknownToTheWholeGroup(t *testing.T) {
	c, l := newFake()
	l.lost = true
	for i, a := range together(t, c, sequence(20, fresh)) {
		if !errors.Is(a.err, eventstore.ErrUnknownOutcome) {
			t.Errorf("record %d: %+v", i, a)
		}
	}
	if got := l.written(); len(got) != 1 {
		t.Errorf("it was sent again: %q", got)
	}
}

// TestWhoGivesUp ends the context of an append that waits for its group, and of
// one that is being written.
func TestWhoGivesUp(t *testing.T) {
	c, l := newFake()
	l.gate = make(chan struct{})
	give := func(n int) (stop func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := c.append(ctx, oneRecord(n, 0))
			done <- err
		}()
		return func() error { cancel(); return <-done }
	}
	sent := give(1)
	joined(t, c, func() bool { return c.writing && len(c.waiting) == 0 })
	unsent := give(2)
	joined(t, c, func() bool { return len(c.waiting) == 1 })
	if err := unsent(); !errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome) {
		t.Errorf("what was not sent: %v", err)
	}
	if err := sent(); !errors.Is(err, eventstore.ErrUnknownOutcome) {
		t.Errorf("what was sent: %v", err)
	}
	close(l.gate)
	settled(t, c)
	if l.last[sessionKey(1)] != 1 || l.last[sessionKey(2)] != 0 {
		t.Errorf("stored are %v", l.last)
	}
}

// joined waits until something holds of a committer.
func joined(t *testing.T, c *committer, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		c.mu.Lock()
		ok := holds()
		c.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it never came to that")
		}
		time.Sleep(time.Millisecond)
	}
}
