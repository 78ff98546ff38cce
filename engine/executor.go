package engine

import (
	"context"
	"sync"
	"time"

	"reprise/contract"
	"reprise/domain"
)

const (
	// commandTimeout bounds one command from the head of its lane to its answer.
	commandTimeout = 10 * time.Second
	// sharedFor is how long commands share one deadline: it is later than
	// commandTimeout by that at most, and no timer is needed for each of them.
	sharedFor = time.Second
)

// deadlines hands out contexts that end after commandTimeout.
type deadlines struct {
	mu     sync.Mutex
	ctx    context.Context //nolint:containedctx // handing it out is what this is for
	cancel context.CancelFunc
	until  time.Time
}

// next returns a context that ends between commandTimeout and sharedFor more
// from now.
func (d *deadlines) next() context.Context {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil || now.After(d.until) {
		d.until = now.Add(sharedFor)
		// The one before goes on for its commands and ends by itself.
		d.ctx, d.cancel = context.WithTimeout(context.Background(), commandTimeout+sharedFor) //nolint:gosec // as said above
	}
	return d.ctx
}

// executor brings commands to the commander by the lanes of their sessions. It
// is safe for concurrent use.
type executor struct {
	lanes     *lanes
	commander *commander
	limits    *limiter // nil for none
	deadlines deadlines
	// alive is told of every accepted heartbeat before it is answered; it may be
	// nil.
	alive func(context.Context, Request) error
	// follow may restrict a worker's wish for the next step of a chain; it may be
	// nil.
	follow func(*Request)
	// ownAction gives workers the next step of a chain only if it is of the action in
	// their subject: where there are credentials, the server vouches for no other.
	ownAction bool
	// trouble says why nothing can be stored; it may be nil.
	trouble func() error
	// readOnly lets commands through; nil lets all.
	readOnly *readOnlyGate
}

// submit takes a command and returns at once. done is called with its answer,
// once, unless submit returns an error: a rejection that says why it was not
// taken.
func (x *executor) submit(r Request, a address, body []byte, done func(contract.Reply, error)) error {
	if err := x.limits.admit(&r, a, body); err != nil {
		return err
	}
	came, read := time.Now(), r.Verb == domain.VerbFork || r.Verb == domain.VerbChainMove
	if read { // the body says which lanes
		if err := r.readBody(a, body); err != nil {
			return err
		}
	}
	run := func() {
		err := tooLate(came)
		if err == nil && !read {
			err = r.readBody(a, body)
		}
		if err != nil {
			done(contract.Reply{}, err)
			return
		}
		done(x.do(r))
	}
	if other, ok := r.other(); ok {
		return x.lanes.submitPair(a.sender, r.Key, other, run)
	}
	return x.lanes.submit(a.sender, r.Key, run)
}

// tooLate refuses a command that has waited for its turn for longer than clients
// wait for answers, as all do when the store stood still: fresh ones go first.
func tooLate(came time.Time) error {
	if time.Since(came) <= commandTimeout {
		return nil
	}
	return domain.Reject(domain.CodeBusy, domain.StateNone, "the command waited for its turn for more than %s, and nothing was changed by it; send it again", commandTimeout)
}

func (x *executor) do(r Request) (contract.Reply, error) {
	if r.Verb == domain.VerbSucceed {
		x.restrict(&r)
	}
	if err := x.storable(r); err != nil {
		return contract.Reply{}, err
	}
	if err := x.readOnly.enter(r); err != nil {
		return contract.Reply{}, err
	}
	defer x.readOnly.leave()
	ctx := x.deadlines.next()
	reply, err := x.commander.Do(ctx, r)
	if err == nil && r.Verb == domain.VerbHeartbeat && x.alive != nil {
		err = x.alive(ctx, r)
	}
	return reply, err
}

// restrict takes from a worker's wish for the next step what it can't have.
func (x *executor) restrict(r *Request) {
	if cmd, ok := r.Command.(*domain.Succeed); ok && x.ownAction && cmd.Actions != nil {
		own := *cmd
		own.Actions, r.Command = nil, &own
	}
	if x.follow != nil {
		x.follow(r)
	}
}

// storable rejects a command that could not be stored, rather than to let it
// wait for an answer of the server that does not come.
func (x *executor) storable(r Request) error {
	if x.trouble == nil || r.DryRun || r.Verb == domain.VerbHeartbeat {
		return nil
	}
	if err := x.trouble(); err != nil {
		return domain.Reject(domain.CodeUnavailable, domain.StateNone, "nothing can be stored: %s", err)
	}
	return nil
}
