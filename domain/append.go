package domain

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// Appender writes JSON exactly as Marshal does, without reflection, for what is
// written all the time. What is rare (text with escapes, odd numbers) it leaves
// to encoding/json. The methods that end in Opt leave the field out where it is
// empty, as omitempty and omitzero do. It is for one goroutine.
type Appender struct {
	// Buf is what was written.
	Buf []byte
	// Err is the first thing that has no JSON; what was written is of no use then.
	Err error
}

// Raw writes text as it is.
func (a *Appender) Raw(text string) { a.Buf = append(a.Buf, text...) }

// Name begins a field of an object, with a comma unless it is the first one.
func (a *Appender) Name(name string) {
	if a.Buf[len(a.Buf)-1] != '{' {
		a.Buf = append(a.Buf, ',')
	}
	a.Buf = append(a.Buf, '"')
	a.Buf = append(a.Buf, name...)
	a.Buf = append(a.Buf, '"', ':')
}

// other writes any value by encoding/json.
func (a *Appender) other(v any) {
	raw, err := Marshal(v)
	if err != nil && a.Err == nil {
		a.Err = err
	}
	a.Buf = append(a.Buf, raw...)
}

// Text writes a string.
func (a *Appender) Text(text string) {
	if !plainText(text) {
		a.other(text)
		return
	}
	a.Buf = append(a.Buf, '"')
	a.Buf = append(a.Buf, text...)
	a.Buf = append(a.Buf, '"')
}

// String writes a field.
func (a *Appender) String(name, text string) {
	a.Name(name)
	a.Text(text)
}

// StringOpt writes a field unless it is empty.
func (a *Appender) StringOpt(name, text string) {
	if text != "" {
		a.String(name, text)
	}
}

// BoolOpt writes a field that is true.
func (a *Appender) BoolOpt(name string, b bool) {
	if b {
		a.Name(name)
		a.Raw("true")
	}
}

// Int writes a field.
func (a *Appender) Int(name string, n int) {
	a.Name(name)
	a.Buf = strconv.AppendInt(a.Buf, int64(n), 10)
}

// IntOpt writes a field unless it is 0.
func (a *Appender) IntOpt(name string, n int) {
	if n != 0 {
		a.Int(name, n)
	}
}

// Uint writes a field.
func (a *Appender) Uint(name string, n uint64) {
	a.Name(name)
	a.Buf = strconv.AppendUint(a.Buf, n, 10)
}

// UintOpt writes a field unless it is 0.
func (a *Appender) UintOpt(name string, n uint64) {
	if n != 0 {
		a.Uint(name, n)
	}
}

// maxPlainFloat bounds the whole numbers that are written without a thought.
const maxPlainFloat = 1 << 53

// FloatOpt writes a field unless it is 0.
func (a *Appender) FloatOpt(name string, f float64) {
	if f == 0 {
		return
	}
	a.Name(name)
	if f >= 1 && f <= maxPlainFloat && f == math.Trunc(f) {
		a.Buf = strconv.AppendInt(a.Buf, int64(f), 10)
		return
	}
	a.other(f)
}

// DurationOpt writes a field unless it is 0.
func (a *Appender) DurationOpt(name string, d Duration) {
	if d != 0 {
		a.String(name, d.String())
	}
}

// Time writes a field.
func (a *Appender) Time(name string, t time.Time) {
	a.Name(name)
	buf, err := t.AppendText(append(a.Buf, '"'))
	if err != nil {
		a.other(t) // for the words of its error
		return
	}
	buf = append(buf, '"')
	a.Buf = buf
}

// TimeOpt writes a field unless it is the zero time.
func (a *Appender) TimeOpt(name string, t time.Time) {
	if !t.IsZero() {
		a.Time(name, t)
	}
}

// PayloadOpt writes a field of raw JSON, without the white space in it, unless
// it is empty.
func (a *Appender) PayloadOpt(name string, raw json.RawMessage) {
	if len(raw) == 0 {
		return
	}
	a.Name(name)
	if valueEnd(raw) == len(raw) {
		a.Buf = append(a.Buf, raw...)
		return
	}
	buf := bytes.NewBuffer(a.Buf)
	if json.Compact(buf, raw) != nil {
		a.other(raw) // for the words of its error
		return
	}
	a.Buf = buf.Bytes()
}

// MapOpt writes a field with the keys of the map in order, unless it is empty.
func (a *Appender) MapOpt(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	a.Name(name)
	a.Raw("{")
	for i, key := range keys {
		if i > 0 {
			a.Raw(",")
		}
		a.Text(key)
		a.Raw(":")
		a.Text(m[key])
	}
	a.Raw("}")
}

// Texts writes an array of strings; a nil one is null.
func Texts[T ~string](a *Appender, list []T) {
	Array(a, list, func(text T) { a.Text(string(text)) })
}

// TextsOpt writes a field that is an array of strings, unless that is empty.
func TextsOpt[T ~string](a *Appender, name string, list []T) {
	if len(list) > 0 {
		a.Name(name)
		Texts(a, list)
	}
}

// Array writes a list; a nil one is null.
func Array[T any](a *Appender, list []T, each func(T)) {
	if list == nil {
		a.Raw("null")
		return
	}
	a.Raw("[")
	for i, v := range list {
		if i > 0 {
			a.Raw(",")
		}
		each(v)
	}
	a.Raw("]")
}

// object writes what a pointer points to; nil is null.
func object[T any](a *Appender, v *T, fields func(*T)) {
	if v == nil {
		a.Raw("null")
		return
	}
	a.Raw("{")
	fields(v)
	a.Raw("}")
}

// objectOpt writes a field that is left out where the pointer is nil.
func objectOpt[T any](a *Appender, name string, v *T, fields func(*T)) {
	if v != nil {
		a.Name(name)
		object(a, v, fields)
	}
}
