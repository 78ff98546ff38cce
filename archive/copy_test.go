package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"reprise/domain"
	"reprise/eventstore"
)

// notebook keeps checkpoints as a target does.
type notebook struct {
	mu   sync.Mutex
	at   Checkpoint
	fail error
}

func (n *notebook) Load(context.Context) (Checkpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at, n.fail
}

func (n *notebook) Save(_ context.Context, c Checkpoint) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = c
	return nil
}

func TestCopyBringsEverything(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(64)
	b.do(eventstore.Key{User: "zoe", Session: "other"}, plan(9))
	report, err := Copy(t.Context(), a.store, b.store, CopyOptions{})
	if err != nil || report.Sessions != 56 || report.Tombstones != 8 || report.Compared != 64 || report.Resumed {
		t.Fatalf("%+v, %v", report, err)
	}
	got := b.all()
	delete(got, "zoe.other")
	same(t, got, a.all())
	again, err := Copy(t.Context(), a.store, b.store, CopyOptions{})
	if err != nil || again.Written != 0 || again.Compared != 64 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestCopyOfNothing(t *testing.T) {
	t.Parallel()
	report, err := Copy(t.Context(), newWorld(t).store, newWorld(t).store, CopyOptions{})
	if err != nil || report.Compared != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestCopyGoesOnWhereItWasKilled kills a copy at random points until it gets
// through.
func TestCopyGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	a, b := newWorld(t), newWorld(t)
	a.populate(manySessions)
	book, kills := &notebook{}, 0
	for {
		ctx, kill := context.WithCancel(t.Context())
		left := 1 + random.Uint64N(manySessions)
		b.driver.SetFaults(eventstore.Faults{AfterAppend: once(&left, kill)})
		report, err := Copy(ctx, a.store, b.store, CopyOptions{Checkpoints: book, Run: "r1"})
		kill()
		if err == nil {
			if kills == 0 || !report.Resumed && manySessions > 2*arrivalsAtOnce || report.Compared != manySessions {
				t.Errorf("after %d kills: %+v", kills, report)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		kills++
	}
	b.driver.SetFaults(eventstore.Faults{})
	same(t, b.all(), a.all())
}

func TestCopyDoesNotTrustAnothersCheckpoint(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(4)
	book := &notebook{at: Checkpoint{Source: a.store.Position(0).Incarnation, Run: "old", Phase: phaseDone, Next: 99}}
	if _, err := Copy(t.Context(), a.store, b.store, CopyOptions{Checkpoints: book, Run: "new"}); err != nil {
		t.Fatal(err)
	}
	same(t, b.all(), a.all())
	if book.at.Run != "new" || book.at.Phase != phaseDone || book.at.Compared != 4 {
		t.Errorf("the checkpoint is %+v", book.at)
	}
	book.fail = errors.New("no")
	if _, err := Copy(t.Context(), a.store, b.store, CopyOptions{Checkpoints: book}); !errors.Is(err, book.fail) {
		t.Errorf("a checkpoint that can't be read: %v", err)
	}
}

// TestCopyTakesWhatComesLate changes the source while it is copied.
func TestCopyTakesWhatComesLate(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	for n := range 5 {
		a.do(a.key("ann", n), plan(9), &domain.Start{})
	}
	var late sync.Once
	b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
		late.Do(func() {
			a.do(a.key("ann", 1), &domain.Pause{})
			a.do(a.key("ann", 9), plan(9))
		})
		return nil
	}})
	report, err := Copy(t.Context(), a.store, b.store, CopyOptions{})
	if err != nil || report.Sessions != 6 {
		t.Fatalf("%+v, %v", report, err)
	}
	same(t, b.all(), a.all())
}

func TestCopyGivesUpOnASourceThatIsWrittenTo(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	key := a.key("ann", 1)
	a.do(key, plan(9), &domain.Start{})
	var turn sync.Mutex
	b.driver.SetFaults(eventstore.Faults{AfterAppend: func(context.Context, []eventstore.Record, []uint64) error {
		turn.Lock()
		defer turn.Unlock()
		a.do(key, &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(rand.Uint64())}})
		return nil
	}})
	_, err := Copy(t.Context(), a.store, b.store, CopyOptions{})
	wantError(t, err, ErrStillWritten, "make it read-only first")
}

func TestCopyRefusesClashes(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	key := a.key("ann", 1)
	a.do(key, plan(9), &domain.Start{}, &domain.Pause{})
	b.do(key, plan(9), &domain.Start{}, &domain.Cancel{})
	_, err := Copy(t.Context(), a.store, b.store, CopyOptions{})
	wantError(t, err, ErrClash, "session ann.s1 is in the target with another history: the first version that differs is 3")
	c := newWorld(t)
	c.do(key, plan(9), &domain.Start{}, &domain.Pause{}, &domain.Resume{})
	_, err = Copy(t.Context(), a.store, c.store, CopyOptions{})
	wantError(t, err, ErrClash, "session ann.s1 is in the target with another history")
}

func TestCopyRefusesDamage(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.damaged(a.key("ann", 1))
	_, err := Copy(t.Context(), a.store, b.store, CopyOptions{})
	wantError(t, err, eventstore.ErrCorrupt, "session ann.s1 can't be copied")
}

// damaged makes a session whose second commit names another hash as the one
// before it.
func (w *world) damaged(key eventstore.Key) {
	w.Helper()
	agg := w.do(key, plan(9))
	body, err := eventstore.Codec{}.Encode(&domain.Commit{
		ID: "x", Session: key.Session, User: key.User, Version: agg.Session.Version + 1, Time: epoch, Prev: "0",
		State: domain.StateRunning, Events: []domain.Event{&domain.SessionStarted{}},
	})
	w.must(err)
	_, err = w.driver.Append(w.Context(), []eventstore.Record{{Key: key, Guard: eventstore.ExpectLast(agg.Seq), Body: body}})
	w.must(err)
}

// TestCopyComparesBytes copies, damages the target, and compares.
func TestCopyComparesBytes(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(6)
	book := &notebook{}
	if _, err := Copy(t.Context(), a.store, b.store, CopyOptions{Checkpoints: book, Run: "r"}); err != nil {
		t.Fatal(err)
	}
	a.do(a.key("ann", 50), plan(9))
	book.at = Checkpoint{Source: a.store.Position(0).Incarnation, Run: "r", Phase: phaseCompare, Next: 1}
	_, err := Copy(t.Context(), a.store, b.store, CopyOptions{Checkpoints: book, Run: "r"})
	wantError(t, err, ErrDiffers, "session ann.s50 has 0 commits")
	if book.at.Next != 0 {
		t.Errorf("the next run would not copy again: %+v", book.at)
	}
}

func TestCopyReportsProgress(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	a.populate(7)
	var mu sync.Mutex
	most := map[string]uint64{}
	_, err := Copy(t.Context(), a.store, b.store, CopyOptions{Progress: func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		most[p.Doing] = max(most[p.Doing], p.Sessions)
	}})
	if err != nil || most["writing"] != 7 || most["comparing"] != 7 {
		t.Errorf("%v, %v", most, err)
	}
}
