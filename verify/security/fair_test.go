package security

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
)

// BenchmarkQuietUser measures the 99th percentile of a user's commands, alone and
// while another user sends as fast as one connection can, over and without a limit.
func BenchmarkQuietUser(b *testing.B) {
	for _, limit := range []int{0, 1000} {
		for _, flooded := range []bool{false, true} {
			b.Run(fmt.Sprintf("rate=%d/flood=%t", limit, flooded), func(b *testing.B) {
				w := newWorld(b, func(cfg *engine.Config) { cfg.Limits.Rate = limit })
				if flooded {
					stop := w.flood(b, w.as(auth.RoleUser, "loud"))
					defer stop()
				}
				quiet(b, w)
			})
		}
	}
}

// quiet sends commands one after another, a hundred a second, and reports how long
// they took.
func quiet(b *testing.B, w *world) {
	b.Helper()
	nc := w.as(auth.RoleUser, "quiet")
	must(b, nc, w.names.Command("quiet", "s", domain.VerbCreate), onePlan)
	took := make([]time.Duration, 0, b.N)
	refused := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for b.Loop() {
		<-tick.C
		begin := time.Now()
		m := ask(b, nc, w.names.Command("quiet", "s", domain.VerbMetadataSet), `{"set":{"k":"v`+fmt.Sprint(len(took))+`"}}`)
		if m.Header.Get(contract.HeaderError) != "" {
			refused++
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(refused), "refused")
}

// flood sends commands of a user without waiting for answers until stop, as fast as
// the server takes them.
func (w *world) flood(t testing.TB, nc *nats.Conn) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			subject := w.names.Command("loud", fmt.Sprint("s", i%500), domain.VerbStart)
			if err := nc.PublishRequest(subject, "_INBOX.loud.x", []byte("{}")); err != nil {
				t.Error(err)
				return
			}
			if i%1000 == 999 {
				_ = nc.FlushTimeout(patience)
			}
		}
	}()
	return func() { cancel(); <-done }
}
