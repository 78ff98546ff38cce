package eventstore

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// The headers of a commit: CloudEvents in binary mode.
const (
	headerCESpecVersion = "ce-specversion"
	headerCEID          = "ce-id"
	headerCESource      = "ce-source"
	headerCEType        = "ce-type"
	headerCETime        = "ce-time"
	headerCESubject     = "ce-subject"

	ceSpecVersion = "1.0"
	ceType        = "reprise.commit.v1"
)

// maxTraceParent bounds the traceparent that is passed through, in bytes.
const maxTraceParent = 128

// header makes the headers of a commit. The ce-id is key and version, which is
// unique in the store; the command id is not, since a move writes two commits.
func header(key Key, c *domain.Commit, source, traceParent string) map[string]string {
	subject := key.String()
	h := map[string]string{
		headerCESpecVersion:  ceSpecVersion,
		headerCEID:           subject + "." + strconv.FormatUint(c.Version, 10),
		headerCESource:       source,
		headerCEType:         ceType,
		headerCETime:         c.Time.UTC().Format(time.RFC3339Nano),
		headerCESubject:      subject,
		contract.HeaderTypes: eventTypes(c),
	}
	if traceParent != "" && printable(traceParent, maxTraceParent) {
		h[contract.HeaderTraceParent] = traceParent
	}
	return h
}

// eventTypes lists the types of a commit's events, each once, in order.
func eventTypes(c *domain.Commit) string {
	if len(c.Events) == 1 {
		return string(c.Events[0].Type())
	}
	var b strings.Builder
	for i, e := range c.Events {
		if repeated(c.Events[:i], e.Type()) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(e.Type()))
	}
	return b.String()
}

// repeated looks at the few events before; a commit with many has few types.
func repeated(before []domain.Event, t domain.EventType) bool {
	for _, b := range slices.Backward(before) {
		if b.Type() == t {
			return true
		}
	}
	return false
}

// printable reports whether text is ASCII without spaces or control characters
// and not longer than limit: safe as the value of a header.
func printable(text string, limit int) bool {
	if len(text) > limit {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// guardHeaderSize is what the guard adds to a message at most, in bytes.
const guardHeaderSize = len(contract.HeaderGuard) + 4 + 20

// messageSize is what a message takes of the server's limit, in bytes: the
// header block with its guard, and the body.
func messageSize(header map[string]string, body []byte) int {
	n := len("NATS/1.0\r\n") + 2 + guardHeaderSize + len(body)
	for k, v := range header {
		n += len(k) + len(v) + 4
	}
	return n
}
