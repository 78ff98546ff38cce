package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// longHistory is a stream of many commits with a foreign message in each hundred.
func longHistory(t *testing.T, sessions int) *eventstore.Memory {
	t.Helper()
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	for n := range sessions {
		grow(t, s, eventstore.Key{User: "ada", Session: fmt.Sprint("s", n)}, 5)
		if n%20 == 0 {
			driver.Inject(eventstore.Key{User: "eve", Session: "x"}, nil, []byte("foreign"))
		}
	}
	return driver
}

// However far a scan reads ahead, commits and damage come in the order of the
// stream, each once, as they are decoded one by one.
func TestScanIsInOrder(t *testing.T) {
	driver := longHistory(t, 400)
	s := open(t, eventstore.Config{Driver: driver})
	next := uint64(1)
	err := s.Scan(t.Context(), eventstore.Filter{}, func(c eventstore.Committed, err error) error {
		m, e := driver.Get(t.Context(), next)
		if e != nil {
			t.Fatal(e)
		}
		want, wantErr := eventstore.Codec{}.Decode(m)
		if c.Seq != next || !reflect.DeepEqual(c, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("at %d: %+v %v", next, c, err)
		}
		next++
		return nil
	})
	if err != nil || next != 2021 {
		t.Errorf("it ended before %d: %v", next, err)
	}
	if n := s.Stats().Foreign; n != 20 {
		t.Errorf("%d foreign messages were counted", n)
	}
}

// A scan ends with the first error, wherever it comes from, and leaves nothing
// running.
func TestScanEndsWithTheFirstError(t *testing.T) {
	driver := longHistory(t, 400)
	s := open(t, eventstore.Config{Driver: driver})
	running := runtime.NumGoroutine()
	stop, n := errors.New("stop"), 0
	err := s.Scan(t.Context(), eventstore.Filter{}, func(eventstore.Committed, error) error {
		if n++; n == 700 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 700 {
		t.Errorf("%d commits, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	err = s.Scan(ctx, eventstore.Filter{}, func(eventstore.Committed, error) error {
		if n++; n == 300 {
			cancel()
		}
		return nil
	})
	if err == nil || n < 300 {
		t.Errorf("%d commits, %v", n, err)
	}
	reads := 0
	driver.SetFaults(eventstore.Faults{BeforeRead: func(context.Context) error {
		if reads++; reads > 500 {
			return eventstore.ErrUnavailable
		}
		return nil
	}})
	n = 0
	err = s.Scan(t.Context(), eventstore.Filter{}, func(eventstore.Committed, error) error { n++; return nil })
	if reads > 500 && !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("after %d reads and %d commits: %v", reads, n, err)
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > running; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left of %d", runtime.NumGoroutine(), running)
		}
		runtime.Gosched()
	}
}

// A scan of large commits keeps few of them in memory, and delivers all.
func TestScanOfLargeCommits(t *testing.T) {
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	agg := grow(t, s, s1, 1)
	for n := range 40 {
		var err error
		c := &domain.SetMetadata{Set: map[string]string{}}
		for k := range 30 {
			c.Set[fmt.Sprint("note", k)] = fmt.Sprintf("%0500d", n)
		}
		if agg, err = s.Append(t.Context(), propose(t, agg, fmt.Sprint("large", n), c)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if err := s.Scan(t.Context(), eventstore.Filter{}, func(eventstore.Committed, error) error { n++; return nil }); err != nil || n != 41 {
		t.Errorf("%d commits, %v", n, err)
	}
}

// BenchmarkScan reads and decodes a stream.
func BenchmarkScan(b *testing.B) {
	driver := eventstore.NewMemory()
	s, err := eventstore.Open(b.Context(), eventstore.Config{Driver: driver, CacheBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	for n := range 2000 {
		grow(b, s, eventstore.Key{User: "ada", Session: fmt.Sprint("s", n)}, 5)
	}
	commits := 0
	for b.Loop() {
		err := s.Scan(b.Context(), eventstore.Filter{}, func(eventstore.Committed, error) error { commits++; return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(commits)/b.Elapsed().Seconds(), "commits/s")
}
