package eventstore

import (
	"bytes"
	"encoding/json"
	"time"

	"reprise/domain"
)

// readEnvelope reads the envelope of a commit in exactly the form that Encode
// writes, which is several times faster than encoding/json. It reports false
// for anything else, also for what is legal but rare (results of a batch, text
// with escapes); that is then read by encoding/json, which also finds the words
// for what is wrong.
func readEnvelope(m Message, wire *wireCommit) bool {
	r := envelopeReader{rest: m.Body}
	r.expect(`{"v":1,"commit":`)
	wire.V, wire.Commit = 1, r.text("")
	r.expect(`,"session":`)
	wire.Session = r.text(m.Key.Session)
	r.expect(`,"user":`)
	wire.User = r.text(m.Key.User)
	r.expect(`,"version":`)
	wire.Version = r.number()
	r.expect(`,"time":`)
	wire.Time = r.time()
	r.expect(`,"actor":`)
	wire.Actor = r.text("")
	r.expect(`,"cause":`)
	wire.Cause = domain.Verb(r.text(""))
	r.expect(`,"state":`)
	wire.State = r.state()
	r.expect(`,"digest":`)
	wire.Digest = r.text("")
	r.expect(`,"prev":`)
	wire.Prev = r.text("")
	if r.next(`,"queue":`) {
		wire.Queue = r.number()
	}
	r.expect(`,"events":[`)
	wire.Events = r.events()
	r.expect(`}`)
	return !r.failed && len(r.rest) == 0
}

// envelopeReader reads JSON of one fixed form. Once something does not fit it
// has failed, and what it returns has no meaning.
type envelopeReader struct {
	rest   []byte
	failed bool
}

// next skips text if it comes next.
func (r *envelopeReader) next(text string) bool {
	if len(r.rest) < len(text) || string(r.rest[:len(text)]) != text {
		return false
	}
	r.rest = r.rest[len(text):]
	return true
}

func (r *envelopeReader) expect(text string) {
	if !r.next(text) {
		r.failed = true
	}
}

// text reads a string without escapes. If it equals the guess no memory is taken.
func (r *envelopeReader) text(guess string) string {
	if raw := r.raw(); string(raw) != guess {
		return string(raw)
	}
	return guess
}

// raw is text that stays part of the body.
func (r *envelopeReader) raw() []byte {
	r.expect(`"`)
	end := bytes.IndexByte(r.rest, '"')
	if r.failed || end < 0 || !plain(r.rest[:end]) {
		r.failed = true
		return nil
	}
	raw := r.rest[:end]
	r.rest = r.rest[end+1:]
	return raw
}

// state reads a state; those that exist take no memory.
func (r *envelopeReader) state() domain.State {
	raw := r.raw()
	for _, s := range states {
		if string(raw) == string(s) {
			return s
		}
	}
	return domain.State(raw)
}

// eventType reads the type of an event; those that exist take no memory.
func (r *envelopeReader) eventType() domain.EventType {
	raw := r.raw()
	if t, ok := eventTypeNames[string(raw)]; ok {
		return t
	}
	return domain.EventType(raw)
}

// The names that are read all the time; nothing changes them.
var (
	states         = domain.States()
	eventTypeNames = namesOf(domain.EventTypes())
)

func namesOf(types []domain.EventType) map[string]domain.EventType {
	names := make(map[string]domain.EventType, len(types))
	for _, t := range types {
		names[string(t)] = t
	}
	return names
}

// number reads a whole number of at most 19 digits, without a leading zero.
func (r *envelopeReader) number() uint64 {
	n, digits := uint64(0), 0
	for digits < len(r.rest) && r.rest[digits] >= '0' && r.rest[digits] <= '9' {
		n = n*10 + uint64(r.rest[digits]-'0')
		digits++
	}
	if digits == 0 || digits > 19 || digits > 1 && r.rest[0] == '0' {
		r.failed = true
		return 0
	}
	r.rest = r.rest[digits:]
	return n
}

func (r *envelopeReader) time() time.Time {
	var t time.Time
	if text := r.raw(); r.failed || t.UnmarshalText(text) != nil {
		r.failed = true
	}
	return t
}

// events reads the elements of the array and its end. Their data is only
// delimited here; whether it is JSON is found when it is decoded.
func (r *envelopeReader) events() []wireEvent {
	events := make([]wireEvent, 0, 4)
	for !r.failed {
		var e wireEvent
		r.expect(`{"type":`)
		e.Type = r.eventType()
		if r.next(`,"v":`) {
			e.V = int(min(r.number(), maxEventVersion))
		}
		r.expect(`,"data":`)
		e.Data = r.object()
		r.expect(`}`)
		events = append(events, e)
		if r.next(`]`) {
			break
		}
		r.expect(`,`)
	}
	return events
}

// maxEventVersion is beyond every version that will ever be.
const maxEventVersion = 1 << 20

// object delimits a JSON object by its braces, minding strings.
func (r *envelopeReader) object() json.RawMessage {
	if r.failed || len(r.rest) == 0 || r.rest[0] != '{' {
		r.failed = true
		return nil
	}
	depth, quoted := 0, false
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				raw := r.rest[:i+1]
				r.rest = r.rest[i+1:]
				return raw
			}
		}
	}
	r.failed = true
	return nil
}
