package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

const (
	// unavailableRetry is the hint for callers while the store is away: 1 s.
	unavailableRetry = domain.Duration(time.Second)
	// maxSentence bounds the sentence in a header, in bytes; the body has all.
	maxSentence = 1024
)

// reply is the answer to a command that led to this commit.
func (c *commander) reply(r Request, commit *domain.Commit, seq uint64) contract.Reply {
	reply := contract.Reply{
		CommandID: r.ID, Session: commit.Session, User: commit.User, State: commit.State,
		Version: commit.LastVersion(), Position: c.store.Position(seq),
		Events: make([]contract.EventSummary, len(commit.Events)), Results: commit.Results,
	}
	for i, e := range commit.Events {
		chain, step := e.About()
		reply.Events[i] = contract.EventSummary{Type: e.Type(), Chain: chain, Step: step}
	}
	return reply
}

// unchanged is the answer to a command that was accepted and had nothing to do.
func (c *commander) unchanged(r Request, a eventstore.Aggregate, d domain.Decision) contract.Reply {
	s := a.Session
	return contract.Reply{
		CommandID: r.ID, Session: s.ID, User: s.User, State: s.State, Version: s.Version,
		Position: c.store.Position(a.Seq), Events: []contract.EventSummary{},
		Duplicate: r.Verb == domain.VerbCreate, Results: d.Results,
	}
}

// preview is the answer to a dry run: what would be appended, whole.
func (c *commander) preview(r Request, a eventstore.Aggregate, d domain.Decision) (contract.Reply, error) {
	reply := c.unchanged(r, a, d)
	reply.DryRun, reply.Duplicate = true, reply.Duplicate && len(d.Events) == 0
	reply.State, reply.Version = d.Next.State, d.Next.Version
	for _, e := range d.Events {
		data, err := domain.Marshal(e)
		if err != nil {
			return contract.Reply{}, fmt.Errorf("event %s: %w", e.Type(), err)
		}
		chain, step := e.About()
		reply.Events = append(reply.Events, contract.EventSummary{Type: e.Type(), Chain: chain, Step: step, Data: data})
	}
	return reply, nil
}

// tooLarge turns the store's refusal of a commit's size into a rejection.
func tooLarge(err error, p eventstore.Proposal) error {
	if !errors.Is(err, eventstore.ErrTooLarge) {
		return err
	}
	return domain.Reject(domain.CodeInvalid, p.Base.Session.State, "%v", err)
}

// problem is the body of the answer to a request that failed.
func problem(err error, commandID string) contract.Error {
	e := contract.Error{Message: err.Error(), CommandID: commandID}
	if conflict, ok := errors.AsType[*versionConflict](err); ok {
		e.Version = conflict.version
	}
	var rejected *domain.Rejection
	switch {
	case errors.As(err, &rejected):
		e.Code, e.Message, e.State, e.Field = rejected.Code, rejected.Message, rejected.State, rejected.Field
	case errors.Is(err, eventstore.ErrUnknownOutcome):
		e.Code, e.Message = domain.CodeUnknownOutcome, askAgain(err, commandID)
	case errors.Is(err, eventstore.ErrTooLarge):
		e.Code = domain.CodeInvalid
	case errors.Is(err, context.DeadlineExceeded):
		e.Code, e.Message = domain.CodeUnavailable, "the event store did not answer in time; nothing was changed"
	default:
		e.Code = domain.CodeUnavailable
	}
	if !errors.Is(err, eventstore.ErrCorrupt) { // asking again mends nothing
		e.RetryAfter = retryAfter(e.Code)
	}
	return e
}

func askAgain(err error, commandID string) string {
	if commandID == "" {
		return err.Error()
	}
	return fmt.Sprintf("%v; send it again with the same %s, %s, to be told", err, contract.HeaderCommandID, commandID)
}

// retryAfter is a hint when the same request may fare better.
func retryAfter(code domain.Code) domain.Duration {
	switch code {
	case domain.CodeBusy:
		return busyRetry
	case domain.CodeUnavailable, domain.CodeWarming, domain.CodeUnknownOutcome:
		return unavailableRetry
	default:
		return 0
	}
}

// sentence makes a text fit a header: one line of bounded length.
func sentence(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "")
	}
	return text
}

// answers publishes replies on a connection that publishes nothing else, and
// only to inboxes.
type answers struct {
	nc      *nats.Conn
	inboxes []string
	log     *slog.Logger
	// lost counts answers that could not be published.
	lost atomic.Uint64
}

// mayAnswer reports whether a reply subject is one to answer to: an inbox, or
// none at all.
func (a *answers) mayAnswer(reply string) bool {
	if reply == "" {
		return true
	}
	for _, prefix := range a.inboxes {
		if strings.HasPrefix(reply, prefix) {
			return true
		}
	}
	return false
}

// give answers a query with a body.
func (a *answers) give(to string, body any) {
	if to != "" {
		data, err := domain.Marshal(body)
		a.publish(to, data, err)
	}
}

// confirm answers an accepted command.
func (a *answers) confirm(to string, reply *contract.Reply) {
	if to != "" {
		data, err := contract.EncodeReply(reply)
		a.publish(to, data, err)
	}
}

func (a *answers) publish(to string, data []byte, err error) {
	if err == nil && int64(len(data)) > a.nc.MaxPayload() {
		err = domain.Reject(domain.CodeInvalid, domain.StateNone, "the answer has %d bytes, and this server takes %d in one message; ask for less", len(data), a.nc.MaxPayload())
	}
	if err != nil {
		a.fail(to, err, "")
		return
	}
	a.sent(a.nc.Publish(to, data))
}

// fail answers with what is wrong, as a micro service does.
func (a *answers) fail(to string, err error, commandID string) {
	if to == "" {
		return
	}
	e := problem(err, commandID)
	data, err := domain.Marshal(e)
	if err != nil {
		a.sent(err)
		return
	}
	a.sent(a.nc.PublishMsg(&nats.Msg{Subject: to, Data: data, Header: errorHeader(e)}))
}

func (a *answers) sent(err error) {
	if err != nil {
		a.lost.Add(1)
		a.log.Warn("an answer could not be sent", "error", err)
	}
}
