package engine

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

const (
	// maxConflicts is how often a command is decided again because another
	// engine was first.
	maxConflicts = 32
	// conflictPause is the pause before the second conflict is tried again; it
	// grows with each further one up to maxConflictPause.
	conflictPause    = 500 * time.Microsecond
	maxConflictPause = 20 * time.Millisecond
)

// errLate says that a queued command came after a later one of its session was
// applied; it is not applied any more.
var errLate = errors.New("a later command of the queue was applied to the session before")

// Request is one command, parsed and authorised.
type Request struct {
	// Key is the session on the subject; for create on "new" the one to be made.
	Key     eventstore.Key
	Verb    domain.Verb
	Command domain.Command
	// ID is the command id, Digest that of verb and body.
	ID, Digest string
	// Actor is the authenticated sender.
	Actor string
	// Expect is the version the caller wants the session to have; nil is any.
	Expect *uint64
	// DryRun asks for the events and appends nothing.
	DryRun bool
	// QueueSeq is the sequence of a queued command, 0 for any other.
	QueueSeq    uint64
	TraceParent string
}

// sessions is what the commander needs of an event store.
type sessions interface {
	Load(ctx context.Context, key eventstore.Key) (eventstore.Aggregate, error)
	Presume(key eventstore.Key) (agg eventstore.Aggregate, presumed bool)
	Confirm(ctx context.Context, a eventstore.Aggregate) (eventstore.Aggregate, error)
	Append(ctx context.Context, p eventstore.Proposal) (eventstore.Aggregate, error)
	AppendPair(ctx context.Context, a, b eventstore.Proposal) (eventstore.Aggregate, eventstore.Aggregate, error)
	FindCommand(ctx context.Context, a eventstore.Aggregate, id string) (eventstore.Committed, bool, error)
	At(ctx context.Context, key eventstore.Key, cut eventstore.Cut) (eventstore.Aggregate, error)
	Hydrate(ctx context.Context, a eventstore.Aggregate) (*domain.Session, error)
	Compact(ctx context.Context, a eventstore.Aggregate) error
	Position(seq uint64) contract.Position
}

// commanderConfig configures a commander. Store is required.
type commanderConfig struct {
	Store sessions
	// Clock is time.Now if nil, Jitter a random number in [0,1).
	Clock  func() time.Time
	Jitter func() float64
	Logger *slog.Logger
}

// commander decides commands, appends what they come to and answers each
// command once. It is safe for concurrent use; commands for one session that
// come one after another spare it conflicts with itself.
type commander struct {
	store  sessions
	clock  func() time.Time
	jitter func() float64
	log    *slog.Logger
	sweep  *sweeper
	// horizon is how long tombstones are kept; 0 where ids of any age may be new.
	horizon time.Duration
	limits  *limiter // nil for none
}

func newCommander(cfg commanderConfig) *commander {
	c := &commander{store: cfg.Store, clock: cfg.Clock, jitter: cfg.Jitter, log: cfg.Logger}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.jitter == nil {
		c.jitter = rand.Float64
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.sweep = newSweeper(cfg.Store.Compact, c.log)
	return c
}

// Do carries a command out and returns its answer. An error that is a
// *domain.Rejection, or holds one, is the engine's answer too; errLate is for
// the queue; all others come from the store.
func (c *commander) Do(ctx context.Context, r Request) (contract.Reply, error) {
	switch cmd := r.Command.(type) {
	case *domain.Fork:
		return c.carry(ctx, r, &forking{c: c, r: r, cmd: *cmd})
	case *domain.MoveChain:
		if cmd.To != "" && cmd.To != r.Key.Session {
			return c.carry(ctx, r, &moving{c: c, r: r, cmd: cmd})
		}
	}
	return c.carry(ctx, r, &single{c: c, r: r})
}

// task is one kind of command on its way: what it reads, and what it comes to.
type task interface {
	// load reads the sessions it is about, from the cache if they are there.
	load(ctx context.Context) error
	// confirm reads their last commits and reports whether one had changed.
	confirm(ctx context.Context) (changed bool, err error)
	// decide says what the command comes to in the state as it was read.
	decide(ctx context.Context) (outcome, error)
	// append stores what was decided.
	append(ctx context.Context, o outcome) (contract.Reply, error)
}

// outcome is what a command comes to. Nothing is to be appended if final.
type outcome struct {
	final bool
	reply contract.Reply
	// rejected is the answer of a final outcome that is not a reply.
	rejected error
	// proposals are to be appended, both or neither; the second may be unset.
	proposals [2]eventstore.Proposal
	claimed   *domain.StepRef
}

func answered(reply contract.Reply) outcome { return outcome{final: true, reply: reply} }

func rejectedWith(err error) outcome { return outcome{final: true, rejected: err} }

// carry decides a task until its outcome can be given: a final one only from a
// state that was confirmed after the command arrived, any other once it is
// stored.
func (c *commander) carry(ctx context.Context, r Request, t task) (contract.Reply, error) {
	if err := t.load(ctx); err != nil {
		return contract.Reply{}, err
	}
	confirmed, conflicts := false, 0
	for {
		o, err := t.decide(ctx)
		switch {
		case err != nil:
			return contract.Reply{}, err
		case o.final && confirmed:
			return o.reply, o.rejected
		case o.final:
			changed, err := t.confirm(ctx)
			if err != nil {
				return contract.Reply{}, err
			}
			if !changed {
				return o.reply, o.rejected
			}
			confirmed = true
			continue
		}
		reply, err := t.append(ctx, o)
		if !errors.Is(err, eventstore.ErrConflict) {
			return reply, err
		}
		if conflicts++; conflicts > maxConflicts {
			return contract.Reply{}, domain.Reject(domain.CodeBusy, domain.StateNone,
				"session %q was changed by others %d times while the command was decided; send it again", r.Key.Session, conflicts)
		}
		if err := c.giveWay(ctx, conflicts); err != nil {
			return contract.Reply{}, err
		}
		if _, err := t.confirm(ctx); err != nil {
			return contract.Reply{}, err
		}
		confirmed = true
	}
}

// giveWay waits a little before a conflict is tried again; the first one is
// tried at once.
func (c *commander) giveWay(ctx context.Context, conflicts int) error {
	if conflicts > 1 {
		longest := min(conflictPause<<min(conflicts-2, 16), maxConflictPause)
		pause(ctx, time.Duration(float64(longest)*c.jitter()))
	}
	return context.Cause(ctx)
}

// now returns the time of a commit: the clock's, but never before the session's.
func (c *commander) now(s *domain.Session) time.Time {
	now := c.clock().UTC().Round(0)
	if now.Before(s.UpdatedAt) {
		return s.UpdatedAt
	}
	return now
}

// env is what a decision on a state needs to know of the world.
func (c *commander) env(r Request, a eventstore.Aggregate) domain.Env {
	return domain.Env{Now: c.now(a.Session), Jitter: c.jitter(), Actor: r.Actor, CommandID: r.ID, Head: a.Hash}
}
