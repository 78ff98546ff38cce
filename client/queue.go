package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"reprise/domain"
)

// Queued says where a fire-and-forget command was stored.
type Queued struct {
	// CommandID names the command, for the dead letters and the history.
	CommandID string `json:"commandId"`
	// Stream and Seq are those of the acknowledgement.
	Stream string `json:"stream"`
	Seq    uint64 `json:"seq"`
}

// Enqueue stores a command to be applied later, in order within its session,
// and returns when the server has it (its PubAck). A command that is rejected
// later goes to the dead letters with the reason. DryRun and AsOperator are
// refused here: nobody would read the answer.
func (c *Client) Enqueue(ctx context.Context, session string, command domain.Command, opts ...CommandOption) (Queued, error) {
	o := commandOptionsOf(opts)
	if o.operator || o.dryRun {
		return Queued{}, invalid("", "a queued command has no answer to read: DryRun and AsOperator need a direct command")
	}
	body, err := c.check(session, command, o)
	if err != nil {
		return Queued{}, err
	}
	r := request{subject: c.cfg.Names.Queue(c.cfg.User, session, command.Verb()), header: o.header, body: body, commandID: o.id}
	msg, err := c.persist(ctx, r)
	if err != nil {
		return Queued{}, noQueue(err, r.subject)
	}
	return readAck(msg, r)
}

// readAck reads the server's PubAck.
func readAck(msg *nats.Msg, r request) (Queued, error) {
	var ack struct {
		Queued
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &ack); err != nil || (ack.Error == nil && ack.Stream == "") {
		return Queued{}, &Error{
			Code: domain.CodeUnavailable, CommandID: r.commandID, cause: err,
			Message: fmt.Sprintf("the answer on %s is not an acknowledgement of a stream", r.subject),
		}
	}
	if ack.Error != nil {
		return Queued{}, &Error{
			Code: domain.CodeUnavailable, CommandID: r.commandID,
			Message: "the queue did not take the command: " + ack.Error.Description,
		}
	}
	ack.CommandID = r.commandID
	return ack.Queued, nil
}

// noQueue says of a missing responder that it is the stream that is missing.
func noQueue(err error, subject string) error {
	if e, ok := errors.AsType[*Error](err); ok && errors.Is(err, ErrNoEngine) {
		e.Message = fmt.Sprintf("no queue takes %s: an engine makes the stream when it starts", subject)
	}
	return err
}
