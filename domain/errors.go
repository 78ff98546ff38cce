package domain

import "fmt"

// Code is the stable name of a reason why something was rejected. Codes are
// for machines; the sentence beside them is for people.
type Code string

// The codes. Each has one number in the contract on NATS.
const (
	// CodeInvalid: the request itself is malformed or over a bound.
	CodeInvalid Code = "invalid"
	// CodeNotAllowed: the caller may not do that.
	CodeNotAllowed Code = "not_allowed"
	// CodeNotFound: there is no such session, chain or step.
	CodeNotFound Code = "not_found"
	// CodeAlready: the thing is already in the state that was asked for.
	CodeAlready Code = "already"
	// CodeExists: the id is taken by another definition.
	CodeExists Code = "exists"
	// CodeVersionConflict: the session is not at the version the caller expected.
	CodeVersionConflict Code = "version_conflict"
	// CodeIDReused: the command id was used before for another body.
	CodeIDReused Code = "id_reused"
	// CodeGone: the session was deleted or purged.
	CodeGone Code = "gone"
	// CodeIllegalTransition: the table does not allow that in this state.
	CodeIllegalTransition Code = "illegal_transition"
	// CodeStaleAttempt: a result or heartbeat of an attempt that is over.
	CodeStaleAttempt Code = "stale_attempt"
	// CodeHeld: the session is on hold and may not be deleted or purged.
	CodeHeld Code = "held"
	// CodeBusy: over capacity or over a limit; try again later.
	CodeBusy Code = "busy"
	// CodeUnavailable: the engine or the store can't answer now.
	CodeUnavailable Code = "unavailable"
	// CodeWarming: the index is still being built.
	CodeWarming Code = "warming"
	// CodeUnknownOutcome: it is not known whether the command was applied; ask
	// again with the same command id.
	CodeUnknownOutcome Code = "unknown_outcome"
)

// Codes lists every code.
func Codes() []Code {
	return []Code{
		CodeInvalid, CodeNotAllowed, CodeNotFound, CodeAlready, CodeExists, CodeVersionConflict,
		CodeIDReused, CodeGone, CodeIllegalTransition, CodeStaleAttempt, CodeHeld, CodeBusy,
		CodeUnavailable, CodeWarming, CodeUnknownOutcome,
	}
}

// Rejection says why a command was not accepted: a stable code for machines, a
// sentence for people that says what would have worked, and the state the
// session is in (empty where that is unknown or nobody's business).
type Rejection struct {
	Code    Code
	Message string
	State   State
	// Field is the path of the offending field in the request, if it is about one.
	Field string
}

// Error returns the sentence.
func (r *Rejection) Error() string { return r.Message }

// Is makes errors.Is(err, &Rejection{Code: c}) ask for the code alone.
func (r *Rejection) Is(target error) bool {
	t, ok := target.(*Rejection)
	return ok && t.Code == r.Code && (t.Message == "" || t.Message == r.Message)
}

// Reject makes a rejection with a formatted sentence.
func Reject(code Code, state State, format string, args ...any) *Rejection {
	return &Rejection{Code: code, State: state, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes a rejection of a malformed field.
func Invalid(field, format string, args ...any) *Rejection {
	r := &Rejection{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
	if field != "" {
		r.Message = field + ": " + r.Message
	}
	return r
}
