package eventstore

import (
	"context"
	"errors"
	"slices"
)

// walk calls visit for the messages of a session from head on backwards along
// the back pointers, newest first, until visit returns false or there is no
// message before. Foreign messages are reported and left out; since they have
// no back pointer, what lies before one is found by a filtered scan.
//
// A walk that ends because a message is missing ends like one at the beginning;
// fold tells the two apart.
func (s *Store) walk(ctx context.Context, head Message, visit func(Message) (bool, error)) error {
	return s.walkIn(ctx, hints{}, head, visit)
}

// hints let a walk fetch messages before it comes to them.
type hints struct {
	block *block             // the one whose end the head is; nil for none
	have  map[uint64]Message // what was fetched already, by sequence
}

// walkIn is walk with hints.
func (s *Store) walkIn(ctx context.Context, h hints, head Message, visit func(Message) (bool, error)) error {
	ahead := s.readAhead(ctx, head, h)
	defer ahead.close()
	for m := head; ; {
		if !m.Guarded {
			return s.walkScan(ctx, m, visit)
		}
		more, err := visit(m)
		if err != nil || !more || m.Prev == 0 || m.Prev >= m.Seq {
			return err
		}
		next, err := ahead.before(m)
		if errors.Is(err, ErrNotFound) || err == nil && next.Key != m.Key {
			return nil
		}
		if err != nil {
			return err
		}
		m = next
	}
}

// walkScan goes on with a walk that met a foreign message.
func (s *Store) walkScan(ctx context.Context, foreign Message, visit func(Message) (bool, error)) error {
	var found []Message
	filter := Filter{User: foreign.Key.User, Session: foreign.Key.Session, From: 1, To: foreign.Seq}
	err := s.driver.Scan(ctx, filter, func(m Message) error {
		if m.Guarded {
			found = append(found, m)
		} else {
			s.reportForeign(m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(found) {
		if more, err := visit(m); err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *Store) reportForeign(m Message) {
	s.damage.report(commitError(m, KindForeign, "the message carries no guard, so no engine wrote it", nil))
}

// decode reads a message and reports damage.
func (s *Store) decode(m Message) (Committed, error) {
	c, err := s.codec.Decode(m)
	if err != nil {
		s.reportDamage(err)
	}
	return c, err
}

func (s *Store) reportDamage(err error) {
	if damaged, ok := errors.AsType[*CommitError](err); ok {
		s.damage.report(damaged)
	}
}
