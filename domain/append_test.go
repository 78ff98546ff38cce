package domain_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

// oddTexts are strings that JSON writes in different ways.
var oddTexts = []string{
	"", "a", "plain-id_1", "0198f1c2-7c1b-7d43-9a65-6f0f4f1d2c3b", "eight by", "a \"quote\" in it", `back\slash`, "<b>&amp;</b>",
	"line\nbreak\ttab\r\b\f", "\x00\x1f", "\x7f del", "Zürich", "日本", "\u2028\u2029", "bad \xff\xfe utf8", "1234567\"", "12345678\\9", "\x80345678",
}

// oddPayloads are raw JSON; the last ones are none.
var oddPayloads = []string{
	"", `{}`, `{"ok":true,"rows":42}`, `[1,-2.5e+10,0.1,null,"x"]`, ` {"a" : [ 1 , 2 ] } `, `"<&>"`, "\"\u2028\"", `{"a":{"a":{"a":[[]]}}}`, `"\u00e9\n\\\""`,
	"\"\xff\"", `null`, `-0`, strings.Repeat("[", 70) + strings.Repeat("]", 70), `{"a":1,"a":2}`, `0e0`,
	`01`, `{`, `"\x"`, `{"a"}`, `[1,]`, `tru`, `-`, `1.`, `1e`, `"`, `"\u12g4"`, `"a` + "\n" + `"`, `{"a":1}x`, `1 2`, `"\`,
}

// validPayloads is how many of oddPayloads are JSON.
const validPayloads = 15

// scribbler fills values with what is odd.
type scribbler struct {
	*rand.Rand
	payloads int // of oddPayloads
}

func newScribbler(seed uint64) scribbler {
	return scribbler{rand.New(rand.NewPCG(seed, 1)), validPayloads}
}

func (r scribbler) text() string { return oddTexts[r.IntN(len(oddTexts))] }

func (r scribbler) time() time.Time {
	t := time.Unix(r.Int64N(4e9), r.Int64N(1e9)*r.Int64N(2))
	return []time.Time{{}, t.UTC(), t.UTC(), t.In(time.FixedZone("", 3600*r.IntN(12)))}[r.IntN(4)]
}

// fill writes something into every exported field below v.
func (r scribbler) fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(r.time()))
		return
	case json.RawMessage:
		v.SetBytes([]byte(oddPayloads[r.IntN(r.payloads)]))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for what, field := range v.Fields() {
			if what.IsExported() {
				r.fill(field)
			}
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			r.fill(v.Elem())
		}
	case reflect.Slice:
		r.fillSlice(v)
	case reflect.Map:
		if r.IntN(3) > 0 {
			v.Set(reflect.ValueOf(map[string]string{r.text(): r.text(), "k" + r.text(): r.text(), "é": ""}))
		}
	default:
		r.fillPlain(v)
	}
}

func (r scribbler) fillSlice(v reflect.Value) {
	if r.IntN(4) == 0 {
		return
	}
	n := r.IntN(4)
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		r.fill(v.Index(i))
	}
}

func (r scribbler) fillPlain(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(r.text())
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, 30e9, 1500e6, 1, math.MaxInt32, r.Int64()}[r.IntN(8)])
	case reflect.Uint64:
		v.SetUint([]uint64{0, 1, math.MaxUint64, r.Uint64()}[r.IntN(4)])
	case reflect.Float64:
		v.SetFloat([]float64{0, math.Copysign(0, -1), 1, 2.5, -3, 1e300, 1e15, 1e21, 1e-7}[r.IntN(9)])
	default:
		panic("nothing fills a " + v.Type().String())
	}
}

// A session is written to the same bytes as encoding/json writes, and where that
// fails it fails too.
func TestAppendJSONIsMarshal(t *testing.T) {
	for _, sit := range situations() {
		h := newStory(t)
		sit.build(h)
		checkAppend(t, h.s)
	}
	for seed := range uint64(3000) {
		r := newScribbler(seed)
		if seed%3 == 0 {
			r.payloads = len(oddPayloads)
		}
		var s domain.Session
		r.fill(reflect.ValueOf(&s).Elem())
		checkAppend(t, &s)
	}
	checkAppend(t, &domain.Session{CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
}

func checkAppend(t *testing.T, s *domain.Session) {
	t.Helper()
	want, wantErr := domain.Marshal(s)
	got, err := s.AppendJSON([]byte("x"))
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("the error is %v, that of Marshal %v", err, wantErr)
	}
	if err == nil && !bytes.Equal(got[1:], want) {
		t.Fatalf("%s\nis not\n%s", got[1:], want)
	}
}

// FuzzAppendJSON writes sessions with any text and payload in them.
func FuzzAppendJSON(f *testing.F) {
	for i, text := range oddTexts {
		f.Add(uint64(i), text, []byte(oddPayloads[i]))
	}
	for i, payload := range oddPayloads {
		f.Add(uint64(i), "a", []byte(payload))
	}
	f.Fuzz(func(t *testing.T, seed uint64, text string, payload []byte) {
		var s domain.Session
		newScribbler(seed).fill(reflect.ValueOf(&s).Elem())
		s.ID, s.Metadata = text, map[string]string{text: text}
		s.Chains = append(s.Chains, &domain.Chain{ID: text, Steps: []*domain.Step{{Input: payload, Output: payload}}})
		checkAppend(t, &s)
	})
}
