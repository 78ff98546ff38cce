package eventstore

import (
	"fmt"
	"slices"

	"reprise/domain"
)

// empty is the aggregate of a session that has no commits.
func empty(key Key) Aggregate {
	return Aggregate{Key: key, Session: domain.New(key.User, key.Session)}
}

// advance returns the aggregate after one more commit, or a *CommitError if the
// commit does not follow on it. A tombstone may begin a history, since what was
// before it is removed.
func advance(agg Aggregate, c Committed) (Aggregate, error) {
	if err := follows(agg, c); err != nil {
		return agg, err
	}
	return Aggregate{
		Key: agg.Key, Session: domain.Apply(agg.Session, c.Commit),
		Seq: c.Seq, Last: max(c.Seq, agg.Last), Hash: c.Hash,
	}, nil
}

func follows(agg Aggregate, c Committed) error {
	begins := agg.Seq == 0
	if begins && c.Commit.Tombstone() != nil {
		return nil
	}
	next := agg.Session.Version + 1
	switch {
	case c.Commit.Version != next && begins:
		return linkError(c, KindVersionGap, "the history begins with version %d; the commits before it are missing and there is no tombstone", c.Commit.Version)
	case c.Commit.Version != next:
		return linkError(c, KindVersionGap, "the commit has version %d; after version %d at sequence %d it has to be %d", c.Commit.Version, agg.Session.Version, agg.Seq, next)
	case c.Commit.Prev != agg.Hash && begins:
		return linkError(c, KindHashChain, "the first commit names %.16q as the one before it", c.Commit.Prev)
	case c.Commit.Prev != agg.Hash:
		return linkError(c, KindHashChain, "the commit names %.16q as the hash of the one before it; that at sequence %d hashes to %.16q", c.Commit.Prev, agg.Seq, agg.Hash)
	}
	return nil
}

func linkError(c Committed, kind, format string, args ...any) *CommitError {
	return &CommitError{Key: c.Key, Seq: c.Seq, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// decoded is a message of a walk: a commit, or why it is none.
type decoded struct {
	Committed
	err error
}

func (s *Store) decoded(m Message) decoded {
	c, err := s.decode(m)
	return decoded{c, err}
}

// foldBack applies commits that are given newest first to a base. It fails at
// the oldest one that can't be used.
func foldBack(base Aggregate, newestFirst []decoded) (Aggregate, error) {
	agg := base
	for _, c := range slices.Backward(newestFirst) {
		err := c.err
		if err == nil {
			agg, err = advance(agg, c.Committed)
		}
		if err != nil {
			return base, err
		}
	}
	return agg, nil
}

// sinceTombstone returns what counts of a history that is given newest first:
// all of it, or the tombstone alone if what was before is being removed.
func sinceTombstone(newestFirst []decoded) []decoded {
	newest, oldest := newestFirst[0], newestFirst[len(newestFirst)-1]
	if oldest.Prev == 0 || newest.err != nil || newest.Commit.Tombstone() == nil {
		return newestFirst
	}
	return newestFirst[:1]
}
