package engine

import (
	"context"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// reservedSession stands for "make an id" on the subject of create; no session
// has it.
const reservedSession = "new"

// forkKey names the session that a fork makes: as the caller says, or derived
// from the command.
func forkKey(source eventstore.Key, cmd *domain.Fork, commandID string) eventstore.Key {
	id := cmd.ID
	if id == "" {
		id = derivedID("fork/"+source.Session, source.User, commandID)
	}
	return eventstore.Key{User: source.User, Session: id}
}

// forking makes a new session from another one. It is sent to the source and
// decided on the new session; the source's history is not touched.
type forking struct {
	c            *commander
	r            Request
	cmd          domain.Fork
	source, base eventstore.Aggregate
}

func (t *forking) load(ctx context.Context) error {
	key := forkKey(t.r.Key, &t.cmd, t.r.ID)
	if !domain.ValidID(key.Session) || key.Session == reservedSession {
		return domain.Invalid("id", "%.80q is no id for a session; use 1 to %d of A-Z a-z 0-9 _ -, and not %q", key.Session, domain.MaxIDLength, reservedSession)
	}
	if t.cmd.Version > 0 && !t.cmd.Time.IsZero() {
		return domain.Invalid("version", "give a version or a time to fork at, not both")
	}
	var err error
	if t.base, err = t.c.store.Load(ctx, key); err != nil {
		return err
	}
	t.source, err = t.c.store.Load(ctx, t.r.Key)
	return err
}

func (t *forking) confirm(ctx context.Context) (bool, error) {
	target, err := t.c.confirm(ctx, &t.base)
	if err != nil {
		return false, err
	}
	source, err := t.c.confirm(ctx, &t.source)
	return target || source, err
}

// decide takes the expected version as the source's.
func (t *forking) decide(ctx context.Context) (outcome, error) {
	c := t.c
	if o, err := c.repeat(ctx, t.r, t.base); err != nil || o.final {
		return o, err
	}
	if err := c.admit(t.r, t.source); err != nil {
		return rejectedWith(err), nil
	}
	if !t.source.Session.Exists() {
		return rejectedWith(domain.Reject(domain.CodeNotFound, domain.StateNone, "there is no session %q", t.r.Key.Session)), nil
	}
	if t.base.Session.Version > 0 {
		return t.propose(&domain.Fork{}) // taken: the rules say so without the source
	}
	return t.fromSource(ctx)
}

// fromSource reads the source at the cut, with all payloads, and decides.
func (t *forking) fromSource(ctx context.Context) (outcome, error) {
	cut, err := t.cutSource(ctx)
	if err != nil {
		return outcome{}, err
	}
	if !cut.Session.Exists() {
		return rejectedWith(domain.Reject(domain.CodeNotFound, domain.StateNone,
			"session %q did not exist then; its first commit is of %s", t.r.Key.Session, t.source.Session.CreatedAt.UTC().Format(time.RFC3339Nano))), nil
	}
	cmd := t.cmd
	if cmd.Source, err = t.c.store.Hydrate(ctx, cut); err != nil {
		return outcome{}, err
	}
	return t.propose(&cmd)
}

// cutSource returns the source as it was at the cut; without one, as it is now,
// read after the command came.
func (t *forking) cutSource(ctx context.Context) (eventstore.Aggregate, error) {
	if t.cmd.Version > 0 || !t.cmd.Time.IsZero() {
		return t.c.store.At(ctx, t.source.Key, eventstore.Cut{Version: t.cmd.Version, Time: t.cmd.Time})
	}
	_, err := t.c.confirm(ctx, &t.source)
	return t.source, err
}

func (t *forking) propose(cmd *domain.Fork) (outcome, error) {
	env := t.c.env(t.r, t.base)
	d, err := domain.Decide(t.base.Session, cmd, env)
	if err != nil {
		return rejectedWith(err), nil
	}
	if t.r.DryRun {
		reply, err := t.c.preview(t.r, t.base, d)
		return answered(reply), err
	}
	return outcome{proposals: [2]eventstore.Proposal{propose(t.r, t.base, d, env.Now, 0)}}, nil
}

func (t *forking) append(ctx context.Context, o outcome) (contract.Reply, error) {
	p := o.proposals[0]
	a, err := t.c.store.Append(ctx, p)
	if err != nil {
		return contract.Reply{}, tooLarge(err, p)
	}
	return t.c.reply(t.r, p.Commit, a.Seq), nil
}
