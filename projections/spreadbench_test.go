package projections

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/cputime"
)

const (
	// envSpread says how many commits of others a history is spread over; a
	// million without. envStore names a directory for the stream, which is filled
	// once and used again by the next run.
	envSpread = "REPRISE_SPREAD"
	envStore  = "REPRISE_STORE"

	spreadOver    = 1_000_000
	spreadCommits = 1_000
	spreadWriters = 256
	// spreadSessions have the others' commits.
	spreadSessions = 20_000
)

// BenchmarkSpreadHistory reads the history of a session of 1,000 commits that are
// spread evenly over a million of others, all in files: as it is when the server
// has read none of it since it was started, and when it has just read all.
func BenchmarkSpreadHistory(b *testing.B) {
	others, dir := spreadOver, os.Getenv(envStore)
	if n, err := strconv.Atoi(os.Getenv(envSpread)); err == nil && n > 0 {
		others = n
	}
	if dir == "" {
		dir = b.TempDir()
	}
	spread := key("ada", "spread")
	fillSpread(b, dir, spread, others)
	read := func(b *testing.B, x *longBench) time.Duration {
		b.Helper()
		n, began := 0, time.Now()
		err := x.cold(b, true, false).Commits(b.Context(), spread, 0, func(eventstore.Committed) error { n++; return nil })
		if err != nil || n != spreadCommits {
			b.Fatal(n, err)
		}
		return time.Since(began)
	}
	b.Run("just started", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			x := newLongBench(b, dir)
			b.StartTimer()
			read(b, x)
			b.StopTimer()
			x.stop()
			b.StartTimer()
		}
	})
	b.Run("just read", func(b *testing.B) {
		x := newLongBench(b, dir)
		read(b, x)
		var took []time.Duration
		used := cputime.Used()
		for b.Loop() {
			took = append(took, read(b, x))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64((cputime.Used()-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
		x.stop()
	})
}

// fillSpread appends the commits of a session among those of others, which are
// as long and are never read.
func fillSpread(b *testing.B, dir string, spread eventstore.Key, others int) {
	b.Helper()
	x := newLongBench(b, dir)
	defer x.stop()
	if info, err := x.store.Info(b.Context()); err != nil || info.Messages >= uint64(others+spreadCommits) {
		return
	}
	w := &benchWorld{b: b, store: x.store}
	w.note(spread)
	for range spreadCommits - 1 {
		x.noise(b, others/spreadCommits)
		w.note(spread)
	}
	x.noise(b, others/spreadCommits)
	x.keep(b, spread)
}

// noise appends commits of many sessions, as many at a time as there are writers.
func (x *longBench) noise(b *testing.B, commits int) {
	b.Helper()
	if x.noisy == nil {
		x.noisy = make([]uint64, spreadSessions)
	}
	var wg sync.WaitGroup
	turns := make(chan struct{}, spreadWriters)
	for range commits {
		turns <- struct{}{}
		n := x.turn
		x.turn = (x.turn + 1) % len(x.noisy)
		wg.Go(func() {
			defer func() { <-turns }()
			seqs, err := x.driver.Append(context.Background(), []eventstore.Record{noiseOf(b, n, x.noisy[n])})
			if err != nil {
				b.Error(err)
				return
			}
			x.noisy[n] = seqs[0]
		})
	}
	wg.Wait()
}

// noiseOf makes a commit of the usual length.
func noiseOf(b *testing.B, n int, last uint64) eventstore.Record {
	b.Helper()
	k := key("bob", fmt.Sprint("n", n))
	commit := &domain.Commit{
		ID: fmt.Sprint("c", last), Session: k.Session, User: k.User, Version: 1, Time: after(n), Actor: "bob",
		Cause: domain.VerbMetadataSet, State: domain.StatePending, Digest: domain.Digest(domain.VerbMetadataSet, nil),
		Prev: strings.Repeat("0", 64), Events: []domain.Event{&domain.MetadataSet{Set: map[string]string{"note": "noise"}}},
	}
	body, err := eventstore.Codec{}.Encode(commit)
	if err != nil {
		b.Error(err)
	}
	header := map[string]string{"ce-id": k.String() + ".1", "ce-subject": k.String(), "ce-type": "reprise.commit.v1", "Reprise-Types": "metadata.set"}
	return eventstore.Record{Key: k, Guard: eventstore.ExpectLast(last), Header: header, Body: body}
}
