package eventstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"reprise/domain"
)

// encoder writes one commit after another into a buffer that it keeps. The
// envelope and the usual events are written by hand, since they are most of all
// commits; what is unusual or needs escaping is written by encoding/json. A test
// compares the bytes with those of encoding/json alone.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}}

// maxKeptBuffer bounds the buffers that are kept for the next commit, in bytes.
const maxKeptBuffer = 64 << 10

// Encode returns the body of a commit. The same commit always gives the same
// bytes. It fails only for a payload that is not JSON.
func (c Codec) Encode(commit *domain.Commit) ([]byte, error) {
	e := encoders.Get().(*encoder) //nolint:forcetypeassert // New makes nothing else
	e.buf.Reset()
	err := e.commit(commit, c.Upcasts)
	body := slices.Clone(e.buf.Bytes())
	if e.buf.Cap() <= maxKeptBuffer {
		encoders.Put(e)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

func (e *encoder) commit(c *domain.Commit, upcasts Upcasts) error {
	e.buf.WriteString(`{"v":`)
	e.number(domain.CommitVersion)
	e.field("commit", c.ID)
	e.field("session", c.Session)
	e.field("user", c.User)
	e.buf.WriteString(`,"version":`)
	e.number(c.Version)
	e.buf.WriteString(`,"time":"`)
	e.buf.Write(c.Time.UTC().AppendFormat(e.buf.AvailableBuffer(), time.RFC3339Nano))
	e.buf.WriteByte('"')
	e.field("actor", c.Actor)
	e.field("cause", string(c.Cause))
	e.field("state", string(c.State))
	e.field("digest", c.Digest)
	e.field("prev", c.Prev)
	if c.Queue > 0 {
		e.buf.WriteString(`,"queue":`)
		e.number(c.Queue)
	}
	if len(c.Results) > 0 {
		e.buf.WriteString(`,"results":`)
		if err := e.value(c.Results); err != nil {
			return fmt.Errorf("encode the results: %w", err)
		}
	}
	return e.events(c.Events, upcasts)
}

func (e *encoder) events(events []domain.Event, upcasts Upcasts) error {
	e.buf.WriteString(`,"events":[`)
	for i, event := range events {
		if i > 0 {
			e.buf.WriteByte(',')
		}
		e.buf.WriteString(`{"type":"`)
		e.buf.WriteString(string(event.Type()))
		e.buf.WriteByte('"')
		if v := upcasts.Current(event.Type()); v > 1 {
			e.buf.WriteString(`,"v":`)
			e.number(uint64(v))
		}
		e.buf.WriteString(`,"data":`)
		if err := e.event(event); err != nil {
			return fmt.Errorf("encode %s: %w", event.Type(), err)
		}
		e.buf.WriteByte('}')
	}
	e.buf.WriteString("]}")
	return nil
}

// event writes the data of an event, by encoding/json if it is an unusual one.
func (e *encoder) event(event domain.Event) error {
	a := domain.Appender{Buf: e.buf.AvailableBuffer()}
	if !a.Event(event) {
		return e.value(event)
	}
	e.buf.Write(a.Buf)
	return a.Err
}

func (e *encoder) number(n uint64) {
	e.buf.Write(strconv.AppendUint(e.buf.AvailableBuffer(), n, 10))
}

// field writes a comma, a name and a string.
func (e *encoder) field(name, text string) {
	e.buf.WriteString(`,"`)
	e.buf.WriteString(name)
	e.buf.WriteString(`":`)
	if !plain(text) {
		_ = e.value(text) // a string always has JSON
		return
	}
	e.buf.WriteByte('"')
	e.buf.WriteString(text)
	e.buf.WriteByte('"')
}

// value writes anything by encoding/json, which ends it with a line break.
func (e *encoder) value(v any) error {
	if err := e.json.Encode(v); err != nil {
		return err
	}
	e.buf.Truncate(e.buf.Len() - 1)
	return nil
}

// plain reports whether text stands in JSON as it is: printable ASCII without
// quotes and backslashes.
func plain[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
