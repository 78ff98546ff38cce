package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/killpoint"
)

// KindState of a CommitError: what the commit says the session became is not
// what its events come to.
const KindState = "state"

// The bounds of the headers that a restored commit may bring along.
const (
	maxRestoredHeaders = 32
	maxRestoredHeader  = 1024 // bytes of one value
)

// cloudEvents begins the names of the headers of CloudEvents.
const cloudEvents = "ce-"

// Original is a commit as another store held it.
type Original struct {
	// Header may have anything; only what is allowed is restored.
	Header map[string]string
	// Body is restored byte for byte.
	Body []byte
}

// Verifier checks the history of one session without a store: that every commit
// is one, follows on the one before by version and hash, and comes to the state
// it says. Make one with NewVerifier; it is for one goroutine.
type Verifier struct {
	codec Codec
	agg   Aggregate
}

// NewVerifier begins a history.
func NewVerifier(key Key, codec Codec) *Verifier {
	return &Verifier{codec: codec, agg: empty(key)}
}

// Add checks the next commit and returns it. The error is a *CommitError; its
// sequences, and those of the commit, count the commits of the history.
func (v *Verifier) Add(body []byte) (Committed, error) {
	m := Message{Key: v.agg.Key, Seq: v.agg.Seq + 1, Prev: v.agg.Seq, Guarded: true, Body: body}
	c, err := v.codec.Decode(m)
	if err != nil {
		return Committed{}, err
	}
	next, err := restoredAfter(v.agg, c)
	if err == nil {
		v.agg = next
	}
	return c, err
}

// Aggregate returns the session after the commits so far. Its sequences count
// commits.
func (v *Verifier) Aggregate() Aggregate { return v.agg }

// restoredAfter is advance for a commit that was not decided here, so that what
// it says of itself is checked as well.
func restoredAfter(base Aggregate, c Committed) (Aggregate, error) {
	if base.Session.Gone != nil {
		return base, linkError(c, KindVersionGap, "the history goes on after its tombstone")
	}
	next, err := advance(base, c)
	if err == nil && next.Session.State != c.Commit.State {
		err = linkError(c, KindState, "the commit says that the session is %.20q after it; its events make it %s", c.Commit.State, orNone(next.Session.State))
	}
	return next, err
}

func orNone(s domain.State) string {
	if s == domain.StateNone {
		return "nothing"
	}
	return string(s)
}

// CheckRestore returns ErrTooLarge for a commit that this store has no room for
// in one message.
func (s *Store) CheckRestore(c Committed, o Original) error {
	if size := messageSize(s.restoredHeader(c, o.Header), o.Body); size > s.maxMessage {
		return fmt.Errorf("session %s, version %d: %w: it has %d bytes and the limit here is %d; raise max_payload of the server",
			c.Key, c.Commit.Version, ErrTooLarge, size, s.maxMessage)
	}
	return nil
}

// Restore appends a commit of another store, byte for byte, after base, under a
// guard of this store. What was stored by an earlier try is found again. The
// headers are made anew; of those it had only the source, the trace and other
// CloudEvents attributes are taken over.
//
// The errors are a *CommitError (the commit does not follow on base), those of
// Append, and ErrConflict for good if the session here has gone on otherwise.
func (s *Store) Restore(ctx context.Context, base Aggregate, o Original) (Aggregate, error) {
	p, err := s.restored(base, o)
	if err != nil {
		return Aggregate{}, err
	}
	s.cache.drop(base.Key)
	defer s.own.end(s.own.begin())
	seqs, err := s.driver.Append(ctx, []Record{p.record})
	switch {
	case err == nil:
		killpoint.Pass(killpoint.CommitRestored)
		return s.appended(p, seqs[0]), nil
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUnknownOutcome):
		found, err := s.readBack(ctx, []proposed{p}, err)
		if err != nil {
			return Aggregate{}, err
		}
		return found[0], nil
	}
	return Aggregate{}, err
}

// restored makes a proposal of a commit that exists.
func (s *Store) restored(base Aggregate, o Original) (proposed, error) {
	m := Message{Key: base.Key, Seq: base.Last + 1, Prev: base.Last, Guarded: true, Body: o.Body}
	c, err := s.codec.Decode(m)
	if err != nil {
		return proposed{}, err
	}
	next, err := restoredAfter(base, c)
	if err == nil {
		err = s.CheckRestore(c, o)
	}
	if err != nil {
		return proposed{}, err
	}
	return proposed{
		Proposal: Proposal{Base: base, Commit: c.Commit, Next: next.Session}, commit: c.Commit, hash: c.Hash,
		record: Record{Key: base.Key, Guard: ExpectLast(base.Last), Header: s.restoredHeader(c, o.Header), Body: o.Body},
	}, nil
}

// restoredHeader makes the headers of a commit that had others elsewhere. What
// follows from the commit is written anew, so that nobody can mislead those who
// read headers alone; a header of the server's never passes.
func (s *Store) restoredHeader(c Committed, had map[string]string) map[string]string {
	source := s.source
	if given := had[headerCESource]; given != "" && printable(given, maxSourceLength) {
		source = given
	}
	h := header(c.Key, c.Commit, source, had[contract.HeaderTraceParent])
	for name, value := range had {
		_, made := h[name]
		if made || len(h) >= maxRestoredHeaders || !RestorableHeader(name) || !printable(value, maxRestoredHeader) {
			continue
		}
		h[name] = value
	}
	return h
}

// RestorableHeader reports whether an export may hold a header: the CloudEvents
// attributes, the event types and the trace.
func RestorableHeader(name string) bool {
	switch name {
	case contract.HeaderTypes, contract.HeaderTraceParent:
		return true
	}
	attribute, ok := strings.CutPrefix(name, cloudEvents)
	return ok && attribute != "" && len(attribute) <= maxAttributeName && strings.Trim(attribute, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// maxAttributeName is the length of a CloudEvents attribute name, in bytes.
const maxAttributeName = 20
