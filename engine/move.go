package engine

import (
	"context"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// moving takes a chain from one session to another one of the same user. It is
// sent to the session that gives the chain away. Both change or neither does.
type moving struct {
	c        *commander
	r        Request
	cmd      *domain.MoveChain
	from, to eventstore.Aggregate
}

func (t *moving) load(ctx context.Context) error {
	if !domain.ValidID(t.cmd.To) {
		return domain.Invalid("to", "%.80q is no session id; use 1 to %d of A-Z a-z 0-9 _ -", t.cmd.To, domain.MaxIDLength)
	}
	var err error
	if t.from, err = t.c.store.Load(ctx, t.r.Key); err != nil {
		return err
	}
	t.to, err = t.c.store.Load(ctx, eventstore.Key{User: t.r.Key.User, Session: t.cmd.To})
	return err
}

func (t *moving) confirm(ctx context.Context) (bool, error) {
	from, err := t.c.confirm(ctx, &t.from)
	if err != nil {
		return false, err
	}
	to, err := t.c.confirm(ctx, &t.to)
	return from || to, err
}

// decide takes the expected version as that of the session that gives.
func (t *moving) decide(ctx context.Context) (outcome, error) {
	c, r := t.c, t.r
	if o, err := t.repeat(ctx); err != nil || o.final {
		return o, err
	}
	if r.QueueSeq > 0 && r.QueueSeq <= t.from.Session.QueueSeq {
		return rejectedWith(errLate), nil
	}
	if err := c.admit(r, t.from); err != nil {
		return rejectedWith(err), nil
	}
	src, err := t.whole(ctx)
	if err != nil {
		return outcome{}, err
	}
	env := c.env(r, t.from)
	if later := c.now(t.to.Session); env.Now.Before(later) {
		env.Now = later
	}
	out, in, err := domain.DecideMove(src, t.to.Session, t.cmd, env)
	switch {
	case err != nil:
		return rejectedWith(err), nil
	case r.DryRun:
		reply, err := t.preview(out, in)
		return answered(reply), err
	}
	return outcome{proposals: [2]eventstore.Proposal{
		propose(r, t.from, out, env.Now, r.QueueSeq),
		propose(r, t.to, in, env.Now, 0),
	}}, nil
}

// preview is the answer to a dry run, with what both sessions would get.
func (t *moving) preview(out, in domain.Decision) (contract.Reply, error) {
	reply, err := t.c.preview(t.r, t.from, out)
	if err != nil {
		return reply, err
	}
	other, err := t.c.preview(t.r, t.to, in)
	for _, e := range other.Events {
		e.Session = t.to.Key.Session
		reply.Events = append(reply.Events, e)
	}
	return reply, err
}

// repeat answers a repeated move from the side that still knows it. The answer
// is the one of the side that gave, at the position of the later commit.
func (t *moving) repeat(ctx context.Context) (outcome, error) {
	gave, err := t.c.repeat(ctx, t.r, t.from)
	if err != nil || gave.rejected != nil {
		return gave, err
	}
	got, err := t.c.repeat(ctx, t.r, t.to)
	if err != nil || !gave.final {
		return got, err
	}
	if got.final && got.rejected == nil {
		gave.reply.Position = later(gave.reply.Position, got.reply.Position)
	}
	return gave, nil
}

// whole is the session that gives, with the payloads of its steps filled in.
func (t *moving) whole(ctx context.Context) (*domain.Session, error) {
	if !t.from.Session.Exists() {
		return t.from.Session, nil
	}
	return t.c.store.Hydrate(ctx, t.from)
}

func (t *moving) append(ctx context.Context, o outcome) (contract.Reply, error) {
	out, in := o.proposals[0], o.proposals[1]
	a, b, err := t.c.store.AppendPair(ctx, out, in)
	if err != nil {
		return contract.Reply{}, tooLarge(err, in)
	}
	reply := t.c.reply(t.r, out.Commit, a.Seq)
	reply.Position = later(reply.Position, t.c.store.Position(b.Seq))
	return reply, nil
}

func later(a, b contract.Position) contract.Position {
	if b.Seq > a.Seq {
		return b
	}
	return a
}
