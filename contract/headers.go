package contract

import (
	"fmt"
	"net/http"

	"reprise/domain"
)

// The headers of requests.
const (
	// HeaderCommandID names a command; sent again it gets the same answer.
	HeaderCommandID = "Reprise-Command-Id"
	// HeaderExpectVersion rejects the command unless the session has this version.
	HeaderExpectVersion = "Reprise-Expect-Version"
	// HeaderDryRun ("true") asks for the events a command would append.
	HeaderDryRun = "Reprise-Dry-Run"
	// HeaderMinPosition (a Position as text) makes a query wait until it is seen.
	HeaderMinPosition = "Reprise-Min-Position"
)

// The headers of stored messages.
const (
	// HeaderTypes lists the event types of a commit, separated by commas.
	HeaderTypes = "Reprise-Types"
	// HeaderIndex of a view repeats what lists and timers need, as JSON.
	HeaderIndex = "Reprise-Index"
	// HeaderReason and HeaderCode of a dead letter say why it was rejected.
	HeaderReason = "Reprise-Reason"
	HeaderCode   = "Reprise-Code"
	// HeaderTraceParent is the W3C trace context, passed through.
	HeaderTraceParent = "traceparent"
	// HeaderGuard is the server's own: the expected last sequence of the subject.
	HeaderGuard = "Nats-Expected-Last-Subject-Sequence"
)

// The headers of a rejection, as the NATS micro services specification names them.
const (
	HeaderError     = "Nats-Service-Error"
	HeaderErrorCode = "Nats-Service-Error-Code"
)

// Status returns the number of a code in HeaderErrorCode.
func Status(code domain.Code) int {
	switch code {
	case domain.CodeInvalid:
		return http.StatusBadRequest
	case domain.CodeNotAllowed:
		return http.StatusForbidden
	case domain.CodeNotFound:
		return http.StatusNotFound
	case domain.CodeAlready, domain.CodeExists, domain.CodeVersionConflict, domain.CodeIDReused, domain.CodeHeld:
		return http.StatusConflict
	case domain.CodeGone:
		return http.StatusGone
	case domain.CodeIllegalTransition, domain.CodeStaleAttempt:
		return http.StatusUnprocessableEntity
	case domain.CodeBusy:
		return http.StatusTooManyRequests
	case domain.CodeUnavailable, domain.CodeWarming:
		return http.StatusServiceUnavailable
	case domain.CodeUnknownOutcome:
		return http.StatusGatewayTimeout
	}
	panic(fmt.Sprintf("contract: code %q has no status", code))
}
