package projections

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/cputime"
)

const (
	coldSessions = 64
	coldCommits  = 1_000
	coldSteps    = 20
)

// BenchmarkColdLoad loads sessions of 20 steps and 1,000 commits from their views,
// one at random after another, none of which is cached: those that nothing happened
// to for two minutes, and those to which a command a second came until just now,
// of which the last two minutes' command ids have to be known.
func BenchmarkColdLoad(b *testing.B) {
	x := newLongBench(b, b.TempDir())
	x.fillCold(b)
	ctx, last := context.Background(), after(coldCommits)
	for name, now := range map[string]time.Time{"idle": last.Add(time.Hour), "busy": last} {
		b.Run(name, func(b *testing.B) {
			store, err := eventstore.Open(ctx, eventstore.Config{
				Driver: x.driver, CacheBytes: -1, Blocks: x.blocks, Snapshots: SnapshotsOf(x.views), Clock: func() time.Time { return now },
			})
			if err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			used, random := cputime.Used(), rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				began := time.Now()
				if err := version(store.Load(ctx, coldKey(random.IntN(coldSessions))))(coldCommits + 1); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			measure(b, used, b.N)
			slices.Sort(took)
			for _, q := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*q/100].Microseconds()), fmt.Sprintf("p%d-us", q))
			}
		})
	}
}

func coldKey(n int) eventstore.Key { return key("ada", fmt.Sprint("cold", n)) }

// fillCold appends the sessions side by side, so that their commits are spread.
func (x *longBench) fillCold(b *testing.B) {
	b.Helper()
	var wg sync.WaitGroup
	for n := range coldSessions {
		wg.Go(func() {
			w := &benchWorld{b: b, store: x.store}
			plan := domain.ChainDef{ID: "main"}
			for range coldSteps {
				plan.Steps = append(plan.Steps, domain.StepDef{Action: "build", Input: []byte(`{"order":"A-1007"}`)})
			}
			w.do(coldKey(n), &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{plan}, KeepOpen: true}})
			for range coldCommits {
				w.note(coldKey(n))
			}
		})
	}
	wg.Wait()
	for n := range coldSessions {
		x.keep(b, coldKey(n))
	}
}
