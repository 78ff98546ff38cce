package eventstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// usual is a commit as workers make most of: a step that succeeded and the next
// one that was claimed with it.
func usual() *domain.Commit {
	return &domain.Commit{
		ID: "0198f1c2-7c1b-7d43-9a65-6f0f4f1d2c3b", Session: "0198f1c2-7c1b-7d43-9a65-1a2b3c4d5e6f", User: "ada",
		Version: 7, Time: epoch.Add(123456789), Actor: "worker-amber", Cause: domain.VerbSucceed, State: domain.StateRunning,
		Digest: eventstore.Hash([]byte("digest")), Prev: eventstore.Hash([]byte("prev")),
		Events: []domain.Event{
			&domain.StepSucceeded{Chain: "main", Step: "1", Attempt: 1, Worker: "amber", Output: []byte(`{"ok":true,"rows":42}`)},
			&domain.StepStarted{Chain: "main", Step: "2", Attempt: 1, Worker: "amber", Lease: domain.Duration(30 * time.Second), Deadline: epoch.Add(time.Minute)},
		},
	}
}

func BenchmarkEncode(b *testing.B) {
	commit := usual()
	b.ReportAllocs()
	for b.Loop() {
		body, err := eventstore.Codec{}.Encode(commit)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(body)))
	}
}

func BenchmarkDecode(b *testing.B) {
	commit := usual()
	body, err := eventstore.Codec{}.Encode(commit)
	if err != nil {
		b.Fatal(err)
	}
	m := eventstore.Message{Key: eventstore.Key{User: commit.User, Session: commit.Session}, Seq: 9, Prev: 8, Guarded: true, Body: body}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (eventstore.Codec{}).Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStoreAppend is what the store adds to the driver's append: encoding,
// hashing, headers and the cache.
func BenchmarkStoreAppend(b *testing.B) {
	ctx := context.Background()
	s, err := eventstore.Open(ctx, eventstore.Config{Driver: instant{}})
	if err != nil {
		b.Fatal(err)
	}
	base := eventstore.Aggregate{Key: eventstore.Key{User: "ada", Session: usual().Session}, Session: domain.New("ada", usual().Session)}
	base.Session.Version = 6
	next := domain.Apply(base.Session, usual())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(ctx, eventstore.Proposal{Base: base, Commit: usual(), Next: next}); err != nil {
			b.Fatal(err)
		}
	}
}

// instant is a driver that keeps nothing.
type instant struct{ eventstore.Driver }

func (instant) Append(_ context.Context, records []eventstore.Record) ([]uint64, error) {
	return make([]uint64, len(records)), nil
}

func (instant) Info(context.Context) (eventstore.Info, error) {
	return eventstore.Info{Incarnation: "instant"}, nil
}

// BenchmarkLoad replays a session of some commits from memory.
func BenchmarkLoad(b *testing.B) {
	ctx := context.Background()
	for _, commits := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(commits), func(b *testing.B) {
			driver := eventstore.NewMemory()
			s, err := eventstore.Open(ctx, eventstore.Config{Driver: driver, CacheBytes: -1})
			if err != nil {
				b.Fatal(err)
			}
			agg := grow(b, s, eventstore.Key{User: "ada", Session: "s1"}, commits)
			for b.Loop() {
				if _, err := s.Load(ctx, agg.Key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// grow appends a session with some commits.
func grow(tb testing.TB, s *eventstore.Store, key eventstore.Key, commits int) eventstore.Aggregate {
	tb.Helper()
	agg, err := s.Load(context.Background(), key)
	for i := 0; err == nil && i < commits; i++ {
		var c domain.Command = &domain.SetMetadata{Set: map[string]string{"note": fmt.Sprint(i)}}
		if i == 0 {
			c = &domain.Create{Definition: domain.Definition{KeepOpen: true}}
		}
		agg, err = s.Append(context.Background(), propose(tb, agg, fmt.Sprint("c", i), c))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return agg
}
