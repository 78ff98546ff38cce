package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// TestSendersTakeTurns has a sender that fills the lanes, and two that come later.
func TestSendersTakeTurns(t *testing.T) {
	l := newLanes(maxInFlight, maxPerSession, 1)
	defer l.close()
	hold := make(chan struct{})
	var mu sync.Mutex
	var order []string
	submit := func(sender string, n int) {
		t.Helper()
		err := l.submit(sender, laneKey(n), func() {
			<-hold
			mu.Lock()
			defer mu.Unlock()
			order = append(order, sender)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const many = 1000
	for n := range many {
		submit("loud", n)
	}
	for n := range 3 {
		submit("quiet", many+n)
		submit("late", many+3+n)
	}
	close(hold)
	if err := l.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"loud", "loud", "quiet", "late", "loud", "quiet", "late", "loud", "quiet", "late", "loud"}
	if len(order) != many+6 || !slices.Equal(order[:len(want)], want) {
		t.Errorf("%d ran, the first %v; want %v", len(order), order[:len(want)], want)
	}
	wantNothingLeft(t, l)
}

func TestLanesRunSoManyAtOnce(t *testing.T) {
	const most = 4
	l := newLanes(maxInFlight, maxPerSession, most)
	defer l.close()
	var inside, seen atomic.Int32
	run := func() {
		if now := inside.Add(1); now > most {
			t.Errorf("%d jobs run at once", now)
		}
		pause(t.Context(), 100*time.Microsecond)
		inside.Add(-1)
		seen.Add(1)
	}
	const jobs = 400
	for n := range jobs {
		sender := fmt.Sprint(n % 7)
		if n%3 == 0 {
			if err := l.submitPair(sender, laneKey(n%11), laneKey(n%13), run); err != nil {
				t.Fatal(err)
			}
		} else if err := l.submit(sender, laneKey(n%17), run); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen.Load() != jobs {
		t.Errorf("%d of %d jobs ran", seen.Load(), jobs)
	}
	wantNothingLeft(t, l)
}

func wantNothingLeft(t *testing.T, l *lanes) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready.by) != 0 || l.running != 0 || l.jobs != 0 || len(l.lanes) != 0 {
		t.Errorf("%d senders who wait, %d jobs that run of %d and %d lanes are left", len(l.ready.by), l.running, l.jobs, len(l.lanes))
	}
}

// TestLateCommandsAreRefused has a store that stands still for longer than a client
// waits.
func TestLateCommandsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		hold := make(chan struct{})
		b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { <-hold; return nil }})
		x := &executor{lanes: newLanes(8, 8, 1), commander: b.cmd}
		defer x.lanes.close()
		answers := make(chan error, 3)
		send := func(session string) {
			t.Helper()
			r := b.ask(session, domain.VerbCreate, onePlan)
			if err := x.submit(r, address{}, []byte(onePlan), func(_ contract.Reply, err error) { answers <- err }); err != nil {
				t.Fatal(err)
			}
		}
		send("first")
		send("late")
		time.Sleep(commandTimeout + 1)
		send("fresh")
		close(hold)
		if err := <-answers; err != nil {
			t.Errorf("the first: %v", err)
		}
		wantOver(t, <-answers, domain.CodeBusy, "waited for its turn")
		if err := <-answers; err != nil {
			t.Errorf("the fresh one: %v", err)
		}
	})
}
