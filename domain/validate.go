package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"
)

// derivedID makes an id from the id of a command, so that the same command
// makes the same one again.
func derivedID(prefix, commandID string) string {
	digest := sha256.Sum256([]byte(commandID))
	return prefix + "-" + hex.EncodeToString(digest[:6])
}

func checkReason(reason string) *Rejection {
	if len(reason) > MaxReasonLength {
		return Invalid("reason", "%d bytes are too many; the most there may be is %d", len(reason), MaxReasonLength)
	}
	return nil
}

func checkDuration(field string, d Duration) *Rejection {
	if d < 0 || d.Std() > MaxDuration {
		return Invalid(field, "%s is outside 0s to %s", d, Duration(MaxDuration))
	}
	return nil
}

func checkRetry(field string, p *RetryPolicy) *Rejection {
	if p == nil {
		return nil
	}
	if p.MaxAttempts < 1 || p.MaxAttempts > MaxAttempts {
		return Invalid(field+".maxAttempts", "%d is outside 1 to %d", p.MaxAttempts, MaxAttempts)
	}
	if p.Factor != 0 && !(p.Factor >= 1 && p.Factor <= 100) {
		return Invalid(field+".factor", "%v is outside 1 to 100", p.Factor)
	}
	if r := checkDuration(field+".backoff", p.Backoff); r != nil {
		return r
	}
	if r := checkDuration(field+".maxBackoff", p.MaxBackoff); r != nil {
		return r
	}
	if p.MaxBackoff > 0 && p.MaxBackoff < p.Backoff {
		return Invalid(field+".maxBackoff", "%s is less than the backoff of %s", p.MaxBackoff, p.Backoff)
	}
	return nil
}

// checkPayload checks an input or output and returns it without white space.
func checkPayload(field string, raw json.RawMessage) (json.RawMessage, *Rejection) {
	if len(raw) == 0 {
		return nil, nil
	}
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return nil, Invalid(field, "it is not JSON")
	}
	small := compact(raw)
	if len(small) > MaxPayloadBytes {
		return nil, Invalid(field, "%d bytes are too many; the most there may be is %d; store it elsewhere and refer to it", len(small), MaxPayloadBytes)
	}
	return small, nil
}

func checkMetadata(field string, m map[string]string) *Rejection {
	if len(m) > MaxMetadataEntries {
		return Invalid(field, "%d keys are too many; the most there may be is %d", len(m), MaxMetadataEntries)
	}
	total := 0
	for _, k := range slices.Sorted(maps.Keys(m)) { // in order, so that the answer is always the same
		v := m[k]
		total += len(k) + len(v)
		switch {
		case k == "" || len(k) > MaxMetadataKey || !utf8.ValidString(k):
			return Invalid(field, "key %.80q: a key has 1 to %d bytes of UTF-8", k, MaxMetadataKey)
		case len(v) > MaxMetadataValue || !utf8.ValidString(v):
			return Invalid(field, "the value of %.80q: a value has at most %d bytes of UTF-8", k, MaxMetadataValue)
		}
	}
	if total > MaxMetadataBytes {
		return Invalid(field, "%d bytes of metadata are too many; the most there may be is %d", total, MaxMetadataBytes)
	}
	return nil
}

// checkReport checks the error that a worker or a person reports.
func checkReport(e ReportError) *Rejection {
	switch {
	case e.Message == "":
		return Invalid("error.message", "say what went wrong")
	case len(e.Message) > MaxErrorMessage:
		return Invalid("error.message", "%d bytes are too many; the most there may be is %d; the stack takes more", len(e.Message), MaxErrorMessage)
	case len(e.Stack) > MaxErrorStack:
		return Invalid("error.stack", "%d bytes are too many; the most there may be is %d", len(e.Stack), MaxErrorStack)
	case e.Code != "" && !ValidID(e.Code):
		return badID("error.code", e.Code)
	}
	return nil
}
