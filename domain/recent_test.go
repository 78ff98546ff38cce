package domain_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"reprise/domain"
)

// remembering is the commit of a command that only has to be remembered.
func remembering(s *domain.Session, id string, now time.Time) *domain.Commit {
	return &domain.Commit{
		ID: id, Version: s.Version + 1, Time: now, Digest: strings.Repeat(fmt.Sprintf("%02x", len(id)), 32),
		Events: []domain.Event{&domain.SessionHeld{}},
	}
}

// window is what a list has to be after one more command, by a copy.
func window(old []domain.Applied, c *domain.Commit) []domain.Applied {
	next := append(slices.Clone(old), domain.Applied{ID: c.ID, Digest: c.Digest[:16], Version: c.Version, Time: c.Time})
	drop := 0
	for len(old)-drop >= domain.RecentMin && (len(old)-drop >= domain.RecentMax || c.Time.Sub(old[drop].Time) > domain.RecentWindow) {
		drop++
	}
	return next[drop:]
}

// TestRecentOfEveryBranch goes on from states at random, old and new ones, and
// looks at what each of them remembers after all that.
func TestRecentOfEveryBranch(t *testing.T) {
	t.Parallel()
	type branch struct {
		s    *domain.Session
		want []domain.Applied
	}
	for _, tick := range []time.Duration{0, time.Second, 7 * time.Second} {
		random := rand.New(rand.NewPCG(4, uint64(tick)))
		all := []branch{{s: domain.New("ann", "s1")}}
		for n := range 3_000 {
			from := all[len(all)-1]
			if random.IntN(20) == 0 {
				from = all[max(0, len(all)-1-random.IntN(50))]
			}
			c := remembering(from.s, fmt.Sprint("c", n), epoch.Add(time.Duration(n)*tick))
			all = append(all, branch{domain.Apply(from.s, c), window(from.want, c)})
			if n > 200 {
				all = all[1:]
			}
		}
		for i, b := range all {
			if !slices.Equal(b.s.Recent, b.want) {
				t.Fatalf("a tick of %s: the state of branch %d remembers %v; it should be %v", tick, i, b.s.Recent, b.want)
			}
		}
	}
}

// TestRecentSideBySide has two go on from one state at once while others read it;
// the race detector looks on.
func TestRecentSideBySide(t *testing.T) {
	t.Parallel()
	base, want := domain.New("ann", "s1"), []domain.Applied(nil)
	grow := func(s *domain.Session, want []domain.Applied, name string, n int) (*domain.Session, []domain.Applied) {
		for i := range n {
			c := remembering(s, fmt.Sprint(name, i), epoch)
			s, want = domain.Apply(s, c), window(want, c)
		}
		return s, want
	}
	for round := range 50 {
		base, want = grow(base, want, fmt.Sprint("base", round, "-"), 1+round)
		var wg sync.WaitGroup
		for _, name := range []string{"left", "right"} {
			wg.Go(func() {
				if s, want := grow(base, want, name, 40); !slices.Equal(s.Recent, want) {
					t.Errorf("round %d: the %s branch remembers %v; it should be %v", round, name, s.Recent, want)
				}
			})
			wg.Go(func() {
				if !slices.Equal(base.Recent, want) {
					t.Errorf("round %d: the state that both went on from was changed", round)
				}
			})
		}
		wg.Wait()
	}
}

// BenchmarkRemember folds one commit after another into a session that
// remembers as many commands as there may be.
func BenchmarkRemember(b *testing.B) {
	s := domain.New("ann", "s1")
	next := func() {
		s = domain.Apply(s, &domain.Commit{
			ID: "0198f1c2-7c1b-7d43-9a65-000000000000", Version: s.Version + 1, Time: epoch,
			Digest: "0123456789abcdef", Events: []domain.Event{&domain.SessionUnheld{}},
		})
	}
	for range domain.RecentMax {
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}
