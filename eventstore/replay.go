package eventstore

import (
	"context"
	"errors"
)

// ErrHeadersOnly says that commits can't be decoded without their bodies; use Raw.
var ErrHeadersOnly = errors.New("commits can't be decoded headers-only; replay raw messages instead")

// Scan calls fn for every selected commit in the order of the stream, up to its
// end at the start of the call. A message that is no usable commit, foreign
// ones included, arrives as a *CommitError beside a Committed that has only its
// key and sequence; the replay goes on after it. An error of fn ends the replay
// and is returned as it is. Commits are read and decoded ahead, on other
// goroutines, which have ended when Scan returns; fn is called on the caller's.
func (s *Store) Scan(ctx context.Context, f Filter, fn func(Committed, error) error) error {
	if f.HeadersOnly {
		return ErrHeadersOnly
	}
	if f.Session != "" || f.To > 0 && f.To < f.From+scanAhead {
		return s.driver.Scan(ctx, f, func(m Message) error { return fn(s.decode(m)) })
	}
	return s.scanAhead(ctx, f, fn)
}

// Raw is Scan without decoding: every selected message as it is stored, foreign
// and damaged ones too. It is for audits, exports and replays headers-only.
func (s *Store) Raw(ctx context.Context, f Filter, fn func(Message) error) error {
	return s.driver.Scan(ctx, f, fn)
}
