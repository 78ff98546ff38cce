package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// maxHeldHistory bounds the bodies that History keeps on its way back to the
// beginning, in bytes. Those of a longer history are read twice.
const maxHeldHistory = 4 << 20

// History calls fn for the messages of a session as they are stored, oldest
// first, up to a sequence of the stream (0: the end as it is now). Foreign
// messages are left out; nothing is verified, see Verifier. An error of fn ends
// it and is returned as it is; a message that is removed meanwhile is
// ErrNotFound.
func (s *Store) History(ctx context.Context, key Key, upTo uint64, fn func(Message) error) error {
	last, err := s.last(ctx, key)
	if err != nil || last.Seq == 0 {
		return err
	}
	var backward []Message // without a body where there are too many
	held := 0
	err = s.walk(ctx, last, func(m Message) (bool, error) {
		if upTo > 0 && m.Seq > upTo {
			return true, nil
		}
		if held += len(m.Body); held > maxHeldHistory {
			m = Message{Seq: m.Seq}
		}
		backward = append(backward, m)
		return true, nil
	})
	for _, m := range slices.Backward(backward) {
		if err == nil && m.Body == nil {
			m, err = s.again(ctx, key, m.Seq)
		}
		if err == nil {
			err = fn(m)
		}
		if err != nil {
			break
		}
	}
	return err
}

// again reads a message that History has met before.
func (s *Store) again(ctx context.Context, key Key, seq uint64) (Message, error) {
	m, err := s.driver.Get(ctx, seq)
	if err == nil && m.Key != key {
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		return m, fmt.Errorf("session %s, sequence %d was removed while it was read: %w", key, seq, ErrNotFound)
	}
	return m, err
}
