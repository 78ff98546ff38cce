package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reprise/domain"
	"reprise/internal/killpoint"
)

// ErrNotGone says that the session has no tombstone, or something came after it.
var ErrNotGone = errors.New("the session has no tombstone")

// FinishPurge removes what stands before the tombstone of a session, whether
// that can be read or not. It may be called again. The error is ErrNotGone if
// the last message is no tombstone.
func (s *Store) FinishPurge(ctx context.Context, key Key) error {
	last, err := s.tombstone(ctx, key)
	if err != nil {
		return err
	}
	return s.driver.Compact(ctx, key, last.Seq)
}

// Expire removes the tombstone of a session, and with it the last trace: the id
// is free then. The error is ErrNotGone if the last message is no tombstone or
// not the one at seq.
func (s *Store) Expire(ctx context.Context, key Key, seq uint64) error {
	last, err := s.tombstone(ctx, key)
	if err != nil {
		return err
	}
	if last.Seq != seq {
		return fmt.Errorf("session %s: %w at sequence %d", key, ErrNotGone, seq)
	}
	defer s.cache.drop(key)
	return s.driver.Compact(ctx, key, seq+1)
}

// tombstone returns the last message of a session if it is a tombstone.
func (s *Store) tombstone(ctx context.Context, key Key) (Message, error) {
	last, err := s.last(ctx, key)
	if err != nil {
		return Message{}, err
	}
	if last.Seq == 0 || !last.Guarded {
		return Message{}, fmt.Errorf("session %s: %w", key, ErrNotGone)
	}
	c, err := s.decode(last)
	if err != nil {
		return Message{}, err
	}
	if c.Commit.Tombstone() == nil {
		return Message{}, fmt.Errorf("session %s: %w", key, ErrNotGone)
	}
	return last, nil
}

// Burial is the end of a history that has no beginning.
type Burial struct {
	Key Key
	// Last is the sequence of the last message that was seen of it.
	Last uint64
	// ID names the commit.
	ID, Actor, Reason, Policy string
	// Time is that of the tombstone; FirstTime and LastTime are when the first
	// and the last message were stored, Messages how many there are.
	Time, FirstTime, LastTime time.Time
	Messages                  uint64
}

// Bury puts a tombstone behind messages that are no session's, since what began
// it is missing, and removes them; the id is gone then. The error is ErrConflict
// if something came after Last.
func (s *Store) Bury(ctx context.Context, b Burial) (Aggregate, error) {
	base := empty(b.Key)
	base.Last = b.Last
	commit := &domain.Commit{
		ID: b.ID, Session: b.Key.Session, User: b.Key.User, Version: 1, Time: b.Time, Actor: b.Actor,
		Cause: domain.VerbPurge, Digest: domain.Digest(domain.VerbPurge, nil),
		Events: []domain.Event{&domain.SessionPurged{Tombstone: domain.Tombstone{
			By: b.Actor, Reason: b.Reason, Policy: b.Policy, Time: b.Time,
			FirstTime: b.FirstTime, LastTime: b.LastTime, Commits: b.Messages,
		}}},
	}
	a, err := s.Append(ctx, Proposal{Base: base, Commit: commit, Next: domain.Apply(base.Session, commit)})
	if err != nil {
		return Aggregate{}, err
	}
	killpoint.Pass(killpoint.DebrisEnded)
	return a, s.driver.Compact(ctx, b.Key, a.Seq)
}

// Present reports whether the store holds a message with that sequence.
func (s *Store) Present(ctx context.Context, seq uint64) (bool, error) {
	_, err := s.driver.Get(ctx, seq)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
