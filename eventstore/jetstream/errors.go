package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/eventstore"
)

// The server's error codes that decide something here (nats-server 2.15,
// errors.json).
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164 // the same on replicated streams, without the number
	codeBatchDuplicate            = 10201 // atomic publish batch contains duplicate message id
	codeBatchIncomplete           = 10176
	codeMessageExceedsMaximum     = 10054
	codeHeaderExceedsMaximum      = 10097
	codeMessageNotFound           = 10037
	codeStreamNotFound            = 10059
	codeStreamNameInUse           = 10058
)

// apiError is an error as the server writes it into its answers.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`

	cause error // what the client library made of it, if it did
}

func (e *apiError) Error() string {
	return fmt.Sprintf("the server says %q (%d)", e.Description, e.ErrCode)
}

func (e *apiError) Unwrap() error { return e.cause }

// classify turns an error of the server into one that matches eventstore's. It
// is the only place that knows the codes of a conflict: 10071 on one replica,
// 10164 on several, and 10201, which a repeated batch may get; the store reads
// back after each of them. What is not known here means that the server refused
// and stored nothing; its words are kept.
func classify(e *apiError) error {
	kind := eventstore.ErrUnavailable
	switch e.ErrCode {
	case codeWrongLastSequence, codeWrongLastSequenceConstant, codeBatchDuplicate:
		kind = eventstore.ErrConflict
	case codeMessageExceedsMaximum, codeHeaderExceedsMaximum:
		kind = eventstore.ErrTooLarge
	case codeMessageNotFound:
		kind = eventstore.ErrNotFound
	}
	return fmt.Errorf("%w: %w", kind, e)
}

// unavailable turns an error of the client library on the way of a read into
// one that matches eventstore's. Errors of this package and of the caller's
// context pass.
func unavailable(err error) error {
	var api *js.APIError
	switch {
	case err == nil, errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, eventstore.ErrNotFound), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &api):
		return classify(&apiError{Code: api.Code, ErrCode: int(api.ErrorCode), Description: api.Description, cause: err})
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: nobody serves the stream (no leader, or JetStream is off): %w", eventstore.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}
