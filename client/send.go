package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// request is one request on its way; every attempt sends the same bytes.
type request struct {
	subject string
	header  nats.Header
	body    []byte
	// commandID is empty for a query, whose outcome never matters.
	commandID string
}

// exchange sends the request until it is answered, at most Config.Attempts
// times, and decodes the answer into reply.
func (c *Client) exchange(ctx context.Context, r request, reply any) error {
	msg, err := c.persist(ctx, r)
	if err != nil {
		return err
	}
	if err := contract.Decode(msg.Data, reply); err != nil {
		return &Error{
			Code: domain.CodeUnavailable, CommandID: r.commandID, cause: err,
			Message: fmt.Sprintf("the answer on %s can't be read: %v", r.subject, err),
		}
	}
	return nil
}

// persist repeats attempts while that may help. Once an attempt got no answer
// the outcome of a command is unknown until a later attempt is answered. An
// engine that is warming up gets better by itself: its answers don't count as
// attempts for as long as Config.Timeout.
func (c *Client) persist(ctx context.Context, r request) (*nats.Msg, error) {
	warm := time.Now().Add(c.cfg.Timeout)
	unsure := false
	for failed, warming := 0, 0; ; {
		msg, err := c.attempt(ctx, r)
		if err == nil {
			return msg, nil
		}
		unsure = unsure || unanswered(err)
		var wait time.Duration
		if CodeOf(err) == domain.CodeWarming && time.Now().Before(warm) {
			warming++
			wait = c.doubled(warming)
		} else {
			failed++
			wait = c.backoff(failed, err)
		}
		if failed == c.cfg.Attempts || !repeatable(err) || ctx.Err() != nil || !pause(ctx, wait) {
			return nil, c.explain(r, err, unsure)
		}
	}
}

// attempt sends once. The error is a *Error for a rejection, else nats.go's.
func (c *Client) attempt(ctx context.Context, r request) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	msg, err := c.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: r.subject, Header: r.header, Data: r.body})
	if err != nil {
		return nil, err
	}
	if e := rejection(msg); e != nil {
		e.CommandID = orDefault(e.CommandID, r.commandID)
		return nil, e
	}
	return msg, nil
}

// unanswered reports whether the request may have been carried out although no
// answer came.
func unanswered(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code == domain.CodeUnknownOutcome
	}
	return !errors.Is(err, nats.ErrNoResponders) && !neverSent(err)
}

// neverSent reports whether the request did not leave this process.
func neverSent(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) ||
		errors.Is(err, nats.ErrBadSubject) || errors.Is(err, nats.ErrConnectionDraining)
}

// repeatable reports whether the same request may fare better a little later.
func repeatable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return !neverSent(err)
	}
	switch e.Code {
	case domain.CodeBusy, domain.CodeUnavailable, domain.CodeWarming, domain.CodeUnknownOutcome:
		return true
	default:
		return false
	}
}

// backoff doubles with every attempt; the engine's own hint goes first.
func (c *Client) backoff(attempt int, last error) time.Duration {
	if e, ok := errors.AsType[*Error](last); ok && e.RetryAfter > 0 {
		return min(e.RetryAfter, maxBackoff)
	}
	return c.doubled(attempt)
}

// doubled is the pause after the nth attempt, bounded.
func (c *Client) doubled(n int) time.Duration {
	return min(c.cfg.Backoff<<min(n-1, 16), maxBackoff)
}

// explain turns the last failure of a request into the error for the caller.
func (c *Client) explain(r request, last error, unsure bool) error {
	if e, ok := errors.AsType[*Error](last); ok && (!repeatable(e) || e.Code == domain.CodeUnknownOutcome) {
		return e
	}
	if r.commandID != "" && unsure {
		return &Error{
			Code: domain.CodeUnknownOutcome, CommandID: r.commandID, cause: last,
			Message: fmt.Sprintf("no answer on %s: it is not known whether the command was applied; send it again with the command id %s",
				r.subject, r.commandID),
		}
	}
	if _, ok := errors.AsType[*Error](last); ok {
		return last
	}
	e := &Error{Code: domain.CodeUnavailable, CommandID: r.commandID, cause: last}
	switch {
	case errors.Is(last, nats.ErrNoResponders):
		e.cause = ErrNoEngine
		e.Message = fmt.Sprintf("no engine answers on %s", r.subject)
	case errors.Is(last, nats.ErrMaxPayload):
		e.Code = domain.CodeInvalid
		e.Message = fmt.Sprintf("the request has %d bytes; this server takes %d in one message", len(r.body), c.nc.MaxPayload())
	default:
		e.Message = fmt.Sprintf("no answer on %s: %v", r.subject, last)
	}
	return e
}

// pause waits and reports whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
