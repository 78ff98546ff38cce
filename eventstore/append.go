package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"reprise/domain"
)

// The bounds of reading back after an append whose answer is not clear.
const (
	// maxReadBack is how many messages of a session are looked at.
	maxReadBack = 64
	// readBackTimeout is how long it may take, beyond the caller's own deadline.
	readBackTimeout = 2 * time.Second
)

// maxNotMoved is how often an append is sent again whose guard was refused
// although the subject is where the guard says; the first time after
// notMovedPause, then each time after four times as long.
const (
	maxNotMoved   = 3
	notMovedPause = 2 * time.Millisecond
)

// errNotMoved: the guard was refused, and the subject has not moved. A
// replicated stream answers so for a moment after it has acknowledged the append
// before (nats-server 2.15.2, expectedPerSubjectInProcess). Nothing was stored,
// so the append may be sent again.
var errNotMoved = errors.New("the guard was refused although the session has not changed")

// proposed is a proposal on its way into the store.
type proposed struct {
	Proposal
	commit *domain.Commit
	record Record
	hash   string
}

// Append stores one commit and returns the aggregate after it, which is in the
// cache then. A commit that turns out to be stored already, byte for byte at
// this place, is a success with its sequence: an acknowledgement was lost.
//
// The errors are ErrConflict (reload and decide again), ErrUnknownOutcome (it
// may or may not be stored, now or in a moment), ErrTooLarge and ErrUnavailable
// (nothing was stored).
func (s *Store) Append(ctx context.Context, p Proposal) (Aggregate, error) {
	all, err := s.append(ctx, p)
	if err != nil {
		return Aggregate{}, err
	}
	return all[0], nil
}

// AppendPair stores the commits of two different sessions in one atomic step:
// both or neither. The errors are those of Append.
func (s *Store) AppendPair(ctx context.Context, a, b Proposal) (Aggregate, Aggregate, error) {
	if a.Base.Key == b.Base.Key {
		return Aggregate{}, Aggregate{}, fmt.Errorf("session %s: an append over two sessions needs two", a.Base.Key)
	}
	all, err := s.append(ctx, a, b)
	if err != nil {
		return Aggregate{}, Aggregate{}, err
	}
	return all[0], all[1], nil
}

func (s *Store) append(ctx context.Context, proposals ...Proposal) ([]Aggregate, error) {
	list := make([]proposed, len(proposals))
	records := make([]Record, len(proposals))
	for i, p := range proposals {
		one, err := s.propose(p)
		if err != nil {
			return nil, err
		}
		list[i], records[i] = one, one.record
	}
	defer s.own.end(s.own.begin())
	seqs, err := s.driver.Append(ctx, records)
	for again := 0; err != nil; again++ {
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknownOutcome) {
			return nil, err
		}
		found, back := s.readBack(ctx, list, err)
		if !errors.Is(back, errNotMoved) || again == maxNotMoved {
			return found, back
		}
		if !wait(ctx, notMovedPause<<(2*again)) {
			return found, back
		}
		seqs, err = s.driver.Append(ctx, records)
	}
	out := make([]Aggregate, len(list))
	for i, p := range list {
		out[i] = p.after(seqs[i])
		s.cache.put(out[i]) // before the follower asks for it
		s.feed(p, seqs[i])
	}
	return out, nil
}

// wait waits for a time; false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// propose checks a proposal and encodes it.
func (s *Store) propose(p Proposal) (proposed, error) {
	if err := p.check(); err != nil {
		return proposed{}, err
	}
	commit := *p.Commit
	commit.Prev = p.Base.Hash
	body, err := s.codec.Encode(&commit)
	if err != nil {
		return proposed{}, fmt.Errorf("session %s, version %d: %w", p.Base.Key, commit.Version, err)
	}
	h := header(p.Base.Key, &commit, s.source, p.TraceParent)
	if size := messageSize(h, body); size > s.maxMessage {
		return proposed{}, fmt.Errorf("session %s, version %d: %w: it has %d bytes and the limit is %d; send smaller inputs and outputs, or fewer commands in one batch",
			p.Base.Key, commit.Version, ErrTooLarge, size, s.maxMessage)
	}
	record := Record{Key: p.Base.Key, Guard: ExpectLast(p.Base.Last), Header: h, Body: body}
	return proposed{Proposal: p, commit: &commit, record: record, hash: Hash(body)}, nil
}

// check refuses what only a mistake in this program can propose.
func (p *Proposal) check() error {
	c, base := p.Commit, p.Base
	switch {
	case c == nil || base.Session == nil || p.Next == nil:
		return errors.New("a proposal needs a base, a commit and the state after it")
	case c.Session != base.Key.Session || c.User != base.Key.User:
		return fmt.Errorf("session %s: the commit names session %q of user %q", base.Key, c.Session, c.User)
	case len(c.Events) == 0:
		return fmt.Errorf("session %s: a commit needs events", base.Key)
	case c.Version != base.Session.Version+1:
		return fmt.Errorf("session %s: the commit has version %d; after version %d it has to be %d", base.Key, c.Version, base.Session.Version, base.Session.Version+1)
	case p.Next.Version != c.LastVersion():
		return fmt.Errorf("session %s: the state after the commit has version %d, not %d", base.Key, p.Next.Version, c.LastVersion())
	}
	return nil
}

// appended is the aggregate after a stored proposal, which the follower gets.
func (s *Store) appended(p proposed, seq uint64) Aggregate {
	s.feed(p, seq)
	return p.after(seq)
}

// after is the aggregate after a stored proposal.
func (p *proposed) after(seq uint64) Aggregate {
	return Aggregate{Key: p.Base.Key, Session: p.Next, Seq: seq, Last: seq, Hash: p.hash}
}

// feed gives a stored proposal to the follower.
func (s *Store) feed(p proposed, seq uint64) {
	s.own.add(Committed{Key: p.Base.Key, Seq: seq, Prev: p.Base.Last, Hash: p.hash, Commit: p.commit}, p.record.Body)
}

// readBack finds out what became of an append whose answer was a conflict or
// none. Found with the same bytes, it is a success. A subject that has moved
// past the guard without it is a conflict for good, since the guard can't hold
// any more. Anything else stays as it was. What was cached is not trusted.
func (s *Store) readBack(ctx context.Context, list []proposed, cause error) ([]Aggregate, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBackTimeout)
	defer cancel()
	out := make([]Aggregate, 0, len(list))
	moved := false
	for _, p := range list {
		s.cache.drop(p.Base.Key)
		seq, last, err := s.findStored(ctx, p)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w; reading it back failed: %v", cause, err) //nolint:errorlint // the cause alone decides what to do
		case seq > 0:
			out = append(out, s.appended(p, seq))
		case last != p.Base.Last:
			moved = true
		}
	}
	switch {
	case len(out) == len(list):
		return out, nil
	case moved:
		return nil, fmt.Errorf("session %s: %w", list[0].Base.Key, ErrConflict)
	case errors.Is(cause, ErrConflict):
		return nil, errors.Join(errNotMoved, cause)
	}
	return nil, cause
}

// findStored looks for a proposal among the messages after its base. It returns
// its sequence, or 0, and the last sequence of the subject.
func (s *Store) findStored(ctx context.Context, p proposed) (seq, last uint64, err error) {
	m, err := s.driver.Last(ctx, p.Base.Key)
	if errors.Is(err, ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	last = m.Seq
	for range maxReadBack {
		if m.Seq <= p.Base.Last {
			return 0, last, nil
		}
		if m.Guarded && m.Prev == p.Base.Last && bytes.Equal(m.Body, p.record.Body) {
			return m.Seq, last, nil
		}
		if m.Prev == 0 || m.Prev >= m.Seq {
			return 0, last, nil
		}
		m, err = s.driver.Get(ctx, m.Prev)
		if errors.Is(err, ErrNotFound) {
			return 0, last, nil
		}
		if err != nil {
			return 0, last, err
		}
	}
	return 0, last, nil
}
