package eventstore

import (
	"context"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// Aggregate is a session together with its place in the store. It is a value;
// the session in it is immutable.
type Aggregate struct {
	Key     Key
	Session *domain.Session
	// Seq is the stream sequence of the session's last commit, 0 if it has none.
	Seq uint64
	// Last is the sequence of the last message on the subject, which is beyond
	// Seq if somebody wrote a foreign message after it. Appends expect it.
	Last uint64
	// Hash is the SHA-256 of the body of the last commit, in hex.
	Hash string
}

// Committed is a commit with its place in the store.
type Committed struct {
	Key    Key
	Seq    uint64
	Hash   string
	Commit *domain.Commit
}

// Snapshot is a state of a session that was kept outside the events.
type Snapshot struct {
	Schema  int
	Seq     uint64
	Hash    string
	Session *domain.Session
}

// Snapshots finds kept states. A snapshot is used only if it proves to lie on
// the session's history; any error counts as none.
type Snapshots interface {
	Snapshot(ctx context.Context, key Key) (Snapshot, error)
}

// Config configures a Store. The zero value of each field but Driver is a good
// default.
type Config struct {
	Driver    Driver
	Snapshots Snapshots
	// CacheBytes bounds the aggregate cache; 0 means 256 MiB, negative none.
	CacheBytes int64
	// Source is the ce-source of stored commits; "reprise" if empty.
	Source string
	// MaxMessage bounds header and body of a commit in bytes; 0 means 1 MB.
	MaxMessage int
}

// Proposal is a decided change of one session.
type Proposal struct {
	Base Aggregate
	// Commit is complete but for Prev, which the store fills in.
	Commit *domain.Commit
	// Next is the state after the commit.
	Next *domain.Session
	// TraceParent is passed through as a header.
	TraceParent string
}

// The methods of Store, for those who read this file first:
//
//	Append(ctx, Proposal) (Aggregate, error)             one commit, guarded
//	AppendPair(ctx, a, b Proposal) (Aggregate, Aggregate, error)  two sessions or none
//	Load(ctx, Key) (Aggregate, error)                    cache, else snapshot and tail, else all
//	Confirm(ctx, Aggregate) (Aggregate, error)           the same or a newer one, read after the call
//	Commits(ctx, Key, fromVersion, fn) error             history, oldest first, verified
//	At(ctx, Key, Cut) (Aggregate, error)                 the state at a cut
//	Hydrate(ctx, Aggregate) (*domain.Session, error)     all payloads filled in
//	Payload(ctx, Aggregate, chain, step, kind) (json, error)
//	FindCommand(ctx, Aggregate, id) (Committed, bool, error)
//	Scan(ctx, Filter, fn) error / Follow(ctx, from, fn) error   decoded; damage is reported per message
//	Compact(ctx, Aggregate) error                        drops all before the tombstone
//	Position(seq) contract.Position, Info(ctx)
//	Observe(Committed)                                   the follower tells the cache what others wrote

// Cut says where to cut a history: the state after the last commit that is not
// beyond it. Exactly one field is set.
type Cut struct {
	Version uint64
	Seq     uint64
	Time    time.Time
}

var _ = contract.Position{}
