package eventstore

import (
	"container/list"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"reprise/domain"
)

const (
	// cacheShards is the number of parts of the cache with a lock of their own.
	cacheShards = 64
	// endedBytes is what sessions that are over may take of such a part: 16 MB in
	// all. The follower wants them when they end, and a client that asks how it went;
	// after that they would only be in the way of the garbage collector.
	endedBytes = 256 << 10
)

// cache keeps aggregates, the least recently used of which go first once their
// sizes exceed the bound: those that are over have a smaller one of their own.
// Aggregates are immutable, so readers share them.
type cache struct {
	seed         maphash.Seed
	hits, misses atomic.Uint64
	shards       [cacheShards]cacheShard
}

type cacheShard struct {
	mu      sync.Mutex
	limit   int64
	entries map[Key]*list.Element
	// live and ended have the entries; they are over in the second.
	live, ended queue
	// moves counts the commits that were noted while something may have been
	// read from the store.
	moves uint64
}

// queue is entries in the order in which they were used.
type queue struct {
	bytes int64
	order list.List // of *cacheEntry; the front was used last
}

type cacheEntry struct {
	agg  Aggregate
	size int64
	in   *queue
}

// entryOf is what an element of a shard's order holds.
func entryOf(el *list.Element) *cacheEntry {
	return el.Value.(*cacheEntry) //nolint:forcetypeassert // set puts nothing else there
}

// newCache bounds the cache by bytes, split evenly over the shards; a negative
// bound keeps nothing.
func newCache(bytes int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i] = cacheShard{limit: bytes / cacheShards, entries: map[Key]*list.Element{}}
	}
	return c
}

func (c *cache) shard(key Key) *cacheShard {
	return &c.shards[maphash.Comparable(c.seed, key)%cacheShards]
}

// get returns the cached aggregate and counts the hit or miss.
func (c *cache) get(key Key) (Aggregate, bool) {
	agg, ok := c.peek(key)
	if ok {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
	return agg, ok
}

// peek is get without counting.
func (c *cache) peek(key Key) (Aggregate, bool) {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	el, ok := sh.entries[key]
	if !ok {
		return Aggregate{}, false
	}
	e := entryOf(el)
	e.in.order.MoveToFront(el)
	return e.agg, true
}

// put keeps an aggregate that was just appended, unless a newer one is there
// already.
func (c *cache) put(agg Aggregate) {
	sh := c.shard(agg.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.moves++
	if el, ok := sh.entries[agg.Key]; ok && entryOf(el).agg.Last > agg.Last {
		return
	}
	sh.set(agg)
}

// reading begins to read a session from the store; what it returns goes to keep.
func (c *cache) reading(key Key) (moves uint64) {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.moves
}

// keep keeps an aggregate that was read from the store, whatever was there. If
// commits were noted meanwhile, one may have been this session's, and come after
// what was read: then nothing is kept and the next load reads again.
func (c *cache) keep(agg Aggregate, moves uint64) {
	sh := c.shard(agg.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.moves == moves {
		sh.set(agg)
		return
	}
	if el, ok := sh.entries[agg.Key]; ok && entryOf(el).agg.Last != agg.Last {
		sh.remove(el)
	}
}

// missed notes a commit of a session that is not cached.
func (c *cache) missed(key Key) {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.moves++
}

// swap keeps next if the cache still holds old.
func (c *cache) swap(old, next Aggregate) {
	sh := c.shard(old.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.moves++
	if el, ok := sh.entries[old.Key]; ok && entryOf(el).agg.Last == old.Last {
		sh.set(next)
	}
}

// drop forgets a session.
func (c *cache) drop(key Key) {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if el, ok := sh.entries[key]; ok {
		sh.remove(el)
	}
}

// set needs the lock.
func (sh *cacheShard) set(agg Aggregate) {
	size, in := aggregateSize(agg), sh.queue(agg.Session)
	el, ok := sh.entries[agg.Key]
	if ok && entryOf(el).in != in {
		sh.remove(el)
		ok = false
	}
	if ok {
		e := entryOf(el)
		in.bytes += size - e.size
		e.agg, e.size = agg, size
		in.order.MoveToFront(el)
	} else {
		sh.entries[agg.Key] = in.order.PushFront(&cacheEntry{agg: agg, size: size, in: in})
		in.bytes += size
	}
	sh.shrink(&sh.ended, min(sh.limit, endedBytes))
	sh.shrink(&sh.live, sh.limit-sh.ended.bytes)
}

// queue returns where a session belongs.
func (sh *cacheShard) queue(s *domain.Session) *queue {
	if s.Gone != nil || s.State == domain.StateCompleted || s.State == domain.StateCancelled {
		return &sh.ended
	}
	return &sh.live
}

// shrink needs the lock.
func (sh *cacheShard) shrink(q *queue, limit int64) {
	for q.bytes > limit && q.order.Len() > 0 {
		sh.remove(q.order.Back())
	}
}

// remove needs the lock.
func (sh *cacheShard) remove(el *list.Element) {
	e := entryOf(el)
	e.in.order.Remove(el)
	e.in.bytes -= e.size
	delete(sh.entries, e.agg.Key)
}

// stats sums over the shards.
func (c *cache) stats() Stats {
	st := Stats{CacheHits: c.hits.Load(), CacheMisses: c.misses.Load()}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		st.CacheBytes += sh.live.bytes + sh.ended.bytes
		st.CacheLimit += max(sh.limit, 0)
		st.CacheSessions += len(sh.entries)
		sh.mu.Unlock()
	}
	return st
}
