package client

import (
	"context"

	"reprise/contract"
	"reprise/domain"
)

// NewSession stands for the session id in Create: the engine makes one, which
// is in the reply.
const NewSession = "new"

// Do sends any command. The typed methods below are short for it. The error is
// an *Error; see its codes. When no answer comes the command is sent again with
// the same id, so that it is applied once.
func (c *Client) Do(ctx context.Context, session string, command domain.Command, opts ...CommandOption) (*contract.Reply, error) {
	o := commandOptionsOf(opts)
	r, err := c.command(session, command, o)
	if err != nil {
		return nil, err
	}
	reply := new(contract.Reply)
	if err := c.exchange(ctx, r, reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// command builds the request of a command.
func (c *Client) command(session string, command domain.Command, o commandOptions) (request, error) {
	body, err := c.check(session, command, o)
	if err != nil {
		return request{}, err
	}
	subject := c.cfg.Names.Command(c.cfg.User, session, command.Verb())
	if o.operator {
		subject = c.cfg.Names.AdminCommand(c.cfg.Operator, c.cfg.User, session, command.Verb())
	}
	return request{subject: subject, header: o.header, body: body, commandID: o.id}, nil
}

// check refuses what would go to another subject than the caller means, and
// encodes the command.
func (c *Client) check(session string, command domain.Command, o commandOptions) ([]byte, error) {
	switch {
	case !domain.ValidID(session):
		return nil, invalid("session", "session: %s", idRule("a session id", session))
	case !domain.ValidCommandID(o.id):
		return nil, invalid("commandId", "commandId: %.80q is not a command id: use 1 to %d printable ASCII characters without spaces", o.id, domain.MaxCommandIDLength)
	case o.operator && c.cfg.Operator == "":
		return nil, invalid("operator", "%s is an operator's command: set Config.Operator", command.Verb())
	}
	body, err := encode(command)
	if err != nil {
		return nil, invalid("", "the command %s can't be written as JSON: %v", command.Verb(), err)
	}
	return body, nil
}

// batchBody is the body of a batch as the contract has it.
type batchBody struct {
	Mode     domain.BatchMode `json:"mode,omitempty"`
	Commands []batchEntry     `json:"commands"`
}

type batchEntry struct {
	Verb domain.Verb    `json:"verb"`
	Body domain.Command `json:"body"`
}

// encode writes the body of a command.
func encode(command domain.Command) ([]byte, error) {
	batch, ok := command.(*domain.Batch)
	if !ok {
		return domain.Marshal(command)
	}
	body := batchBody{Mode: batch.Mode, Commands: make([]batchEntry, 0, len(batch.Commands))}
	for _, inner := range batch.Commands {
		body.Commands = append(body.Commands, batchEntry{Verb: inner.Verb(), Body: inner})
	}
	return domain.Marshal(body)
}

// Create makes a PENDING session from a definition. With an empty id the engine
// makes one. The same definition again answers with the existing session and
// Duplicate; another one is rejected with exists.
func (c *Client) Create(ctx context.Context, session string, def domain.Definition, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, orDefault(session, NewSession), &domain.Create{Definition: def}, opts...)
}

// Start moves a PENDING session to RUNNING.
func (c *Client) Start(ctx context.Context, session string, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &domain.Start{}, opts...)
}

// Pause halts a RUNNING session; with domain.PauseInterrupt it also takes away
// what is in flight.
func (c *Client) Pause(ctx context.Context, session string, p domain.Pause, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &p, opts...)
}

// Resume goes on with a PAUSED session.
func (c *Client) Resume(ctx context.Context, session string, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &domain.Resume{}, opts...)
}

// Cancel ends a RUNNING or PAUSED session.
func (c *Client) Cancel(ctx context.Context, session, reason string, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &domain.Cancel{Reason: reason}, opts...)
}

// Complete ends a RUNNING session that was kept open and has no unfinished chain.
func (c *Client) Complete(ctx context.Context, session string, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &domain.Complete{}, opts...)
}

// Delete removes a session for good, a RUNNING one only with Force.
func (c *Client) Delete(ctx context.Context, session string, d domain.Delete, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &d, opts...)
}

// Fork makes a new PENDING session from this one as it is or was. The reply is
// about the new session.
func (c *Client) Fork(ctx context.Context, session string, f domain.Fork, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &f, opts...)
}

// SetMetadata writes and removes metadata entries.
func (c *Client) SetMetadata(ctx context.Context, session string, m domain.SetMetadata, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &m, opts...)
}

// AddChain adds a chain to a session that has not ended.
func (c *Client) AddChain(ctx context.Context, session string, a domain.AddChain, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &a, opts...)
}

// CloseChain says that no more steps will be added to an open chain.
func (c *Client) CloseChain(ctx context.Context, session, chain string, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &domain.CloseChain{Chain: chain}, opts...)
}

// RemoveChain removes a chain with its steps.
func (c *Client) RemoveChain(ctx context.Context, session string, r domain.RemoveChain, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &r, opts...)
}

// MoveChain gives a chain another position, or moves it to another session of
// the same user.
func (c *Client) MoveChain(ctx context.Context, session string, m domain.MoveChain, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &m, opts...)
}

// AddStep adds a step at the end of an open chain.
func (c *Client) AddStep(ctx context.Context, session string, a domain.AddStep, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &a, opts...)
}

// RetryStep makes a FAILED or TIMEOUT step due at once.
func (c *Client) RetryStep(ctx context.Context, session string, r domain.RetryStep, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &r, opts...)
}

// SkipStep counts a PENDING, FAILED or TIMEOUT step as done without running it.
func (c *Client) SkipStep(ctx context.Context, session string, s domain.SkipStep, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &s, opts...)
}

// SucceedStep completes a manual step.
func (c *Client) SucceedStep(ctx context.Context, session string, s domain.SucceedManual, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &s, opts...)
}

// FailStep fails a manual step.
func (c *Client) FailStep(ctx context.Context, session string, f domain.FailManual, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &f, opts...)
}

// Batch sends several commands for one session as one commit: all or nothing,
// or with domain.BatchEach what is accepted; Results has an entry for each.
func (c *Client) Batch(ctx context.Context, session string, b domain.Batch, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &b, opts...)
}

// Hold keeps a session from being deleted or purged. It is an operator's
// command: Config.Operator has to be set.
func (c *Client) Hold(ctx context.Context, session, reason string, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &domain.PutHold{Reason: reason}, asOperator(opts)...)
}

// Unhold releases a hold. It is an operator's command.
func (c *Client) Unhold(ctx context.Context, session, reason string, opts ...CommandOption) (*contract.Reply, error) {
	return c.Do(ctx, session, &domain.ReleaseHold{Reason: reason}, asOperator(opts)...)
}

// asOperator never writes into the caller's slice.
func asOperator(opts []CommandOption) []CommandOption {
	return append([]CommandOption{AsOperator()}, opts...)
}
