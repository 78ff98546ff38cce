package engine

import (
	"context"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// commandTimeout bounds one command from the head of its lane to its answer.
const commandTimeout = 10 * time.Second

// executor brings commands to the commander by the lanes of their sessions. It
// is safe for concurrent use.
type executor struct {
	lanes     *lanes
	commander *commander
}

// submit takes a command and returns at once. done is called with its answer,
// once, unless submit returns an error: a rejection that says why it was not
// taken.
func (x *executor) submit(r Request, a address, body []byte, done func(contract.Reply, error)) error {
	if r.Verb != domain.VerbFork && r.Verb != domain.VerbChainMove {
		return x.lanes.submit(r.Key, func() {
			if err := r.readBody(a, body); err != nil {
				done(contract.Reply{}, err)
				return
			}
			done(x.do(r))
		})
	}
	if err := r.readBody(a, body); err != nil {
		return err
	}
	if other, ok := r.other(); ok {
		return x.lanes.submitPair(r.Key, other, func() { done(x.do(r)) })
	}
	return x.lanes.submit(r.Key, func() { done(x.do(r)) })
}

func (x *executor) do(r Request) (contract.Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	return x.commander.Do(ctx, r)
}
