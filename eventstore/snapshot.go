package eventstore

import (
	"context"
	"slices"
	"time"

	"reprise/domain"
)

// base is a state to load from, if it proves to lie on the history.
type base struct {
	Aggregate
	// trimmed states do not remember all command ids that a replay would.
	trimmed bool
}

// snapshot asks for a kept state and returns it as a base, or nil. Whether it
// lies on the history is for the walk to say; what can be refused without
// reading the events is refused here.
func (s *Store) snapshot(ctx context.Context, key Key) *base {
	if s.snapshots == nil {
		return nil
	}
	snap, err := s.snapshots.Snapshot(ctx, key)
	if err != nil || snap.Session == nil {
		return nil
	}
	kept := snap.Session
	if snap.Schema != SchemaVersion || snap.Seq == 0 || kept.ID != key.Session || kept.User != key.User {
		s.loads.refused.Add(1)
		return nil
	}
	agg := Aggregate{Key: key, Session: kept, Seq: snap.Seq, Last: snap.Seq, Hash: snap.Hash}
	return &base{Aggregate: agg, trimmed: true}
}

// proves reports whether a message is the commit that a base claims to be the
// state after.
func (s *Store) proves(m Message, claim Aggregate) bool {
	if Hash(m.Body) != claim.Hash {
		return false
	}
	c, err := s.decode(m)
	return err == nil && c.Commit.LastVersion() == claim.Session.Version && c.Commit.State == claim.Session.State
}

// clockSlack is how far the clocks of engines may be apart, which write the times
// of commits.
const clockSlack = 10 * time.Second

// recallAt is the moment from which ids are remembered backwards: that of the
// last commit, as in a replay, or now. The next commit, which is no older,
// forgets what is left out for being too old by now.
func (s *Store) recallAt(session *domain.Session) time.Time {
	at := session.UpdatedAt
	if s.clock == nil {
		return at
	}
	if now := s.clock().Add(-clockSlack); now.After(at) {
		return now
	}
	return at
}

// complete reports whether the command ids of a state are all that have to be
// remembered at a moment.
func complete(s *domain.Session, at time.Time) bool {
	n := len(s.Recent)
	if uint64(n) >= s.Commits || n >= domain.RecentMax {
		return true
	}
	return n >= domain.RecentMin && at.Sub(s.Recent[0].Time) > domain.RecentWindow
}

// fillRecent puts the command ids back that a snapshot left out: those of the
// commits before the one at which the snapshot was taken, as far back as they
// have to be remembered. The hash chain is verified on the way.
func (s *Store) fillRecent(ctx context.Context, session *domain.Session, at Message) (*domain.Session, error) {
	recall := s.recallAt(session)
	if complete(session, recall) {
		return session, nil
	}
	var older []domain.Applied
	var next Committed
	err := s.walk(ctx, at, func(m Message) (bool, error) {
		c, err := s.decode(m)
		if err == nil && next.Commit != nil {
			err = s.linked(c, next)
		}
		if err != nil {
			return false, err
		}
		next = c
		if len(session.Recent) > 0 && c.Commit.Version >= session.Recent[0].Version {
			return true, nil
		}
		if !remembered(session, recall, len(older), c.Commit) {
			return false, nil
		}
		older = append(older, applied(c.Commit))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(older)
	filled := *session
	filled.Recent = slices.Concat(older, session.Recent)
	return &filled, nil
}

// remembered reports whether a commit has to be remembered at a moment, given how
// many younger ones there are beyond those the state remembers.
func remembered(s *domain.Session, at time.Time, younger int, c *domain.Commit) bool {
	n := len(s.Recent) + younger
	return n < domain.RecentMin || n < domain.RecentMax && at.Sub(c.Time) <= domain.RecentWindow
}

// applied is what a session remembers of a commit.
func applied(c *domain.Commit) domain.Applied {
	only := &domain.Commit{ID: c.ID, Digest: c.Digest, Version: c.Version, Time: c.Time}
	return domain.Apply(&domain.Session{}, only).Recent[0]
}

// linked checks that a commit is the one that the next one follows on.
func (s *Store) linked(c, next Committed) error {
	var err *CommitError
	switch {
	case c.Hash != next.Commit.Prev:
		err = linkError(next, KindHashChain, "the commit names %.16q as the hash of the one before it; that at sequence %d hashes to %.16q", next.Commit.Prev, c.Seq, c.Hash)
	case c.Commit.LastVersion()+1 != next.Commit.Version:
		err = linkError(next, KindVersionGap, "the commit has version %d; after version %d at sequence %d it has to be %d", next.Commit.Version, c.Commit.LastVersion(), c.Seq, c.Commit.LastVersion()+1)
	default:
		return nil
	}
	s.damage.report(err)
	return err
}
