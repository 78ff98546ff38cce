package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"reprise/client"
	"reprise/domain"
)

// grower is a few sessions whose histories grow.
type grower struct {
	c      *client.Client
	length int
}

// grow brings every session to a number of commits.
func (g *grower) grow(ctx context.Context, commits int) error {
	var wg sync.WaitGroup
	errs := make([]error, longSessions)
	for i := range longSessions {
		wg.Go(func() {
			for at := g.length; at < commits && errs[i] == nil; at++ {
				errs[i] = g.commit(ctx, i, at)
			}
		})
	}
	wg.Wait()
	g.length = max(g.length, commits)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// commit adds one commit to a session; the first one makes it.
func (g *grower) commit(ctx context.Context, i, at int) error {
	session := fmt.Sprint("long", i)
	if at == 0 {
		_, err := g.c.Do(ctx, session, &domain.Create{Definition: domain.Definition{KeepOpen: true}})
		return err
	}
	_, err := g.c.Do(ctx, session, &domain.SetMetadata{Set: map[string]string{"n": strconv.Itoa(at)}})
	return err
}

// commandsEach is how many commands every session gets to be measured by.
const commandsEach = 20

// measure commands every session, one client each. The commits that it adds count
// as the sessions' own from then on.
func (g *grower) measure(ctx context.Context) rate {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	failed := int64(0)
	began := time.Now()
	for i := range longSessions {
		wg.Go(func() {
			for n := range commandsEach {
				sent := time.Now()
				err := g.commit(ctx, i, g.length+n)
				mu.Lock()
				if took = append(took, time.Since(sent)); err != nil {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	g.length += commandsEach
	r := rate{PerSecond: float64(len(took)) / time.Since(began).Seconds(), Failed: failed}
	r.P50, r.P99 = quantile(took, 0.5), quantile(took, 0.99)
	return r
}

func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[int(q*float64(len(took)-1))]
}

func middle(took []time.Duration) time.Duration { return quantile(took, 0.5) }
