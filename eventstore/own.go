package eventstore

import (
	"bytes"
	"sync"

	"reprise/domain"
)

// The bounds of ownCommits.
const (
	ownShards      = 16
	ownCommitsKept = 1024 // per shard
)

// ownCommits remembers the commits that this store appended last, so that its
// follower need not decode them again. Each shard is a ring by sequence.
type ownCommits struct {
	shards [ownShards]struct {
		mu   sync.Mutex
		ring []ownCommit
	}
}

type ownCommit struct {
	seq    uint64
	body   []byte
	hash   string
	commit *domain.Commit
}

func newOwnCommits() *ownCommits {
	o := &ownCommits{}
	for i := range o.shards {
		o.shards[i].ring = make([]ownCommit, ownCommitsKept)
	}
	return o
}

// add remembers a commit that was stored.
func (o *ownCommits) add(seq uint64, body []byte, hash string, commit *domain.Commit) {
	sh := &o.shards[seq%ownShards]
	sh.mu.Lock()
	sh.ring[seq/ownShards%ownCommitsKept] = ownCommit{seq: seq, body: body, hash: hash, commit: commit}
	sh.mu.Unlock()
}

// take returns and forgets the commit of a message, if it was appended here.
func (o *ownCommits) take(m Message) (Committed, bool) {
	sh := &o.shards[m.Seq%ownShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := &sh.ring[m.Seq/ownShards%ownCommitsKept]
	if c.seq != m.Seq || !m.Guarded || !bytes.Equal(c.body, m.Body) || c.commit.Session != m.Key.Session || c.commit.User != m.Key.User {
		return Committed{}, false
	}
	out := Committed{Key: m.Key, Seq: m.Seq, Prev: m.Prev, Hash: c.hash, Commit: c.commit}
	*c = ownCommit{}
	return out, true
}
