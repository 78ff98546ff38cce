package eventstore

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"reprise/domain"
)

// cached is an aggregate of a session with some metadata.
func cached(id string, last uint64, payload int) Aggregate {
	key := Key{User: "ada", Session: id}
	s := domain.New(key.User, key.Session)
	s.Version, s.Metadata = last, map[string]string{"x": strings.Repeat("x", payload)}
	return Aggregate{Key: key, Session: s, Seq: last, Last: last}
}

func TestCacheKeepsTheNewest(t *testing.T) {
	c := newCache(1 << 20)
	if _, ok := c.get(cached("s", 0, 0).Key); ok {
		t.Fatal("an empty cache holds something")
	}
	for _, step := range []struct {
		do   func(Aggregate)
		agg  Aggregate
		want uint64
	}{
		{c.put, cached("s", 5, 0), 5},
		{c.put, cached("s", 4, 0), 5},
		{c.put, cached("s", 6, 0), 6},
		{func(a Aggregate) { c.keep(a, c.reading(a.Key)) }, cached("s", 3, 0), 3},
		{func(a Aggregate) { c.swap(cached("s", 2, 0), a) }, cached("s", 7, 0), 3},
		{func(a Aggregate) { c.swap(cached("s", 3, 0), a) }, cached("s", 8, 0), 8},
		{func(a Aggregate) { c.swap(cached("other", 3, 0), a) }, cached("other", 8, 0), 8},
	} {
		step.do(step.agg)
		if got, ok := c.get(cached("s", 0, 0).Key); !ok || got.Last != step.want {
			t.Fatalf("the cache holds %d, not %d", got.Last, step.want)
		}
	}
	c.drop(cached("s", 0, 0).Key)
	c.drop(cached("s", 0, 0).Key)
	if _, ok := c.peek(cached("s", 0, 0).Key); ok {
		t.Error("a dropped session is still there")
	}
	st := c.stats()
	if st.CacheHits != 7 || st.CacheMisses != 1 || st.CacheSessions != 0 || st.CacheBytes != 0 {
		t.Errorf("the counters are %+v", st)
	}
}

func TestCacheKeepsNothingThatWasOvertaken(t *testing.T) {
	old := cached("s", 3, 0)
	for name, overtake := range map[string]func(*cache){
		"an append":                func(c *cache) { c.put(cached("s", 4, 0)) },
		"a commit of another":      func(c *cache) { c.missed(old.Key) },
		"a commit onto the cached": func(c *cache) { c.put(old); c.swap(old, cached("s", 4, 0)) },
	} {
		c := newCache(1 << 20)
		moves := c.reading(old.Key)
		overtake(c)
		c.keep(old, moves)
		if got, ok := c.peek(old.Key); ok && got.Last < 4 {
			t.Errorf("after %s the cache holds what was read before it", name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	const limit = 64 * 10_000
	c := newCache(limit)
	for i := range 2000 {
		c.put(cached(fmt.Sprint("s", i), 1, i%3000))
		if _, ok := c.peek(cached("s0", 0, 0).Key); i < 50 && !ok {
			t.Fatalf("the session that is always used left after %d", i)
		}
	}
	st := c.stats()
	if st.CacheBytes > limit || st.CacheBytes < limit/2 || st.CacheSessions < 100 {
		t.Errorf("the cache holds %d sessions of %d bytes; the bound is %d", st.CacheSessions, st.CacheBytes, limit)
	}
	c.put(cached("huge", 1, limit))
	if _, ok := c.peek(cached("huge", 0, 0).Key); ok {
		t.Error("a session beyond the bound is kept")
	}
	none := newCache(-1)
	none.put(cached("s", 1, 0))
	if _, ok := none.peek(cached("s", 0, 0).Key); ok {
		t.Error("a cache of nothing keeps something")
	}
}

func TestCacheKeepsFewSessionsThatAreOver(t *testing.T) {
	c := newCache(cacheShards * 16 * endedBytes)
	over := func(id string, state domain.State) Aggregate {
		agg := cached(id, 1, 20_000)
		agg.Session.State = state
		return agg
	}
	for _, state := range []domain.State{domain.StateRunning, domain.StateFailed} {
		for i := range 500 {
			c.put(over(fmt.Sprint(state, i), state))
		}
	}
	for i := range 2000 {
		id := fmt.Sprint("s", i)
		c.put(over(id, domain.StateRunning))
		c.put(over(id, []domain.State{domain.StateCompleted, domain.StateCancelled}[i%2]))
		if _, ok := c.peek(cached(id, 0, 0).Key); !ok {
			t.Fatal("a session that has just ended is gone")
		}
	}
	for _, state := range []domain.State{domain.StateRunning, domain.StateFailed} {
		for i := range 500 {
			if _, ok := c.peek(cached(fmt.Sprint(state, i), 0, 0).Key); !ok {
				t.Fatalf("a session that is %s had to go for those that are over", state)
			}
		}
	}
	st := c.stats()
	if ended := st.CacheBytes - 1000*aggregateSize(cached("s", 1, 20_000)); ended > cacheShards*endedBytes || ended < cacheShards*endedBytes/4 {
		t.Errorf("%d bytes are of sessions that are over; at most %d should be, and most of them used", ended, cacheShards*endedBytes)
	}
}

func TestCacheIsShared(t *testing.T) {
	c := newCache(1 << 16)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				agg := cached(fmt.Sprint("s", i%40), uint64(i), n)
				c.put(agg)
				c.get(agg.Key)
				c.swap(agg, cached(agg.Key.Session, uint64(i+1), n))
			}
		})
	}
	wg.Wait()
	if st := c.stats(); st.CacheBytes > 1<<16 || st.CacheHits+st.CacheMisses != 8000 {
		t.Errorf("the counters are %+v", st)
	}
}

func TestAggregateSizeCountsPayloads(t *testing.T) {
	small := cached("s", 1, 0)
	small.Session.Chains = []*domain.Chain{{Title: "t", Steps: []*domain.Step{{Input: []byte(`1`), Error: &domain.Failure{Message: "m"}}}}}
	large := cached("s", 1, 0)
	large.Session.Chains = []*domain.Chain{{Title: "t", Steps: []*domain.Step{{Input: make([]byte, 1001), Error: &domain.Failure{Message: "m", Stack: strings.Repeat("s", 500)}}}}}
	large.Session.Recent = make([]domain.Applied, 10)
	if got := aggregateSize(large) - aggregateSize(small); got != 1000+500+10*sizeRecent {
		t.Errorf("the difference is %d bytes", got)
	}
}

func TestDamageIsForgottenInBulk(t *testing.T) {
	var d damage
	for i := range uint64(maxDamageKnown + 10) {
		d.report(&CommitError{Seq: i + 1, Kind: KindForeign})
	}
	if len(d.known) > maxDamageKnown || d.foreign.Load() != maxDamageKnown+10 {
		t.Errorf("%d are known of %d", len(d.known), d.foreign.Load())
	}
}
