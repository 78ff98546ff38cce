package domain

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// eventReader reads JSON objects in the form that Marshal gives them: fields in
// the order of their struct, no white space, text without escapes. Fields may be
// missing. It is several times faster than encoding/json; once something does
// not fit it has failed, what it has read has no meaning, and encoding/json has
// to say what it is. A test holds the two together.
type eventReader struct {
	rest   []byte
	failed bool
	first  bool // nothing of the object at hand was read
}

func (r *eventReader) fail() { r.failed, r.rest = true, nil }

// next skips text if it comes next.
func (r *eventReader) next(text string) bool {
	if len(r.rest) < len(text) || string(r.rest[:len(text)]) != text {
		return false
	}
	r.rest = r.rest[len(text):]
	return true
}

func (r *eventReader) expect(text string) {
	if !r.next(text) {
		r.fail()
	}
}

// object reads an object whose fields the function reads.
func (r *eventReader) object(fields func()) {
	r.expect("{")
	r.first = true
	fields()
	r.first = false
	r.expect("}")
}

// field skips the name of a field if it comes next.
func (r *eventReader) field(name string) bool {
	rest := r.rest
	if !r.first {
		if len(rest) == 0 || rest[0] != ',' {
			return false
		}
		rest = rest[1:]
	}
	if len(rest) < len(name)+3 || rest[0] != '"' || string(rest[1:len(name)+1]) != name || rest[len(name)+1] != '"' || rest[len(name)+2] != ':' {
		return false
	}
	r.rest, r.first = rest[len(name)+3:], false
	return true
}

// plain reads a string without escapes, which stays part of what is read.
func (r *eventReader) plain() []byte {
	r.expect(`"`)
	end := bytes.IndexByte(r.rest, '"')
	if end < 0 || !plainText(r.rest[:end]) {
		r.fail()
		return nil
	}
	text := r.rest[:end]
	r.rest = r.rest[end+1:]
	return text
}

func (r *eventReader) text() string { return string(r.plain()) }

// textOr reads a string that mostly is this one, and takes no memory then.
func (r *eventReader) textOr(usual string) string {
	if text := r.plain(); string(text) != usual {
		return string(text)
	}
	return usual
}

// maxPlainDigits bounds the digits of a number that fits into an int.
const maxPlainDigits = 18

// int reads a whole number.
func (r *eventReader) int() int {
	end := 0
	for end < len(r.rest) && (r.rest[end] == '-' && end == 0 || r.rest[end] >= '0' && r.rest[end] <= '9') {
		end++
	}
	if end > maxPlainDigits || !jsonInteger(r.rest[:end]) {
		r.fail()
		return 0
	}
	if end < len(r.rest) && (r.rest[end] == '.' || r.rest[end] == 'e' || r.rest[end] == 'E') {
		r.fail()
		return 0
	}
	n, _ := strconv.Atoi(string(r.rest[:end]))
	r.rest = r.rest[end:]
	return n
}

// jsonInteger reports whether a sign and digits are a number of JSON.
func jsonInteger(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte("-"))
	return len(text) == 1 || len(text) > 1 && text[0] != '0'
}

func (r *eventReader) uint() uint64 {
	if r.next("-") {
		r.fail()
	}
	return uint64(r.int())
}

// true reads the one value of a boolean that is written.
func (r *eventReader) true() bool {
	r.expect("true")
	return true
}

func (r *eventReader) duration() Duration {
	d, err := ParseDuration(r.text())
	if err != nil {
		r.fail()
	}
	return d
}

func (r *eventReader) time() time.Time {
	var t time.Time
	if t.UnmarshalText(r.plain()) != nil {
		r.fail()
	}
	return t
}

// payload reads any value; null it leaves to encoding/json.
func (r *eventReader) payload() json.RawMessage {
	end := valueEnd(r.rest)
	if end == 0 || r.rest[0] == 'n' {
		r.fail()
		return nil
	}
	raw := slices.Clone(r.rest[:end])
	r.rest = r.rest[end:]
	return raw
}

// list reads an array whose elements the function reads.
func (r *eventReader) list(element func()) {
	r.expect("[")
	if r.next("]") {
		return
	}
	for !r.failed {
		element()
		if r.next("]") {
			return
		}
		r.expect(",")
	}
}

func (r *eventReader) texts() []string {
	texts := []string{}
	r.list(func() { texts = append(texts, r.text()) })
	return texts
}

func (r *eventReader) textMap() map[string]string {
	m := map[string]string{}
	r.expect("{")
	if r.next("}") {
		return m
	}
	for !r.failed {
		key := r.text()
		if _, twice := m[key]; twice {
			r.fail() // a command may not say it twice
		}
		r.expect(":")
		m[key] = r.text()
		if r.next("}") {
			break
		}
		r.expect(",")
	}
	return m
}
