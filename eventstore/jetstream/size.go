package jetstream

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// What the server counts for a stored message beside its subject, headers and
// body, in bytes: length, sequence, time, length of the subject and checksum in
// files, with the length of the headers where there are any; sequence and time
// in memory.
const (
	fileOverhead   = 22 + 8
	fileHeaders    = 4
	memoryOverhead = 16
	// headerLine and headerEnd frame the headers of a message.
	headerLine = "NATS/1.0\r\n"
	headerEnd  = "\r\n"
)

// storedSize returns what the server counts for a message in the size of its
// stream, in bytes. Of a message without its body the server says how long that is.
func (d *Driver) storedSize(subject string, header nats.Header, body []byte) uint64 {
	size := memoryOverhead + len(subject) + len(body)
	if d.durable {
		size += fileOverhead - memoryOverhead
	}
	if left, err := strconv.Atoi(header.Get(nats.MsgSize)); err == nil {
		size += left
	}
	lines := 0
	for name, values := range header {
		if addedOnDelivery(name) {
			continue
		}
		for _, value := range values {
			lines += len(name) + len(": ") + len(value) + len("\r\n")
		}
	}
	if lines > 0 {
		size += len(headerLine) + lines + len(headerEnd)
	}
	if lines > 0 && d.durable {
		size += fileHeaders
	}
	return uint64(size)
}

// addedOnDelivery reports whether the server adds a header to what it stored:
// in the answer to a direct get, or where the body is left out.
func addedOnDelivery(name string) bool {
	if !strings.HasPrefix(name, serverHeaders) {
		return false
	}
	switch name {
	case nats.MsgSize, js.StreamHeader, js.SubjectHeader, js.SequenceHeader, js.TimeStampHeaer, js.LastSequenceHeader,
		"Nats-Num-Pending", "Nats-UpTo-Sequence":
		return true
	}
	return false
}
