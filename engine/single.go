package engine

import (
	"context"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/killpoint"
)

// single is a command that is about one session.
type single struct {
	c    *commander
	r    Request
	base eventstore.Aggregate
	// presumed says that base was not read: what makes a session is decided as if
	// there was none, and read only if the append or the rules say otherwise.
	presumed bool
}

func (t *single) load(ctx context.Context) (err error) {
	if makesSession(t.r.Verb) {
		t.base, t.presumed = t.c.store.Presume(t.r.Key)
		return nil
	}
	t.base, err = t.c.store.Load(ctx, t.r.Key)
	return err
}

func (t *single) confirm(ctx context.Context) (bool, error) {
	if !t.presumed {
		return t.c.confirm(ctx, &t.base)
	}
	t.presumed = false
	read, err := t.c.store.Load(ctx, t.r.Key)
	if err != nil {
		return false, err
	}
	t.base = read
	_, err = t.c.confirm(ctx, &t.base)
	return t.base.Last > 0, err
}

// confirm reads the newest state of a session and reports whether it is another.
func (c *commander) confirm(ctx context.Context, a *eventstore.Aggregate) (bool, error) {
	newest, err := c.store.Confirm(ctx, *a)
	if err != nil {
		return false, err
	}
	changed := newest.Last != a.Last || newest.Seq != a.Seq
	*a = newest
	return changed, nil
}

// decide runs the checks in their order: same id, gone, expected version, the
// rules.
func (t *single) decide(ctx context.Context) (outcome, error) {
	c, r, s := t.c, t.r, t.base.Session
	if o, err := c.repeat(ctx, r, t.base); err != nil || o.final {
		return o, err
	}
	if r.QueueSeq > 0 && r.QueueSeq <= s.QueueSeq {
		return rejectedWith(errLate), nil
	}
	if err := c.admit(r, t.base); err != nil {
		return rejectedWith(err), nil
	}
	env := c.env(r, t.base)
	d, err := domain.Decide(s, r.Command, env)
	switch {
	case err != nil:
		return rejectedWith(err), nil
	case r.DryRun:
		reply, err := c.preview(r, t.base, d)
		return answered(reply), err
	case len(d.Events) == 0:
		return answered(c.unchanged(r, t.base, d)), nil
	}
	commit := r.commit(s, d, env.Now, r.QueueSeq)
	p := eventstore.Proposal{Base: t.base, Commit: commit, Next: d.Keep(s, commit), TraceParent: r.TraceParent}
	return outcome{proposals: [2]eventstore.Proposal{p}, claimed: d.Claimed}, nil
}

// append stores the commit. A session that is gone by it is compacted.
func (t *single) append(ctx context.Context, o outcome) (contract.Reply, error) {
	p := o.proposals[0]
	if p.Next.Gone != nil {
		killpoint.Pass(killpoint.SessionEnding)
	}
	a, err := t.c.store.Append(ctx, p)
	if err != nil {
		return contract.Reply{}, tooLarge(err, p)
	}
	if a.Session.Gone != nil {
		killpoint.Pass(killpoint.SessionEnded)
		t.c.sweep.now(ctx, a)
		killpoint.Pass(killpoint.SessionCompacted)
	}
	reply := t.c.reply(t.r, p.Commit, a.Seq)
	if o.claimed != nil {
		reply.Claimed, err = t.c.assignment(ctx, a, *o.claimed, p.Commit.Time)
	}
	return reply, err
}

// admit rejects what no rule has to look at: a session that is gone, and one
// that is not at the version the caller expects.
func (c *commander) admit(r Request, a eventstore.Aggregate) error {
	s := a.Session
	if s.Gone != nil {
		c.sweep.later(a)
		_, err := domain.Decide(s, &domain.Start{}, domain.Env{})
		return err
	}
	if err := c.tooOld(r, s); err != nil {
		return err
	}
	if r.Expect == nil || *r.Expect == s.Version {
		return c.limits.outgrown(&r, s)
	}
	if s.Version == 0 && r.Verb != domain.VerbCreate {
		return domain.Reject(domain.CodeNotFound, domain.StateNone, "there is no session %q", s.ID)
	}
	return &versionConflict{version: s.Version, Rejection: domain.Reject(domain.CodeVersionConflict, s.State,
		"session %q is at version %d, not %d as expected; read it again and decide anew", s.ID, s.Version, *r.Expect)}
}

// versionConflict is a rejection that says which version the session has.
type versionConflict struct {
	*domain.Rejection
	version uint64
}

// Unwrap returns the rejection.
func (v *versionConflict) Unwrap() error { return v.Rejection }

// repeat answers a command whose id the session knows: with the first answer,
// or with id_reused if it was another command. The outcome is not final if the
// id is new.
func (c *commander) repeat(ctx context.Context, r Request, a eventstore.Aggregate) (outcome, error) {
	first, err := c.applied(ctx, r, a)
	switch {
	case err != nil:
		return outcome{}, err
	case first == nil:
		return outcome{}, nil
	case first.Commit.Digest != r.Digest || first.Commit.Actor != r.Actor:
		return rejectedWith(domain.Reject(domain.CodeIDReused, domain.StateNone,
			"command id %q was used before for another command; use a new id", r.ID)), nil
	}
	reply := c.reply(r, first.Commit, first.Seq)
	reply.Duplicate = true
	reply.Claimed, err = c.claimedBefore(ctx, a, first)
	return answered(reply), err
}

// applied returns the commit of a command id, or nil if there is none.
func (c *commander) applied(ctx context.Context, r Request, a eventstore.Aggregate) (*eventstore.Committed, error) {
	if _, known := a.Session.FindRecent(r.ID); !known {
		return nil, nil //nolint:nilnil // there is none
	}
	first, found, err := c.store.FindCommand(ctx, a, r.ID)
	if err != nil || !found {
		return nil, err
	}
	return &first, nil
}

// propose makes a proposal of a decision on a state whose Next is not the state
// to keep: where payloads of another session come in, they are placed anew.
func propose(r Request, base eventstore.Aggregate, d domain.Decision, now time.Time, queue uint64) eventstore.Proposal {
	commit := r.commit(base.Session, d, now, queue)
	return eventstore.Proposal{Base: base, Commit: commit, Next: domain.Apply(base.Session, commit), TraceParent: r.TraceParent}
}

// commit makes the commit of a decision on a state.
func (r *Request) commit(s *domain.Session, d domain.Decision, now time.Time, queue uint64) *domain.Commit {
	return &domain.Commit{
		ID: r.ID, Session: s.ID, User: s.User, Version: s.Version + 1, Time: now, Actor: r.Actor,
		Cause: r.Verb, State: d.Next.State, Digest: r.Digest, Queue: queue, Results: d.Results, Events: d.Events,
	}
}
