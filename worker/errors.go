package worker

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"reprise/domain"
)

// The causes with which the context of a handler ends; ask context.Cause.
var (
	// ErrCancelled: the session was cancelled, deleted or purged.
	ErrCancelled = errors.New("the session was cancelled")
	// ErrInterrupted: the session was paused and its attempts were taken back.
	ErrInterrupted = errors.New("the session was interrupted")
	// ErrLeaseLost: the attempt is not this worker's any more, or the engine did
	// not answer for a whole lease, so that it may be somebody else's.
	ErrLeaseLost = errors.New("the lease of the attempt is lost")
	// ErrDeadline: the step's timeout is over; the engine records that.
	ErrDeadline = errors.New("the step ran past its timeout")
	// ErrDraining: the worker stops and has waited for DrainTimeout. The step is
	// given back when the handler returns an error.
	ErrDraining = errors.New("the worker is stopping")
	// ErrAbandoned: the worker stops at once and reports nothing.
	ErrAbandoned = errors.New("the worker was told to stop at once")
)

var (
	// ErrUsed says that Run was called a second time.
	ErrUsed = errors.New("worker: Run was called before; make a new worker")
	// ErrUnfinished says that Run returned while handlers ignored the end of their
	// context. Their steps go to others once their leases are over.
	ErrUnfinished = errors.New("worker: handlers did not stop in time")
	// ErrNoOutput says that the step did not wait for a step of that name.
	ErrNoOutput = errors.New("there is no output of that step")
)

// Error is a failure with details. A handler may return any error; an *Error
// found by errors.As adds what it says.
type Error struct {
	// Code is a short stable name such as "exit_status": 1-64 of A-Z a-z 0-9 _ -.
	Code string
	// Message is for people; that of Err if empty.
	Message string
	// Stack is a stack trace or the end of an error output.
	Stack string
	// Permanent rules out another try, whatever the retry policy says.
	Permanent bool
	// Output is what the attempt had put out so far; it is kept with the failure.
	Output any
	// Err is the error below.
	Err error
}

// Error returns the message.
func (e *Error) Error() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.Err != nil:
		return e.Err.Error()
	case e.Code != "":
		return e.Code
	}
	return "failed without a message"
}

// Unwrap returns the error below.
func (e *Error) Unwrap() error { return e.Err }

// Permanent marks an error as one that another try would meet again, so the
// step fails at once. It returns nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	next := &Error{Permanent: true, Err: err}
	if e, ok := errors.AsType[*Error](err); ok {
		next.Code, next.Stack, next.Output = e.Code, e.Stack, e.Output
	}
	return next
}

// reportOf writes an error the way the engine takes it, within its bounds.
func reportOf(err error) domain.ReportError {
	report := domain.ReportError{Message: err.Error()}
	if e, ok := errors.AsType[*Error](err); ok {
		report.Code, report.Stack = e.Code, e.Stack
		if e.Permanent {
			report.Retryable = new(bool)
		}
	}
	if report.Code != "" && !domain.ValidID(report.Code) {
		report.Message = report.Code + ": " + report.Message
		report.Code = ""
	}
	if report.Message == "" {
		report.Message = "failed without a message"
	}
	report.Message = cut(report.Message, domain.MaxErrorMessage)
	report.Stack = cut(report.Stack, domain.MaxErrorStack)
	return report
}

// cut returns text as valid UTF-8 of at most limit bytes, without its end if
// that is too long.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// refusal is an answer of the engine that says no.
type refusal struct {
	status int
	code   domain.Code
	text   string
	state  domain.State
	// after is the engine's hint when to ask again; 0 if it gives none.
	after domain.Duration
}

func (r *refusal) Error() string { return r.text }

// final reports whether asking again can't help.
func (r *refusal) final() bool { return r.status >= 400 && r.status < 500 && r.status != 429 }

// verdict says what a refused heartbeat means for the attempt.
func (r *refusal) verdict() error {
	cause := ErrLeaseLost
	switch {
	case r.state == domain.StateCancelled, r.code == domain.CodeGone, r.code == domain.CodeNotFound:
		cause = ErrCancelled
	case r.state == domain.StatePaused:
		cause = ErrInterrupted
	}
	return fmt.Errorf("%w: %s", cause, r.text)
}

// isFinal reports whether err is a refusal for good.
func isFinal(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.final()
}
