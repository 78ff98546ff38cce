package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// delivery is what a follower got: when, and the kind of its damage.
type delivery struct {
	seq  uint64
	kind string
	at   time.Time
}

// following is a follower under test, in a bubble of fake time.
type following struct {
	t      *testing.T
	driver *eventstore.Memory
	store  *eventstore.Store
	agg    eventstore.Aggregate
	got    []delivery
	cancel context.CancelFunc
	done   chan error
	block  chan struct{} // the callback waits for it, if it is there
}

// inBubble runs a case with a store and its follower.
func inBubble(t *testing.T, run func(t *testing.T, f *following)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &following{t: t, driver: eventstore.NewMemory(), done: make(chan error, 1)}
		f.store = open(t, eventstore.Config{Driver: f.driver})
		f.follow(1)
		run(t, f)
		f.stop()
	})
}

func (f *following) follow(from uint64) {
	ctx, cancel := context.WithCancel(f.t.Context())
	f.cancel = cancel
	go func() {
		f.done <- f.store.Follow(ctx, from, func(c eventstore.Committed, err error) error {
			d := delivery{seq: c.Seq, at: time.Now()}
			if damage, ok := errors.AsType[*eventstore.CommitError](err); ok {
				d.kind = damage.Kind
			}
			if f.block != nil {
				<-f.block
			}
			f.got = append(f.got, d)
			return nil
		})
	}()
	synctest.Wait()
}

func (f *following) stop() {
	f.t.Helper()
	f.cancel()
	if err := <-f.done; !errors.Is(err, context.Canceled) {
		f.t.Errorf("the follower ends with %v", err)
	}
}

// write appends n commits with a pause before each.
func (f *following) write(n int, pause time.Duration) {
	f.t.Helper()
	if f.agg.Session == nil {
		f.agg = grow(f.t, f.store, s1, 1)
		n--
	}
	for range n {
		f.wait(pause)
		next, err := f.store.Append(f.t.Context(), propose(f.t, f.agg, fmt.Sprint("c", f.agg.Last), note(f.agg.Last)))
		if err != nil {
			f.t.Fatal(err)
		}
		f.agg = next
	}
	synctest.Wait()
}

func note(n uint64) domain.Command {
	return &domain.SetMetadata{Set: map[string]string{"n": fmt.Sprint(n)}}
}

// wait lets fake time pass.
func (f *following) wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// foreign stores a message that is no engine's and returns its sequence.
func (f *following) foreign() uint64 {
	seq := f.driver.Inject(eventstore.Key{User: "eve", Session: "s"}, nil, []byte("foreign"))
	synctest.Wait()
	return seq
}

// delay is how long after a time a sequence was delivered.
func (f *following) delay(seq uint64, after time.Time) time.Duration {
	f.t.Helper()
	for _, d := range f.got {
		if d.seq == seq {
			return d.at.Sub(after)
		}
	}
	f.t.Fatalf("sequence %d was not delivered", seq)
	return 0
}

// whole fails unless everything came once and in order, up to a sequence.
func (f *following) whole(upTo uint64, but ...uint64) {
	f.t.Helper()
	want := uint64(1)
	for _, d := range f.got {
		for slices.Contains(but, want) {
			want++
		}
		if d.seq != want {
			f.t.Fatalf("sequence %d was delivered instead of %d", d.seq, want)
		}
		want++
	}
	if want != upTo+1 {
		f.t.Fatalf("the follower is at %d, not at %d", want-1, upTo)
	}
}

// fed is how many commits came without reading the stream.
func (f *following) fed() uint64 { return f.store.Stats().FollowedOwn }

func TestFollowerIsFedWithOwnCommits(t *testing.T) {
	inBubble(t, func(t *testing.T, f *following) {
		f.write(1000, 0)
		f.whole(1000)
		if fed := f.fed(); fed < 900 || fed+f.store.Stats().FollowedRead != 1000 {
			t.Errorf("%+v", f.store.Stats())
		}
		f.write(10, time.Millisecond)
		f.whole(1010)
	})
}

func TestFollowerOfSlowWritersReadsTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T, f *following) {
		f.write(200, 5*time.Millisecond)
		f.whole(200)
		if fed := f.fed(); fed > 0 {
			t.Errorf("%d commits were fed", fed)
		}
	})
}

func TestFollowerNoticesOthers(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration // between own commits after the foreign message
		bound time.Duration
	}{
		{"while this store writes", time.Millisecond, 15 * time.Millisecond},
		{"when this store has stopped writing", time.Hour, 55 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *following) {
				f.write(200, 0)
				if f.fed() == 0 {
					t.Fatal("nothing is fed")
				}
				at, seq := time.Now(), f.foreign()
				f.write(100, c.pause)
				f.wait(time.Second)
				if late := f.delay(seq, at); late > c.bound {
					t.Errorf("it came after %s", late)
				}
				f.whole(301)
				if kind := f.got[seq-1].kind; kind != eventstore.KindForeign {
					t.Errorf("it is %q", kind)
				}
			})
		})
	}
}

// TestFollowerBesideBusyWritersReadsTheStream: the feed isn't tried again and
// again while it does not pay.
func TestFollowerBesideBusyWritersReadsTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T, f *following) {
		f.write(200, 0)
		before, began := f.fed(), time.Now()
		for range 3000 {
			f.foreign()
			f.write(1, 100*time.Microsecond)
		}
		f.wait(time.Second)
		f.whole(6200)
		if fed := f.fed() - before; fed > 200 {
			t.Errorf("%d of 3000 were fed in %s", fed, time.Since(began))
		}
		f.wait(2 * time.Minute)
		f.write(1000, 0)
		if f.fed()-before < 900 {
			t.Error("once the others are gone it isn't fed again")
		}
	})
}

func TestFollowerPassesOverWhatWasCompacted(t *testing.T) {
	inBubble(t, func(t *testing.T, f *following) {
		f.write(200, 0)
		f.foreign()
		if err := f.driver.Compact(t.Context(), eventstore.Key{User: "eve", Session: "s"}, 1000); err != nil {
			t.Fatal(err)
		}
		f.write(50, time.Millisecond)
		f.whole(251, 201)
		if f.store.Stats().FollowedRead > 100 {
			t.Errorf("%+v", f.store.Stats())
		}
	})
}

func TestFollowerFindsCommitsWhoseAcknowledgementWasLost(t *testing.T) {
	inBubble(t, func(t *testing.T, f *following) {
		f.write(200, 0)
		f.driver.SetFaults(eventstore.Faults{
			AfterAppend: func(context.Context, []eventstore.Record, []uint64) error { return eventstore.ErrUnknownOutcome },
			BeforeRead:  func(context.Context) error { return eventstore.ErrUnavailable },
		})
		lost := propose(t, f.agg, "lost", note(0))
		if _, err := f.store.Append(t.Context(), lost); !errors.Is(err, eventstore.ErrUnknownOutcome) {
			t.Fatal(err)
		}
		f.driver.SetFaults(eventstore.Faults{})
		var err error
		if f.agg, err = f.store.Load(t.Context(), s1); err != nil || f.agg.Last != 201 {
			t.Fatal(f.agg, err)
		}
		f.write(50, time.Millisecond)
		f.whole(251)
	})
}

// TestFollowerWaitsForAcknowledgements of this store a little before it reads
// what they are for from the stream.
func TestFollowerWaitsForAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		read  uint64
	}{
		{"one that comes soon", 30 * time.Millisecond, 0},
		{"one that does not", 90 * time.Millisecond, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *following) {
				f.write(200, 0)
				slow := eventstore.Key{User: "ada", Session: "slow"}
				f.driver.SetFaults(eventstore.Faults{AfterAppend: func(_ context.Context, records []eventstore.Record, _ []uint64) error {
					if records[0].Key == slow {
						<-time.After(c.takes)
					}
					return nil
				}})
				empty, err := f.store.Load(t.Context(), slow)
				if err != nil {
					t.Fatal(err)
				}
				create := propose(t, empty, "slow", &domain.Create{Definition: domain.Definition{KeepOpen: true}})
				before, began, appended := f.store.Stats().FollowedRead, time.Now(), make(chan error, 1)
				go func() {
					_, err := f.store.Append(t.Context(), create)
					appended <- err
				}()
				synctest.Wait()
				f.write(100, time.Millisecond)
				f.whole(301)
				if read := f.store.Stats().FollowedRead - before; read != c.read {
					t.Errorf("%d messages were read from the stream, not %d", read, c.read)
				}
				if delay := f.delay(201, began); delay > 60*time.Millisecond {
					t.Errorf("it came after %s", delay)
				}
				if err := <-appended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSlowFollowerGetsAll: what is not kept for it is read from the stream.
func TestSlowFollowerGetsAll(t *testing.T) {
	inBubble(t, func(t *testing.T, f *following) {
		f.write(200, 0)
		f.block = make(chan struct{})
		f.write(20_000, 0)
		close(f.block)
		f.wait(time.Second)
		f.whole(20_200)
		before := f.fed()
		f.write(100, 0)
		f.whole(20_300)
		if f.fed() == before {
			t.Error("it isn't fed again although nobody else writes")
		}
	})
}

// TestFollowersShare: one follower is fed, the others read the stream; both get
// everything.
func TestFollowersShare(t *testing.T) {
	inBubble(t, func(t *testing.T, f *following) {
		second := &following{t: t, driver: f.driver, store: f.store, done: make(chan error, 1)}
		second.follow(1)
		f.write(500, 0)
		f.whole(500)
		second.whole(500)
		second.stop()
		third := &following{t: t, driver: f.driver, store: open(t, eventstore.Config{Driver: f.driver}), done: make(chan error, 1)}
		third.follow(401)
		third.got = append(slices.Clone(f.got[:400]), third.got...)
		third.whole(500)
		third.stop()
	})
}

func TestFollowReturnsTheCallbacksError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, eventstore.Config{Driver: eventstore.NewMemory()})
		stop, done := errors.New("stop"), make(chan error, 1)
		for _, at := range []uint64{1, 300, 600} {
			go func() {
				done <- s.Follow(t.Context(), at, func(c eventstore.Committed, err error) error {
					if c.Seq >= at+200 || err != nil {
						return stop
					}
					return nil
				})
			}()
			synctest.Wait()
			grow(t, s, eventstore.Key{User: "ada", Session: fmt.Sprint("s", at)}, 300)
			if err := <-done; err != stop { //nolint:errorlint // it must be returned as it is
				t.Errorf("from %d it returns %v", at, err)
			}
		}
	})
}

// remade is a driver whose stream is made anew behind it.
type remade struct {
	eventstore.Driver
	anew *eventstore.Memory // what is written to once it is there
}

func (r *remade) Info(ctx context.Context) (eventstore.Info, error) {
	if r.anew != nil {
		return eventstore.Info{}, eventstore.ErrIncarnation
	}
	return r.Driver.Info(ctx)
}

func (r *remade) Append(ctx context.Context, records []eventstore.Record) ([]uint64, error) {
	if r.anew != nil {
		return r.anew.Append(ctx, records)
	}
	return r.Driver.Append(ctx, records)
}

// TestFollowerNoticesAnotherIncarnation also while it is fed, and at once when
// the sequences begin at 1 again.
func TestFollowerNoticesAnotherIncarnation(t *testing.T) {
	for _, c := range []struct {
		name  string
		kept  int // commits that the new stream has already
		bound time.Duration
	}{
		{"the sequences begin again", 0, 10 * time.Millisecond},
		{"the sequences go on", 100, 1100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *following) {
				driver := &remade{Driver: f.driver}
				f.stop()
				f.store, f.got = open(t, eventstore.Config{Driver: driver}), nil
				f.follow(1)
				f.write(100, 0)
				anew := eventstore.NewMemory()
				if c.kept > 0 {
					grow(t, open(t, eventstore.Config{Driver: anew}), s1, c.kept)
				}
				driver.anew = anew
				began := time.Now()
				for n := range 1200 {
					<-time.After(time.Millisecond)
					grow(t, f.store, eventstore.Key{User: "bob", Session: fmt.Sprint("s", n)}, 1)
					if synctest.Wait(); len(f.done) > 0 {
						break
					}
				}
				if took := time.Since(began); len(f.done) == 0 || took > c.bound {
					t.Errorf("it has ended after %s: %v", took, len(f.done) > 0)
				}
				if c.kept == 0 {
					f.whole(100)
				}
				if err := <-f.done; !errors.Is(err, eventstore.ErrIncarnation) {
					t.Errorf("the follower ends with %v", err)
				}
				f.follow(1 << 32) // for the end of the case
			})
		})
	}
}
