package projections

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// bend puts views into a store behind the back of its writer.
func bend(store *MemoryViews, change func(views map[string]View)) {
	store.mu.Lock()
	defer store.mu.Unlock()
	change(store.views)
}

// TestCompareAndHeal breaks views in every way, finds each and puts it right.
func TestCompareAndHeal(t *testing.T) {
	w := newWorld(t)
	store := NewMemoryViews()
	var mu sync.Mutex
	healed := map[eventstore.Key]bool{}
	views, err := NewViews(ViewsConfig{
		Source: w.store, Store: store, Report: w.report.add, MinAge: time.Millisecond,
		Healed: func(a eventstore.Aggregate) {
			mu.Lock()
			defer mu.Unlock()
			healed[a.Key] = true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"fine", "lost", "bent", "newer"} {
		w.create(key("ada", id))
	}
	w.runner(views)
	if err := views.Heal(t.Context(), key("ada", "lost")); !errors.Is(err, ErrStandby) {
		t.Errorf("healing on standby: %v", err)
	}
	w.background(views.Run)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := views.WaitFor(ctx, w.at(w.end())); err != nil {
		t.Fatal(err)
	}
	want := map[eventstore.Key]Fault{key("ada", "lost"): FaultMissing, key("ada", "ghost"): FaultDead, key("ada", "bent"): FaultWrong}
	heads := map[eventstore.Key]Head{}
	if err := views.readHeads(ctx, func(key eventstore.Key, h Head) { heads[key] = h }); err != nil {
		t.Fatal(err)
	}
	untilSwept(t, views)
	bend(store, func(all map[string]View) {
		delete(all, "ada.lost")
		all["ada.ghost"] = View{Key: "ada.ghost", Body: []byte("{}"), Index: []byte("{}")}
		all["ada.bent"] = View{Key: "ada.bent", Body: []byte("{}"), Index: []byte("{}")}
		all["ada.newer"] = View{Key: "ada.newer", Body: []byte("{}"), Index: []byte(`{"schema":99,"id":"newer","user":"ada","state":"PENDING"}`)}
	})
	if known, err := views.Compare(ctx, maps.All(heads)); err != nil || len(known) != len(want) {
		t.Errorf("with the heads at hand it found %v, error %v", known, err)
	}
	found, err := views.Compare(ctx, nil)
	if err != nil || len(found) != len(want) {
		t.Fatalf("found %v, error %v", found, err)
	}
	var keys []eventstore.Key
	for _, f := range found {
		if want[f.Key] != f.Fault {
			t.Errorf("%s is %s", f.Key, f.Fault)
		}
		keys = append(keys, f.Key)
	}
	if err := views.Heal(ctx, keys...); err != nil {
		t.Fatal(err)
	}
	if found, err := views.Compare(ctx, nil); err != nil || len(found) != 0 {
		t.Errorf("after healing: %v, error %v", found, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for k := range want {
		if !healed[k] {
			t.Errorf("%s was not healed; %v were", k, healed)
		}
	}
	if _, err := store.Get(ctx, "ada.ghost"); !errors.Is(err, ErrNoView) {
		t.Errorf("the ghost: %v", err)
	}
}

// TestViewsOnTheirWayAreNotWrong compares while a view is being put: neither the
// instance that puts it nor another one takes the old one for a fault.
func TestViewsOnTheirWayAreNotWrong(t *testing.T) {
	w := newWorld(t)
	store := &stalled{MemoryViews: NewMemoryViews()}
	holder, standby := w.views(store), w.views(store)
	w.create(key("ada", "old"))
	w.runner(holder, standby)
	w.background(holder.Run)
	w.wait(holder)
	untilSwept(t, holder)
	reached := store.stall()
	w.do(key("ada", "old"), &domain.Start{})
	w.create(key("ada", "new"))
	<-reached
	if err := newSweeper(holder).run(t.Context()); err != nil || holder.Progress().Healed != 0 {
		t.Errorf("the sweep writes %d views again, error %v", holder.Progress().Healed, err)
	}
	for name, v := range map[string]*Views{"holder": holder, "standby": standby} {
		if found, err := v.Compare(t.Context(), nil); err != nil || len(found) > 0 {
			t.Errorf("%s: %v %v", name, found, err)
		}
	}
	close(store.release)
	w.wait(holder)
	bend(store.MemoryViews, func(all map[string]View) { delete(all, "ada.new") })
	for name, v := range map[string]*Views{"holder": holder, "standby": standby} {
		if found, err := v.Compare(t.Context(), nil); err != nil || len(found) != 1 {
			t.Errorf("%s, when it is lost: %v %v", name, found, err)
		}
	}
}

// TestHealEndsWithTheViews: whoever waits learns that the writer has stopped.
func TestHealEndsWithTheViews(t *testing.T) {
	w := newWorld(t)
	views, err := NewViews(ViewsConfig{Source: w.store, Store: NewMemoryViews(), Report: w.report.add})
	if err != nil {
		t.Fatal(err)
	}
	views.holding, views.ended = true, make(chan struct{})
	close(views.ended)
	if err := views.Heal(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("healing without a writer: %v", err)
	}
	views.ended = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := views.Heal(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("healing without patience: %v", err)
	}
}
