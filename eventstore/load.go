package eventstore

import (
	"context"
	"errors"
)

// maxLoadAttempts bounds how often a load begins again because the session was
// compacted or went on while it was read.
const maxLoadAttempts = 4

// Load returns the aggregate of a session: from the cache, else from a snapshot
// and the commits after it, else from all commits. A session that was never
// created has an aggregate too, with Seq 0. What it returns may be older than
// the store; see Confirm.
//
// The errors are ErrCorrupt (a *CommitError that says where the history breaks)
// and ErrUnavailable.
func (s *Store) Load(ctx context.Context, key Key) (Aggregate, error) {
	if agg, ok := s.cache.get(key); ok {
		return agg, nil
	}
	moves := s.cache.reading(key)
	agg, err := s.read(ctx, key, true)
	if err != nil {
		s.reportDamage(err)
		return Aggregate{}, err
	}
	if agg.Last > 0 {
		s.cache.keep(agg, moves)
	}
	return agg, nil
}

// Cached returns the aggregate of a session if it is in memory.
func (s *Store) Cached(key Key) (Aggregate, bool) { return s.cache.peek(key) }

// Presume returns the aggregate of a session that is likely to be new, without
// asking the store: the cached one, or that of a session that was never created.
// presumed says that it is the latter; an append to it is refused with ErrConflict
// if the session is there, or was.
func (s *Store) Presume(key Key) (agg Aggregate, presumed bool) {
	if agg, ok := s.cache.peek(key); ok {
		return agg, false
	}
	return empty(key), true
}

// Confirm returns the aggregate if it is the newest one at some moment after
// the call, else the newest one, read again. The errors are those of Load.
func (s *Store) Confirm(ctx context.Context, agg Aggregate) (Aggregate, error) {
	moves := s.cache.reading(agg.Key)
	last, err := s.last(ctx, agg.Key)
	if err != nil {
		return Aggregate{}, err
	}
	if last.Seq == agg.Last && (last.Seq != agg.Seq || agg.Seq == 0 || Hash(last.Body) == agg.Hash) {
		return agg, nil
	}
	next, err := s.readFrom(ctx, agg.Key, last, &base{Aggregate: agg})
	if errors.Is(err, ErrCorrupt) {
		next, err = s.read(ctx, agg.Key, false)
	}
	if err != nil {
		s.reportDamage(err)
		s.cache.drop(agg.Key)
		return Aggregate{}, err
	}
	s.cache.keep(next, moves)
	return next, nil
}

// Forget drops a session from the cache, so that the next Load reads it again.
func (s *Store) Forget(key Key) { s.cache.drop(key) }

// Observe tells the cache of a commit that was stored, by whomever, in the
// order of the stream. A cached aggregate that the commit follows on is
// advanced, one that it does not fit is dropped, a newer one stays.
func (s *Store) Observe(c Committed) {
	agg, ok := s.cache.peek(c.Key)
	if !ok {
		s.cache.missed(c.Key)
		return
	}
	if c.Commit == nil || c.Seq <= agg.Last {
		return
	}
	next, err := advance(agg, c)
	if err != nil || c.Prev != agg.Last {
		s.cache.drop(c.Key)
		return
	}
	s.cache.swap(agg, next)
}

// last is the driver's, with a zero message for a session without any.
func (s *Store) last(ctx context.Context, key Key) (Message, error) {
	m, err := s.driver.Last(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return Message{Key: key}, nil
	}
	return m, err
}

// read loads a session from the store, with a snapshot if it may. A history
// that seems to break is read again if the session has moved meanwhile: it may
// have been compacted between two reads.
func (s *Store) read(ctx context.Context, key Key, snapshot bool) (Aggregate, error) {
	last, err := s.last(ctx, key)
	if err != nil {
		return Aggregate{}, err
	}
	var from *base
	if snapshot {
		if from, last, err = s.baseFor(ctx, last); err != nil {
			return Aggregate{}, err
		}
	}
	if from == nil {
		if agg, ok := s.blockBefore(ctx, last, Cut{Seq: last.Seq}); ok {
			from = &base{Aggregate: agg, trimmed: true}
		}
	}
	for attempt := 1; ; attempt++ {
		agg, err := s.readFrom(ctx, key, last, from)
		if err == nil || attempt == maxLoadAttempts || !errors.Is(err, ErrCorrupt) {
			return agg, err
		}
		again, lastErr := s.last(ctx, key)
		if lastErr != nil || again.Seq == last.Seq {
			return agg, err
		}
		last, from = again, nil
	}
}

// baseFor returns the snapshot of a session, nil for none, and its last message:
// the given one, or a newer one that the snapshot tells of. A history of one
// commit is in its last message, and needs no snapshot: to read one is dear where
// the server has to fetch it from disk.
func (s *Store) baseFor(ctx context.Context, last Message) (*base, Message, error) {
	if last.Seq == 0 || last.Guarded && last.Prev == 0 {
		return nil, last, nil
	}
	from := s.snapshot(ctx, last.Key)
	if from == nil || from.Seq <= last.Seq {
		return from, last, nil
	}
	last, err := s.last(ctx, last.Key)
	return from, last, err
}

// readFrom loads a session whose last message is given. The base is used if
// the walk back from the last message lands on it, and proves to be the commit
// there; otherwise everything is read.
func (s *Store) readFrom(ctx context.Context, key Key, last Message, from *base) (Aggregate, error) {
	if last.Seq == 0 {
		return empty(key), nil
	}
	var tail []decoded
	var landed *Message
	err := s.walk(ctx, last, func(m Message) (bool, error) {
		if from != nil && m.Seq == from.Seq && s.proves(m, from.Aggregate) {
			landed = &m
			return false, nil
		}
		tail = append(tail, s.decoded(m))
		return true, nil
	})
	if err != nil {
		return Aggregate{}, err
	}
	s.countLoad(landed != nil, from != nil)
	start := empty(key)
	if landed != nil {
		start = from.Aggregate
	}
	if landed == nil && len(tail) > 0 {
		tail = sinceTombstone(tail)
	}
	agg, err := foldBack(start, tail)
	if err != nil {
		return Aggregate{}, err
	}
	if landed != nil && from.trimmed {
		agg.Session, err = s.fillRecent(ctx, agg.Session, *landed)
	}
	agg.Last = last.Seq
	return agg, err
}

func (s *Store) countLoad(landed, hadBase bool) {
	switch {
	case landed:
		s.loads.snapshot.Add(1)
	case hadBase:
		s.loads.refused.Add(1)
		s.loads.full.Add(1)
	default:
		s.loads.full.Add(1)
	}
}
