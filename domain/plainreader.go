package domain

import (
	"encoding/json"
	"slices"
	"time"
)

// A PlainReader reads JSON in the form that Marshal gives it, for packages that
// read much of it: fields in the order of their struct, no white space, text
// without escapes. Fields may be missing. Once something does not fit, Done is
// false for good and what was read has no meaning: encoding/json has to read it
// then. Nothing of what is read is kept. It is not safe for concurrent use.
type PlainReader struct{ r eventReader }

// NewPlainReader reads body.
func NewPlainReader(body []byte) *PlainReader { return &PlainReader{eventReader{rest: body}} }

// Done reports whether everything was read and fitted.
func (p *PlainReader) Done() bool { return !p.r.failed && len(p.r.rest) == 0 }

// Object reads an object whose fields the function reads.
func (p *PlainReader) Object(fields func()) { p.r.object(fields) }

// Field skips the name of a field and its colon, if that field comes next.
func (p *PlainReader) Field(name string) bool { return p.r.field(name) }

// List reads an array whose elements the function reads.
func (p *PlainReader) List(element func()) { p.r.list(element) }

// Map reads an object of any keys, each of them once; the function reads the
// value of one.
func (p *PlainReader) Map(value func(key string)) {
	var seen []string
	p.r.expect("{")
	for !p.r.failed && !p.r.next("}") {
		if len(seen) > 0 {
			p.r.expect(",")
		}
		key := p.r.text()
		if len(seen) == maxPlainKeys || slices.Contains(seen, key) {
			p.r.fail()
		}
		seen = append(seen, key)
		p.r.expect(":")
		value(key)
	}
}

// maxPlainKeys bounds the keys of a Map.
const maxPlainKeys = 64

// Text reads a string; one that equals usual takes no memory.
func (p *PlainReader) Text(usual string) string { return p.r.textOr(usual) }

// EventType reads the name of a kind of event.
func (p *PlainReader) EventType() EventType {
	text := p.r.plain()
	if known, ok := eventTypes[string(text)]; ok {
		return known
	}
	return EventType(text)
}

// eventTypes has the names of all events, so that reading one takes no memory.
var eventTypes = func() map[string]EventType {
	known := make(map[string]EventType, len(events))
	for t := range events {
		known[string(t)] = t
	}
	return known
}()

// Bool reads true or false.
func (p *PlainReader) Bool() bool {
	if p.r.next("true") {
		return true
	}
	p.r.expect("false")
	return false
}

// Int reads a whole number.
func (p *PlainReader) Int() int { return p.r.int() }

// Uint reads a whole number that is not negative.
func (p *PlainReader) Uint() uint64 { return p.r.uint() }

// Duration reads a duration.
func (p *PlainReader) Duration() Duration { return p.r.duration() }

// Time reads a time.
func (p *PlainReader) Time() time.Time { return p.r.time() }

// Payload reads any value but null.
func (p *PlainReader) Payload() json.RawMessage { return p.r.payload() }
