package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"reprise/domain"
	"reprise/eventstore"
)

// checker is the first of the two readings of Import: it verifies the file and
// compares it with what is there.
type checker struct {
	ctx   context.Context //nolint:containedctx // it lives as long as one call
	store *eventstore.Store
	o     ImportOptions
	in    *Reader

	report ImportReport
	seen   keySet
	// there is what the store has of the session the reader is in; theirs are the
	// hashes of its commits.
	there  eventstore.Aggregate
	theirs []string
	at     int
	first  *Clash
	total  uint64
	source *rewriter
	// skip are the sessions of clashes.
	skip keySet
}

// keySet remembers sessions by a digest, which takes less than their names.
type keySet map[[16]byte]struct{}

// add reports whether the session is a new one.
func (s keySet) add(key eventstore.Key) bool {
	before := len(s)
	s[digestOf(key)] = struct{}{}
	return len(s) > before
}

func (s keySet) has(key eventstore.Key) bool {
	_, ok := s[digestOf(key)]
	return ok
}

func digestOf(key eventstore.Key) [16]byte {
	sum := sha256.Sum256([]byte(key.String()))
	return [16]byte(sum[:16])
}

// check verifies a whole file against a store. It returns the sessions that can't
// be restored as well.
func check(ctx context.Context, store *eventstore.Store, open Opener, o ImportOptions) (ImportReport, keySet, error) {
	c := &checker{ctx: ctx, store: store, o: o, seen: keySet{}, skip: keySet{}}
	err := opened(open, func(r *Reader) error {
		c.in, c.report.Source = r, r.Header().Source
		visit := Visitor{Begin: c.begin, Commit: c.commit, End: c.end}
		var err error
		c.report.InFile, err = Verify(ctx, r, visit)
		return err
	})
	if err == nil && c.o.NewID != "" && c.report.InFile.Sessions != 1 {
		err = fmt.Errorf("a new id is for one session, and the file has %d; give them to another user instead", c.report.InFile.Sessions)
	}
	if err == nil && c.total > 0 && !c.o.SkipClashes {
		return c.report, nil, &ClashError{Clashes: c.report.Clashes, Total: c.total}
	}
	c.report.Skipped = c.total
	return c.report, c.skip, err
}

func (c *checker) begin(key eventstore.Key) error {
	if !c.seen.add(key) {
		return c.in.damaged(nil, "session %s is in the file a second time", key)
	}
	c.theirs, c.at, c.first = nil, 0, nil
	target := c.o.target(key)
	if c.o.rewrites() {
		c.source = newRewriter(key, target, c.o)
	}
	r, err := newRestorer(c.ctx, c.store, target)
	if err != nil {
		return err
	}
	c.there = r.agg
	if c.there.Seq == 0 || c.there.Session.Gone != nil {
		return nil
	}
	return c.store.Commits(c.ctx, target, 1, func(have eventstore.Committed) error {
		c.theirs = append(c.theirs, have.Hash)
		return nil
	})
}

func (c *checker) commit(line *Commit, decoded eventstore.Committed) error {
	if c.o.rewrites() {
		return c.source.add(c.ctx, line.Original)
	}
	if err := c.store.CheckRestore(decoded, line.Original); err != nil {
		return err
	}
	if c.first == nil && c.at < len(c.theirs) && c.theirs[c.at] != line.Hash {
		c.first = &Clash{Version: line.Version, Reason: fmt.Sprintf("session %s is there with another history: the first version that differs is %d", line.Key, line.Version)}
	}
	c.at++
	return nil
}

// end settles what is to be done with a session.
func (c *checker) end(end *End, s *domain.Session) error {
	defer func() {
		if c.o.Progress != nil {
			t := c.in.Trailer()
			c.o.Progress(Progress{Doing: "checking", Sessions: t.Sessions, Commits: t.Commits})
		}
	}()
	if c.o.rewrites() {
		return c.endRewritten(s)
	}
	here := c.there.Session
	switch {
	case here.Gone != nil && c.there.Hash == end.Head:
		c.report.Unchanged++
	case here.Gone != nil:
		c.note(end.Key, Clash{Reason: fmt.Sprintf("session %s is gone here (%s by %s) and can't come back under its id; --new-id or --user gives it another",
			end.Key, here.Gone.Time.Format("2006-01-02"), here.Gone.By)})
	case s.Gone != nil && c.there.Seq > 0:
		c.note(end.Key, Clash{Reason: fmt.Sprintf("session %s is alive here, and the file has its tombstone; delete it here if that is meant", end.Key)})
	case c.first != nil:
		c.note(end.Key, *c.first)
	case c.there.Seq == 0:
		c.report.New++
	case c.at > len(c.theirs):
		c.report.Continued++
	default:
		c.report.Unchanged++
	}
	return nil
}

// note counts a clash.
func (c *checker) note(key eventstore.Key, clash Clash) {
	clash.Session = key.String()
	c.skip.add(key)
	if c.total++; len(c.report.Clashes) < maxProblems {
		c.report.Clashes = append(c.report.Clashes, clash)
	}
}

// endRewritten settles a session that gets another name.
func (c *checker) endRewritten(s *domain.Session) error {
	target, here := c.source.target, c.there.Session
	switch {
	case s.Gone != nil:
		return fmt.Errorf("session %s is gone in the file; a tombstone can't become another session", c.source.key)
	case here.Gone != nil:
		c.note(target, Clash{Reason: fmt.Sprintf("session %s is gone here; choose another id", target)})
		return nil
	}
	o, err := c.source.original(c.ctx)
	if _, tooLarge := errors.AsType[*domain.Rejection](err); tooLarge {
		return fmt.Errorf("session %s: %w", c.source.key, err)
	}
	if err != nil {
		return err
	}
	decoded, err := eventstore.NewVerifier(target, eventstore.Codec{}).Add(o.Body)
	if err != nil {
		return err
	}
	if err := c.store.CheckRestore(decoded, o); err != nil {
		return err
	}
	if c.there.Seq == 0 {
		c.report.New++
		return nil
	}
	same, err := importedBefore(c.ctx, c.store, target, c.source.head)
	switch {
	case err != nil:
		return err
	case same:
		c.report.Unchanged++
	default:
		c.note(target, Clash{Version: 1, Reason: fmt.Sprintf("session %s is there already and was not made of session %s; choose another id", target, c.source.key)})
	}
	return nil
}
