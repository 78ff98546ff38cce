package client

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
)

// CommandOption changes how one command is sent.
type CommandOption func(*commandOptions)

type commandOptions struct {
	id       string
	operator bool
	dryRun   bool
	header   nats.Header
}

// WithCommandID names the command. Sent again with the same id and body it gets
// the first answer; with another body it is rejected with id_reused. Without
// this option an id is made.
func WithCommandID(id string) CommandOption {
	return func(o *commandOptions) { o.id = id }
}

// ExpectVersion rejects the command with version_conflict unless the session
// has exactly this version when it is decided.
func ExpectVersion(version uint64) CommandOption {
	return func(o *commandOptions) {
		o.header.Set(contract.HeaderExpectVersion, strconv.FormatUint(version, 10))
	}
}

// DryRun asks for the events the command would append; nothing is changed. The
// reply then carries the data of the events.
func DryRun() CommandOption {
	return func(o *commandOptions) {
		o.dryRun = true
		o.header.Set(contract.HeaderDryRun, "true")
	}
}

// AsOperator sends the command on the operator's subject of Config.Operator.
func AsOperator() CommandOption {
	return func(o *commandOptions) { o.operator = true }
}

// WithTraceParent passes a W3C trace context on; it is stored with the commit.
func WithTraceParent(value string) CommandOption {
	return func(o *commandOptions) { o.header.Set(contract.HeaderTraceParent, value) }
}

func commandOptionsOf(opts []CommandOption) commandOptions {
	o := commandOptions{header: nats.Header{}}
	for _, opt := range opts {
		opt(&o)
	}
	if o.id == "" {
		o.id = NewCommandID()
	}
	o.header.Set(contract.HeaderCommandID, o.id)
	return o
}

// QueryOption changes how one query is sent.
type QueryOption func(nats.Header)

// MinPosition makes the query wait until the engine has seen the position that
// a command's reply gave, so that one reads one's own writes.
func MinPosition(p contract.Position) QueryOption {
	return func(h nats.Header) { h.Set(contract.HeaderMinPosition, p.String()) }
}

// NewCommandID returns a new UUID version 7 (RFC 9562): 48 bits of time in
// milliseconds, then random bits.
func NewCommandID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails; it ends the program instead
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], stamp[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
