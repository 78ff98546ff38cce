package jetstream_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/cputime"
)

// BenchmarkFollow appends commits on file storage while nobody follows, while a
// follower is fed by the store, and while one reads the stream without decoding.
// late-us is the median of the time from the answer to an append until the
// follower has its commit.
func BenchmarkFollow(b *testing.B) {
	for _, clients := range []int{1, 256} {
		for _, way := range []string{"nobody", "fed", "stream"} {
			b.Run(fmt.Sprintf("clients=%d/%s", clients, way), func(b *testing.B) { benchFollow(b, clients, way) })
		}
	}
}

func benchFollow(b *testing.B, clients int, way string) {
	n := onServer(b, embedded(b), false)
	s, err := eventstore.Open(b.Context(), eventstore.Config{Driver: n.driver})
	if err != nil {
		b.Fatal(err)
	}
	each := b.N/clients + 1
	f := &follower{seen: make([]time.Time, each*clients+1), answered: make([]time.Time, each*clients+1)}
	ctx, cancel := context.WithCancel(b.Context())
	done := f.follow(ctx, s, n.driver, way)
	began, used := time.Now(), cputime.Used()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() { f.write(b, s, newKey(c), each) })
	}
	wg.Wait()
	if way != "nobody" {
		eventually(b, "the follower keeps up", func() bool { return f.at.Load() == uint64(each*clients) })
	}
	b.ReportMetric(float64(cputime.Used()-used)/float64(each*clients), "cpu-ns/op")
	b.ReportMetric(float64(each*clients)/time.Since(began).Seconds(), "commits/s")
	cancel()
	<-done
	if way != "nobody" {
		b.ReportMetric(f.late(), "late-us")
		b.ReportMetric(100*float64(s.Stats().FollowedOwn)/float64(each*clients), "fed-%")
	}
}

// follower notes by sequence when an append was answered and when it saw it.
type follower struct {
	seen, answered []time.Time
	at             atomic.Uint64
}

func (f *follower) follow(ctx context.Context, s *eventstore.Store, d eventstore.Driver, way string) chan error {
	done := make(chan error, 1)
	saw := func(seq uint64) error {
		f.seen[seq] = time.Now()
		f.at.Store(seq)
		return nil
	}
	switch way {
	case "fed":
		go func() {
			done <- s.Follow(ctx, 1, func(c eventstore.Committed, _ error) error { return saw(c.Seq) })
		}()
	case "stream":
		go func() { done <- d.Follow(ctx, 1, func(m eventstore.Message) error { return saw(m.Seq) }) }()
	default:
		close(done)
	}
	return done
}

// write appends commits to one session.
func (f *follower) write(b *testing.B, s *eventstore.Store, key eventstore.Key, commits int) {
	agg, err := s.Load(b.Context(), key)
	for i := 0; err == nil && i < commits; i++ {
		agg, err = s.Append(b.Context(), benchProposal(agg))
		if err == nil {
			f.answered[agg.Seq] = time.Now()
		}
	}
	if err != nil {
		b.Error(err)
	}
}

func benchProposal(agg eventstore.Aggregate) eventstore.Proposal {
	commit := &domain.Commit{
		ID: "0197d7a5-7c5e-7e25-b0a2-fcc5ca9a1b10", Session: agg.Key.Session, User: agg.Key.User, Version: agg.Session.Version + 1,
		Time: time.Now().UTC(), Actor: "ada", Cause: domain.VerbMetadataSet, State: domain.StatePending,
		Events: []domain.Event{&domain.MetadataSet{Set: map[string]string{"stage": "packing"}}},
	}
	if commit.Version == 1 {
		commit.Events = []domain.Event{&domain.SessionCreated{Definition: domain.Definition{KeepOpen: true}}}
	}
	return eventstore.Proposal{Base: agg, Commit: commit, Next: domain.Apply(agg.Session, commit)}
}

// late is the median of the delays, in microseconds.
func (f *follower) late() float64 {
	delays := make([]time.Duration, 0, len(f.seen))
	for seq := 1; seq < len(f.seen); seq++ {
		delays = append(delays, f.seen[seq].Sub(f.answered[seq]))
	}
	slices.Sort(delays)
	return float64(delays[len(delays)/2].Nanoseconds()) / 1e3
}
