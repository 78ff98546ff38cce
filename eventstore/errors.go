package eventstore

import (
	"errors"
	"fmt"
)

// The questions a caller may ask of an error with errors.Is.
var (
	// ErrConflict: the session has moved since it was read; reload and decide again.
	ErrConflict = errors.New("the session has changed since it was read")
	// ErrUnguarded: an append without an expectation; a programming error.
	ErrUnguarded = errors.New("an append needs a guard")
	// ErrNotFound: there is no such message.
	ErrNotFound = errors.New("no such message")
	// ErrUnknownOutcome: the append was sent and no answer came; it may or may
	// not have been stored.
	ErrUnknownOutcome = errors.New("it is not known whether the commit was stored")
	// ErrCorrupt: a stored commit can't be read; the detail is a *CommitError.
	ErrCorrupt = errors.New("a stored commit can't be read")
	// ErrUnavailable: the store can't be reached or can't write (disk full,
	// read-only, no leader).
	ErrUnavailable = errors.New("the event store is unavailable")
	// ErrIncarnation: the store was made anew while it was in use, and its
	// sequences begin at 1 again.
	ErrIncarnation = errors.New("the event store is not the one that was opened")
	// ErrTooLarge: the commit does not fit one message.
	ErrTooLarge = errors.New("the commit is larger than one message may be")
)

// CommitError says which stored commit can't be used and why. It is ErrCorrupt.
type CommitError struct {
	Key Key
	Seq uint64
	// Kind is "bytes", "unknown event type", "unknown version", "hash chain",
	// "version gap" or "foreign".
	Kind   string
	Detail string
	Err    error
}

// Error names the session, the sequence and what is wrong.
func (e *CommitError) Error() string {
	return fmt.Sprintf("session %s, sequence %d: %s: %s", e.Key, e.Seq, e.Kind, e.Detail)
}

// Unwrap returns the cause.
func (e *CommitError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CommitError) Is(target error) bool { return target == ErrCorrupt }
