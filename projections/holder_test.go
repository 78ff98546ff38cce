package projections

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

func TestViewsGoOnFromTheCheckpoint(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		a, b := key("ada", "s1"), key("ada", "s2")
		w.create(a)
		w.create(b)
		v := w.views(store)
		stop := w.hold(v)
		w.wait(v)
		stop()
		w.do(a, &domain.Start{})

		again := openWorld(t, w.driver, eventstore.Config{Snapshots: SnapshotsOf(store)})
		next := again.views(store)
		again.hold(next)
		again.wait(next)
		again.expect(store, a, b)
		untilSwept(t, next)
		if p := next.Progress(); p.Puts-p.Healed != 1 {
			t.Errorf("%d puts after a restart with one commit, %d of them healed", p.Puts, p.Healed)
		}
	})
}

// A holder that ends writes what it has.
func TestViewsArePutAtTheEnd(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	v := w.views(store, func(c *ViewsConfig) { c.MinAge = time.Hour })
	a, b := key("ada", "s1"), key("ada", "s2")
	w.create(a)
	r, _ := w.runner(v)
	stop := w.background(v.Run)
	w.wait(v)
	w.create(b)
	w.wait(r)
	stop()
	w.expect(store, a, b)
}

func TestStandbyBecomesHolder(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		other := openWorld(t, w.driver, eventstore.Config{})
		a, b := key("ada", "s1"), key("ada", "s2")
		w.create(a)

		first, second := w.views(store), other.views(store)
		w.runner(first)
		waiting, _ := other.runner(second)
		stop := w.background(first.Run)
		w.wait(first)
		w.do(a, &domain.Start{})
		w.create(b)
		other.wait(waiting)
		if p := second.Progress(); p.Holding || p.Puts != 0 || p.Waiting != 0 {
			t.Errorf("standing by: %+v", p)
		}
		stop()
		w.do(a, &domain.Pause{}) // nobody holds
		done := make(chan struct{})
		go func() { // and goes on through the switch
			defer close(done)
			for range 50 {
				w.do(b, &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(w.n)}})
			}
		}()
		other.background(second.Run)
		<-done
		other.wait(second)
		other.expect(store, a, b)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := first.WaitFor(ctx, w.at(1000)); !errors.Is(err, ErrStopped) && !errors.Is(err, context.Canceled) {
			t.Errorf("who ended: %v", err)
		}
	})
}

// Who asks between two times as the holder waits for the second one.
func TestWaitingForTheNextTime(t *testing.T) {
	w := newWorld(t)
	a := key("ada", "s1")
	w.create(a)
	v := w.views(NewMemoryViews())
	w.runner(v)
	stop := w.background(v.Run)
	w.wait(v)
	stop()
	w.do(a, &domain.Start{})
	waited := make(chan error, 1)
	go func() { waited <- v.WaitFor(t.Context(), w.at(w.end())) }()
	eventually(t, "somebody waits or was sent away", func() bool { return v.gate.least() != math.MaxUint64 || len(waited) > 0 })
	w.background(v.Run)
	if err := <-waited; err != nil {
		t.Errorf("who has waited: %v", err)
	}
}

func TestOldHolderIsFenced(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		other := openWorld(t, w.driver, eventstore.Config{})
		a := key("ada", "s1")
		w.create(a)
		first, second := w.views(store), other.views(store)
		w.runner(first)
		other.runner(second)
		ended := make(chan error, 1)
		go func() { ended <- first.Run(context.Background()) }()
		w.wait(first)
		if err := first.Run(t.Context()); !errors.Is(err, ErrUsed) {
			t.Errorf("twice at once: %v", err)
		}
		other.background(second.Run)
		eventually(t, "the new holder", func() bool { return second.Progress().Holding })
		other.wait(second)
		untilSwept(t, second)
		w.do(a, &domain.Start{})
		if err := <-ended; !errors.Is(err, ErrFenced) {
			t.Errorf("the old holder: %v", err)
		}
		other.wait(second)
		other.expect(store, a)
		w.background(first.Run) // it may take the role again
		eventually(t, "the role", func() bool { return first.Progress().Holding })
		w.wait(first)
	})
}

// Many writers at once, while the views are put: at the end every view is the
// fold of the events.
func TestViewsUnderLoad(t *testing.T) {
	everyStore(t, func(t *testing.T, store ViewStore) {
		w := newWorld(t)
		v := w.views(store, func(c *ViewsConfig) { c.MaxBatch = 8 })
		x := w.index(store, "team")
		r, _ := w.runner(v, x)
		w.background(v.Run)
		var wg sync.WaitGroup
		var keys []eventstore.Key
		for i := range 4 {
			mine := openWorld(t, w.driver, eventstore.Config{Snapshots: SnapshotsOf(store)})
			for j := range 4 {
				keys = append(keys, key(fmt.Sprint("u", i), fmt.Sprint("s", j)))
			}
			wg.Go(func() {
				for n := range 60 {
					k := key(fmt.Sprint("u", i), fmt.Sprint("s", n%4))
					if n < 4 {
						mine.create(k)
					} else {
						mine.do(k, &domain.SetMetadata{Set: map[string]string{"team": fmt.Sprint(n)}})
					}
				}
			})
		}
		wg.Wait()
		w.wait(r)
		w.wait(v)
		w.expect(store, keys...)
		for _, k := range keys {
			a, err := w.store.Load(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := x.Get(k); !ok || e.Seq != a.Seq || e.Metadata["team"] != a.Session.Metadata["team"] {
				t.Errorf("the index has %+v", e)
			}
		}
	})
}
