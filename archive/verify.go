package archive

import (
	"context"
	"errors"
	"io"

	"reprise/domain"
	"reprise/eventstore"
)

// Visitor is told what Verify finds, in the order of the file. A nil function is
// left out; an error ends Verify and is returned as it is.
type Visitor struct {
	// Begin is called before the first commit of a session.
	Begin func(key eventstore.Key) error
	// Commit is called for each commit after it was verified.
	Commit func(c *Commit, decoded eventstore.Committed) error
	// End is called after the last commit, with the state it comes to.
	End func(end *End, session *domain.Session) error
}

// Verify reads a whole export and checks all of it: what Reader does, and that
// the commits of every session are its whole history or its tombstone, each
// hashing to what the next one says, folding to the states they name. The error
// is a *DamageError that names the line, or the visitor's or the context's.
func Verify(ctx context.Context, r *Reader, visit Visitor) (Trailer, error) {
	var v *eventstore.Verifier
	for {
		item, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return r.Trailer(), nil
		case err != nil:
			return r.Trailer(), err
		case ctx.Err() != nil:
			return r.Trailer(), context.Cause(ctx)
		case item.End != nil:
			err = visit.end(r, item.End, v.Aggregate().Session)
			v = nil
		default:
			if v == nil {
				v = eventstore.NewVerifier(item.Commit.Key, eventstore.Codec{})
				err = visit.begin(item.Commit.Key)
			}
			if err == nil {
				err = visit.commit(r, v, item.Commit)
			}
		}
		if err != nil {
			return r.Trailer(), err
		}
	}
}

func (visit *Visitor) begin(key eventstore.Key) error {
	if visit.Begin == nil {
		return nil
	}
	return visit.Begin(key)
}

func (visit *Visitor) commit(r *Reader, v *eventstore.Verifier, c *Commit) error {
	decoded, err := v.Add(c.Body)
	var broken *eventstore.CommitError
	switch {
	case errors.As(err, &broken):
		return r.damaged(err, "session %s, version %d: %s: %s", c.Key, c.Version, broken.Kind, broken.Detail)
	case err != nil:
		return err
	case decoded.Commit.Version != c.Version:
		return r.damaged(nil, "session %s: the line says version %d, and the commit in it %d", c.Key, c.Version, decoded.Commit.Version)
	case visit.Commit == nil:
		return nil
	}
	return visit.Commit(c, decoded)
}

func (visit *Visitor) end(r *Reader, end *End, s *domain.Session) error {
	if end.Version != s.Version {
		return r.damaged(nil, "session %s comes to version %d, and its end says %d", end.Key, s.Version, end.Version)
	}
	if visit.End == nil {
		return nil
	}
	return visit.End(end, s)
}
