package domain

import (
	"slices"
	"sync/atomic"
	"time"
)

// Applied is one remembered command.
type Applied struct {
	// ID is the command id, Digest the beginning of that of verb and body; ask
	// Same.
	ID     string `json:"id"`
	Digest string `json:"digest"`
	// Version is that of the commit's first event.
	Version uint64    `json:"version"`
	Time    time.Time `json:"time"`
}

// newApplied is what is remembered of a commit. Id and digest share one string
// of their own, so that nothing else of what was read is kept for their sake.
func newApplied(c *Commit) Applied {
	text := c.ID + shortDigest(c.Digest)
	return Applied{ID: text[:len(c.ID)], Digest: text[len(c.ID):], Version: c.Version, Time: c.Time}
}

// Same reports whether the command had this digest of verb and body.
func (a Applied) Same(digest string) bool { return a.Digest == shortDigest(digest) }

// shortDigest is what is remembered of a digest: 64 bits in hex.
func shortDigest(digest string) string { return digest[:min(len(digest), 16)] }

// FindRecent returns the remembered command with that id.
func (s *Session) FindRecent(id string) (Applied, bool) {
	for _, applied := range slices.Backward(s.Recent) {
		if applied.ID == id {
			return applied, true
		}
	}
	return Applied{}, false
}

// places counts the places that nobody has taken yet at the end of an array which
// the lists of one state after another share. It only goes down, one place a
// time, so each place is taken once.
type places struct{ free atomic.Int64 }

// take takes the place that follows a list, if nobody has.
func (p *places) take(list []Applied) bool {
	free := int64(cap(list) - len(list))
	return p != nil && free > 0 && p.free.CompareAndSwap(free, free-1)
}

// spareShare is the part of a long list that is left free behind a new one: what
// it costs in memory, and how seldom it is copied.
const spareShare = 4

// remember adds a command to a list and forgets those that are out of the
// window. Others may be reading the old list, and others may go on from it too:
// the first takes the place behind it, if there is one, and anybody else copies.
// Short lists are always copied, to just the memory they need.
func remember(old []Applied, behind *places, a Applied) ([]Applied, *places) {
	for len(old) >= RecentMin && (len(old) >= RecentMax || a.Time.Sub(old[0].Time) > RecentWindow) {
		old = old[1:]
	}
	if behind.take(old) {
		return append(old, a), behind
	}
	n, spare := len(old)+1, 0
	behind = nil
	if n >= RecentMin {
		spare = n / spareShare
		behind = &places{}
		behind.free.Store(int64(spare))
	}
	next := make([]Applied, n, n+spare)
	copy(next, old)
	next[n-1] = a
	return next, behind
}
