package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

func laneKey(n int) eventstore.Key { return eventstore.Key{User: "ann", Session: fmt.Sprint(n)} }

func TestLanesKeepTheOrder(t *testing.T) {
	l := newLanes(maxInFlight, maxPerSession, maxRunning)
	defer l.close()
	const sessions, jobs = 8, 4000
	var mu sync.Mutex
	want, got := map[int][]int{}, map[int][]int{}
	var inside [sessions]atomic.Int32
	enter := func(n int) {
		if inside[n].Add(1) != 1 {
			t.Errorf("two jobs of session %d ran at once", n)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range jobs {
		a, b := random.IntN(sessions), random.IntN(sessions)
		want[a] = append(want[a], i)
		if a != b {
			want[b] = append(want[b], i)
		}
		run := func() {
			enter(a)
			defer inside[a].Add(-1)
			if b != a {
				enter(b)
				defer inside[b].Add(-1)
			}
			mu.Lock()
			defer mu.Unlock()
			got[a] = append(got[a], i)
			if a != b {
				got[b] = append(got[b], i)
			}
		}
		for errors.Is(l.submitPair("ann", laneKey(a), laneKey(b), run), &domain.Rejection{Code: domain.CodeBusy}) {
			pause(t.Context(), time.Millisecond)
		}
	}
	if err := l.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range sessions {
		if !slices.Equal(want[n], got[n]) {
			t.Errorf("session %d: the order is wrong", n)
		}
	}
	if len(l.lanes) != 0 || l.inFlight() != 0 {
		t.Errorf("%d lanes and %d jobs are left", len(l.lanes), l.inFlight())
	}
}

func TestLanesRunSideBySide(t *testing.T) {
	l := newLanes(8, 8, 2)
	defer l.close()
	meet := make(chan struct{})
	done := make(chan struct{})
	if err := l.submit("ann", laneKey(1), func() { <-meet; close(done) }); err != nil {
		t.Fatal(err)
	}
	if err := l.submit("ann", laneKey(2), func() { close(meet) }); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestLanesAreBounded(t *testing.T) {
	l := newLanes(3, 2, 3)
	defer l.close()
	release := make(chan struct{})
	wait := func() { <-release }
	busy := &domain.Rejection{Code: domain.CodeBusy}
	for i, want := range []error{nil, nil, busy} {
		if err := l.submit("ann", laneKey(1), wait); !errors.Is(err, want) {
			t.Errorf("job %d of a session that takes 2: %v", i+1, err)
		}
	}
	if err := l.submitPair("ann", laneKey(2), laneKey(1), wait); !errors.Is(err, busy) {
		t.Errorf("a pair with a full session: %v", err)
	}
	if err := l.submit("ann", laneKey(2), wait); err != nil {
		t.Error(err)
	}
	if err := l.submit("ann", laneKey(3), wait); !errors.Is(err, busy) {
		t.Errorf("job 4 of 3 in all: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("draining was given up with %v", err)
	}
	if err := l.submit("ann", laneKey(3), wait); !errors.Is(err, &domain.Rejection{Code: domain.CodeUnavailable}) {
		t.Errorf("a job while draining: %v", err)
	}
	close(release)
	<-l.empty
}
