package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// SchemaVersion is the version of the state that Snapshot keeps. A snapshot of
// another schema is not used.
const SchemaVersion = 1

// The defaults of Config.
const (
	defaultCacheBytes = 512 << 20
	defaultSource     = "reprise"
	defaultMaxMessage = 1 << 20
)

// maxSourceLength bounds Config.Source in bytes.
const maxSourceLength = 256

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

// Committed is a commit with its place in the store. Whoever gets one must not
// change the commit.
type Committed struct {
	Key Key
	Seq uint64
	// Prev is the back pointer: the sequence of the message before it on the
	// session's subject, 0 if there was none.
	Prev   uint64
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
//
// Snapshot is called from many goroutines at once.
type Snapshots interface {
	Snapshot(ctx context.Context, key Key) (Snapshot, error)
}

// Config configures a Store. The zero value of each field but Driver is a good
// default.
type Config struct {
	Driver    Driver
	Snapshots Snapshots
	// Blocks are the history blocks of long sessions; nil means none.
	Blocks Blocks
	// Lacking is told of sessions of which a walk found blocks missing; nil for
	// nobody. It is called from many goroutines and must not block.
	Lacking func(Key)
	// CacheBytes bounds the aggregate cache; 0 means 512 MiB, negative none.
	CacheBytes int64
	// Source is the ce-source of stored commits; "reprise" if empty.
	Source string
	// MaxMessage bounds header and body of a commit in bytes; 0 means 1 MB.
	MaxMessage int
	// Codec reads and writes the bodies of commits.
	Codec Codec
	// Clock lets a load leave out command ids that are older than they have to be
	// remembered; without one it reads those that a replay would remember.
	Clock func() time.Time
	// Logger reports foreign and damaged messages, each once; nil means none.
	Logger *slog.Logger
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

// Cut says where to cut a history: the state after the last commit that is not
// beyond it. Exactly one field is set.
type Cut struct {
	Version uint64
	Seq     uint64
	Time    time.Time
}

// Store keeps sessions. All methods are safe for concurrent use. Every error
// that comes from the backend matches one of this package's with errors.Is.
type Store struct {
	driver      Driver
	snapshots   Snapshots
	blocks      Blocks
	lacking     func(Key)
	clock       func() time.Time
	codec       Codec
	source      string
	maxMessage  int
	incarnation string
	cache       *cache
	own         *ownCommits
	damage      damage
	loads       loadCounters
	followed    followCounters
}

// Stats are counters of one Store since it was opened.
type Stats struct {
	// Foreign counts the messages without a guard that were met, Corrupt the
	// ones that carry a guard and can't be read; each message counts once.
	Foreign, Corrupt uint64
	// CacheHits and CacheMisses count loads; CacheBytes and CacheSessions say
	// what the cache holds now, and CacheLimit how many bytes it may hold.
	CacheHits, CacheMisses uint64
	CacheBytes, CacheLimit int64
	CacheSessions          int
	// SnapshotLoads and FullLoads count the misses that began from a snapshot
	// and from nothing. SnapshotsRefused counts snapshots that did not prove to
	// lie on their session's history.
	SnapshotLoads, FullLoads, SnapshotsRefused uint64
	// FollowedOwn counts the commits that a follower was handed without reading
	// the stream, FollowedRead the messages that it was handed from the stream.
	FollowedOwn, FollowedRead uint64
	// BlocksUsed counts the history blocks that proved to be true when a walk
	// began or a state was taken from there, BlocksRefused those that did not.
	BlocksUsed, BlocksRefused uint64
}

type loadCounters struct{ snapshot, full, refused, blocks, blocksRefused atomic.Uint64 }

type followCounters struct{ own, read atomic.Uint64 }

// Open makes a Store over a driver and asks it once for its incarnation. It
// starts nothing and there is nothing to close; the driver stays the caller's.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	info, err := cfg.Driver.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the event store: %w", err)
	}
	s := &Store{
		driver: cfg.Driver, snapshots: cfg.Snapshots, blocks: cfg.Blocks, lacking: cfg.Lacking, clock: cfg.Clock, codec: cfg.Codec, source: cfg.Source,
		maxMessage: cfg.MaxMessage, incarnation: info.Incarnation, own: newOwnCommits(),
	}
	if s.lacking == nil {
		s.lacking = func(Key) {}
	}
	if s.source == "" {
		s.source = defaultSource
	}
	if s.maxMessage == 0 {
		s.maxMessage = defaultMaxMessage
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCacheBytes
	}
	s.cache = newCache(cfg.CacheBytes)
	s.damage.log = cfg.Logger
	return s, nil
}

func (cfg *Config) check() error {
	var errs []error
	if cfg.Driver == nil {
		errs = append(errs, errors.New("event store: Config.Driver is missing"))
	}
	if cfg.Source != "" && !printable(cfg.Source, maxSourceLength) {
		errs = append(errs, fmt.Errorf("event store: Config.Source %.80q: use 1 to %d printable ASCII characters without spaces", cfg.Source, maxSourceLength))
	}
	if cfg.MaxMessage < 0 {
		errs = append(errs, fmt.Errorf("event store: Config.MaxMessage is %d; use 0 for the default or a size in bytes", cfg.MaxMessage))
	}
	return errors.Join(errs...)
}

// Position returns a sequence as a position in this incarnation of the store.
func (s *Store) Position(seq uint64) contract.Position {
	return contract.Position{Incarnation: s.incarnation, Seq: seq}
}

// Info describes the store as it is now.
func (s *Store) Info(ctx context.Context) (Info, error) { return s.driver.Info(ctx) }

// Features says in what the backend differs from others.
func (s *Store) Features() Features { return s.driver.Features() }

// Stats returns the counters.
func (s *Store) Stats() Stats {
	st := s.cache.stats()
	st.Foreign, st.Corrupt = s.damage.foreign.Load(), s.damage.corrupt.Load()
	st.SnapshotLoads, st.FullLoads = s.loads.snapshot.Load(), s.loads.full.Load()
	st.SnapshotsRefused = s.loads.refused.Load()
	st.FollowedOwn, st.FollowedRead = s.followed.own.Load(), s.followed.read.Load()
	st.BlocksUsed, st.BlocksRefused = s.loads.blocks.Load(), s.loads.blocksRefused.Load()
	return st
}
