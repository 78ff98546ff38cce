package domain

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// strict reads valid JSON beside a Go type and finds what encoding/json lets
// pass: names of fields in another case, names that stand twice. It knows the
// whole path to what it finds.
type strict struct {
	raw []byte
	at  int
	// offset is where encoding/json stopped at a value whose path is wanted: at
	// its end, or behind the bracket that opens it. found gets the path.
	offset int
	found  string
}

// where is the place of a value: a field or an index of the value around it.
type where struct {
	up    *where
	name  string
	index int
}

// String writes the path, such as chains[0].steps[2].retry.
func (w *where) String() string {
	switch {
	case w == nil:
		return ""
	case w.name == "":
		return w.up.String() + "[" + strconv.Itoa(w.index) + "]"
	case w.up == nil:
		return w.name
	}
	return strings.TrimPrefix(w.up.String()+"."+w.name, ".")
}

// checkNames rejects the first field of raw that t does not have, has in
// another spelling, or that stands twice, and durations that are none.
func checkNames(raw []byte, t reflect.Type) *Rejection {
	s := &strict{raw: raw, offset: -1}
	return s.value(t, nil)
}

// pathAt returns the path of the value that ends at an offset.
func pathAt(raw []byte, t reflect.Type, offset int) string {
	s := &strict{raw: raw, offset: offset}
	_ = s.value(t, nil)
	return s.found
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// value reads one value; t is nil where anything goes.
func (s *strict) value(t reflect.Type, here *where) *Rejection {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s.space()
	begin := s.at
	var r *Rejection
	switch {
	case t == durationType:
		s.skip()
		r = s.duration(s.raw[begin:s.at], here)
	case t == nil || reflect.PointerTo(t).Implements(unmarshaler):
		s.skip()
	case s.raw[s.at] == '{':
		r = s.object(t, here)
	case s.raw[s.at] == '[':
		r = s.array(t, here)
	default:
		s.skip()
	}
	opens := s.raw[begin] == '{' || s.raw[begin] == '['
	if s.found == "" && (s.at == s.offset || opens && begin+1 == s.offset) {
		s.found = here.String()
	}
	return r
}

func (s *strict) duration(raw []byte, here *where) *Rejection {
	var d Duration
	if err := d.UnmarshalJSON(raw); err != nil && string(raw) != "null" {
		return Invalid(here.String(), "%s", durationWords(err))
	}
	return nil
}

// object reads an object: a struct's by its fields, a map's by its elements.
func (s *strict) object(t reflect.Type, here *where) *Rejection {
	var fields map[string]reflect.Type
	var element reflect.Type
	switch t.Kind() {
	case reflect.Struct:
		fields = fieldsOf(t)
	case reflect.Map:
		element = t.Elem()
	default:
	}
	var seen nameSet
	for s.at++; s.next('}'); {
		name := s.text()
		place := &where{up: here, name: name}
		if !seen.add(name) {
			return &Rejection{Code: CodeInvalid, Field: place.String(), Message: place.String() + ": the field stands twice"}
		}
		inner := element
		if fields != nil {
			known, ok := fields[name]
			if !ok {
				return unknownField(place)
			}
			inner = known
		}
		s.space()
		s.at++ // the colon
		if r := s.value(inner, place); r != nil {
			return r
		}
	}
	return nil
}

// nameSet holds the names of an object: the first ones in a list, as most
// objects have few.
type nameSet struct {
	few  []string
	many map[string]bool
}

// fewNames is how many names a list is as good for as a map.
const fewNames = 8

// add reports false if the name is there already.
func (n *nameSet) add(name string) bool {
	if n.many[name] || slices.Contains(n.few, name) {
		return false
	}
	if len(n.few) < fewNames {
		n.few = append(n.few, name)
		return true
	}
	if n.many == nil {
		n.many = map[string]bool{}
	}
	n.many[name] = true
	return true
}

// unknownField names a field by its place, of which a bounded part is shown.
func unknownField(place *where) *Rejection {
	return Reject(CodeInvalid, StateNone, "there is no field %.80q here", place.String()).in(place.String())
}

// in names the field that the rejection is about.
func (r *Rejection) in(field string) *Rejection {
	r.Field = field[:min(len(field), maxShownField)]
	return r
}

// maxShownField bounds the path of a field in a rejection, in bytes.
const maxShownField = 80

func (s *strict) array(t reflect.Type, here *where) *Rejection {
	var element reflect.Type
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		element = t.Elem()
	}
	s.at++
	for i := 0; s.next(']'); i++ {
		if r := s.value(element, &where{up: here, index: i}); r != nil {
			return r
		}
	}
	return nil
}

// next moves to the next element, over a comma; false at the end.
func (s *strict) next(end byte) bool {
	s.space()
	switch s.raw[s.at] {
	case end:
		s.at++
		return false
	case ',':
		s.at++
		s.space()
	}
	return true
}

func (s *strict) space() {
	for s.at < len(s.raw) && (s.raw[s.at] == ' ' || s.raw[s.at] == '\t' || s.raw[s.at] == '\n' || s.raw[s.at] == '\r') {
		s.at++
	}
}

// text reads a string.
func (s *strict) text() string {
	begin := s.at
	s.skipText()
	quoted := s.raw[begin:s.at]
	if !bytes.ContainsRune(quoted, '\\') {
		return string(quoted[1 : len(quoted)-1])
	}
	var plain string
	_ = json.Unmarshal(quoted, &plain) // it is valid
	return plain
}

func (s *strict) skipText() {
	for s.at++; s.raw[s.at] != '"'; s.at++ {
		if s.raw[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

// skip passes over one value.
func (s *strict) skip() {
	for depth := 0; s.at < len(s.raw); {
		switch s.raw[s.at] {
		case '"':
			s.skipText()
		case '{', '[':
			depth++
			s.at++
			continue
		case '}', ']':
			depth--
			s.at++
		case ',', ':', ' ', '\t', '\n', '\r':
			s.at++
			continue
		default:
			s.skipWord()
		}
		if depth <= 0 {
			return
		}
	}
}

// skipWord passes over a number, true, false or null.
func (s *strict) skipWord() {
	for s.at < len(s.raw) && !strings.ContainsRune(",]} \t\n\r:", rune(s.raw[s.at])) {
		s.at++
	}
}

// fieldCache keeps fieldsOf by type: map[string]reflect.Type.
var fieldCache sync.Map

// fieldsOf returns the JSON fields of a struct, those of embedded ones among
// them.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := fieldCache.Load(t); ok {
		if fields, ok := known.(map[string]reflect.Type); ok {
			return fields
		}
	}
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case f.Anonymous && name == "":
			maps.Copy(fields, fieldsOf(f.Type))
		case name == "":
			fields[f.Name] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	fieldCache.Store(t, fields)
	return fields
}
