package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reprise/contract"
)

// Key names one session: the raw user id and the session id.
type Key struct{ User, Session string }

// String returns user token and session id joined by a dot, as KV keys have them.
func (k Key) String() string { return contract.ViewKey(k.User, k.Session) }

// Guard is the expectation of an append: the sequence of the last message on
// the session's subject. The zero value is refused with ErrUnguarded; make one
// with ExpectNew or ExpectLast.
type Guard struct {
	set bool
	seq uint64
}

// ExpectNew expects that the subject holds nothing.
func ExpectNew() Guard { return Guard{set: true} }

// ExpectLast expects that the last message of the subject has this sequence;
// 0 is the same as ExpectNew.
func ExpectLast(seq uint64) Guard { return Guard{set: true, seq: seq} }

// Seq returns the expected sequence and whether the guard was set at all.
func (g Guard) Seq() (uint64, bool) { return g.seq, g.set }

// Record is one commit on its way into the store, encoded.
type Record struct {
	Key   Key
	Guard Guard
	// Header has the commit's own headers, without the guard.
	Header map[string]string
	Body   []byte
}

// Message is one message of the event stream as it is stored.
type Message struct {
	Key Key
	Seq uint64
	// Prev is what the guard of the append said: the back pointer to the
	// previous message of the session. Guarded is false for a foreign message,
	// which was written by somebody else than an engine.
	Prev    uint64
	Guarded bool
	Header  map[string]string
	Body    []byte
	// Size is what it takes of Info.Bytes, also where the body was left out.
	Size uint64
	// Time is when the server stored it.
	Time time.Time
}

// Filter selects messages of a replay. The zero value selects all.
type Filter struct {
	// User and Session narrow to one user, or to one session of that user.
	User, Session string
	// From is the first sequence, To the last (0: the end as it is at the start).
	From, To uint64
	// HeadersOnly leaves the bodies out.
	HeadersOnly bool
}

// Info describes a store.
type Info struct {
	// Incarnation identifies the stream; one that is made anew has another.
	Incarnation string
	First, Last uint64
	Messages    uint64
	Bytes       uint64
	// Subjects is the number of sessions that hold at least one message.
	Subjects uint64
	// Deleted is the number of interior deletes.
	Deleted uint64
}

// Features declares in what a driver differs from others.
type Features struct {
	// Durable stores keep everything over a restart of the process.
	Durable bool
	// Replicated stores may answer a plain read from a replica that is behind.
	Replicated bool
}

// Driver is the small part that differs between backends. Retries, codec,
// hashing and folding live in Store, above it. All methods are safe for
// concurrent use.
type Driver interface {
	Features() Features
	// Append stores all records in one atomic step, each under its guard, and
	// returns their sequences. A failed guard is ErrConflict and nothing is
	// stored. When it can't be known whether the records were stored the error
	// is ErrUnknownOutcome. The records must not be changed afterwards, after
	// an error either: the driver may still be about to send them.
	Append(ctx context.Context, records []Record) ([]uint64, error)
	// Get returns the message with that sequence, or ErrNotFound.
	Get(ctx context.Context, seq uint64) (Message, error)
	// Last returns the last message of a session, or ErrNotFound. It decides
	// things, so it never answers from a replica that may be behind.
	Last(ctx context.Context, key Key) (Message, error)
	// Scan calls fn for every selected message in order, up to the end of the
	// stream as it was at the start, and stops at fn's first error.
	Scan(ctx context.Context, f Filter, fn func(Message) error) error
	// Follow calls fn for every message from a sequence on, in order and for
	// ever, until ctx ends or fn returns an error; it survives reconnects.
	Follow(ctx context.Context, from uint64, fn func(Message) error) error
	// Compact removes the messages of a session before a sequence.
	Compact(ctx context.Context, key Key, before uint64) error
	Info(ctx context.Context) (Info, error)
}

// Fetcher is a driver that can get many messages in less time than one by one.
type Fetcher interface {
	// Fetch calls fn for the messages with these sequences, in any order; it may
	// leave some out, for which Get has to be asked then. The calls come one at a
	// time, before Fetch returns.
	Fetch(ctx context.Context, seqs []uint64, fn func(Message)) error
}

// CheckRecords is what every driver asks first of an append: at least one
// record, each with a guard, no two for one session.
func CheckRecords(records []Record) error {
	if len(records) == 0 {
		return errors.New("an append needs a record")
	}
	for i, r := range records {
		if !r.Guard.set {
			return fmt.Errorf("session %s: %w; use ExpectNew or ExpectLast", r.Key, ErrUnguarded)
		}
		for _, other := range records[:i] {
			if other.Key == r.Key {
				return fmt.Errorf("session %s: two records of one session in one append", r.Key)
			}
		}
	}
	return nil
}
