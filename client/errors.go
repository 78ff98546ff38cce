package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// ErrNoEngine says that nobody serves the subject: no engine runs on this
// server, or under another prefix, or this connection may not reach it.
var ErrNoEngine = errors.New("no engine answers")

// Error is a rejection by the engine, or the client's own finding that no
// answer came (codes unavailable and unknown_outcome).
//
// errors.Is(err, &domain.Rejection{Code: c}) and errors.Is(err, &Error{Code: c})
// ask for the code alone; CodeOf returns it.
type Error struct {
	// Code is stable and for machines; Message is the sentence for people.
	Code    domain.Code
	Message string
	// State is the session's, where the engine says it.
	State domain.State
	// Field is the path of the offending field of the request.
	Field string
	// CommandID names the command, so that it can be sent again; empty for queries.
	CommandID string
	// Version is the session's, for a version conflict.
	Version uint64
	// RetryAfter is the engine's hint for busy and unavailable.
	RetryAfter time.Duration

	cause error
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what went wrong below, such as ErrNoEngine, nats.ErrTimeout or
// context.Canceled; nil for a rejection.
func (e *Error) Unwrap() error { return e.cause }

// Is compares codes with another *Error or a *domain.Rejection.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case *Error:
		return t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
	case *domain.Rejection:
		return t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
	}
	return false
}

// CodeOf returns the code of a rejection, or "" if err is none.
func CodeOf(err error) domain.Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if r, ok := errors.AsType[*domain.Rejection](err); ok {
		return r.Code
	}
	return ""
}

// rejection reads the engine's answer as an error; nil if it is a success.
func rejection(msg *nats.Msg) *Error {
	status := msg.Header.Get(contract.HeaderErrorCode)
	sentence := msg.Header.Get(contract.HeaderError)
	if status == "" && sentence == "" {
		return nil
	}
	var body contract.Error
	if err := json.Unmarshal(msg.Data, &body); err != nil || body.Code == "" {
		return &Error{Code: domain.CodeUnavailable, Message: fmt.Sprintf("the service answered %s: %s", status, sentence)}
	}
	return &Error{
		Code: body.Code, Message: orDefault(body.Message, sentence), State: body.State, Field: body.Field,
		CommandID: body.CommandID, Version: body.Version, RetryAfter: body.RetryAfter.Std(),
	}
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Code: domain.CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}
