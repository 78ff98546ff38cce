package domain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"reprise/domain"
)

// strictly reads an event as the event store does where ReadEvent passes.
func strictly(t domain.EventType, data []byte) (domain.Event, error) {
	e := domain.NewEvent(t)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(e); err != nil {
		return nil, err
	}
	if dec.InputOffset() != int64(len(data)) {
		return nil, errors.New("something follows")
	}
	return e, nil
}

// checkRead compares ReadEvent with encoding/json and reports whether it read
// the event itself.
func checkRead(t *testing.T, kind domain.EventType, data []byte) bool {
	t.Helper()
	before := slices.Clone(data)
	got := domain.ReadEvent(kind, data)
	if got == nil {
		return false
	}
	want, err := strictly(kind, data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s %s is read as\n%s\nand not as\n%s, %v", kind, data, jsonOf(t, got), jsonOf(t, want), err)
	}
	for i := range data {
		data[i] = 'x'
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s %s is kept by what was read from it", kind, before)
	}
	copy(data, before)
	return true
}

// What ReadEvent reads is what encoding/json reads, over every type and field;
// it reads all that is usual.
func TestReadEventReadsAsJSONDoes(t *testing.T) {
	read := map[domain.EventType]int{}
	for seed := range uint64(400) {
		r := newScribbler(seed)
		for _, kind := range domain.EventTypes() {
			e := domain.NewEvent(kind)
			r.fill(reflect.ValueOf(e).Elem())
			raw, err := domain.Marshal(e)
			if err == nil && checkRead(t, kind, raw) {
				read[kind]++
			}
		}
	}
	for _, sit := range situations() {
		h := newStory(t)
		sit.build(h)
		for _, c := range h.commits {
			for _, e := range c.Events {
				if checkRead(t, e.Type(), []byte(jsonOf(t, e))) {
					read[e.Type()]++
				}
			}
		}
	}
	for _, kind := range []domain.EventType{
		domain.TypeSessionCreated, domain.TypeSessionPaused, domain.TypeSessionResumed, domain.TypeSessionFailed, domain.TypeMetadataSet,
		domain.TypeChainStarted, domain.TypeChainCompleted, domain.TypeChainFailed, domain.TypeChainCancelled, domain.TypeStepStarted,
		domain.TypeStepSucceeded, domain.TypeStepFailed, domain.TypeStepSkipped, domain.TypeStepCancelled, domain.TypeStepReleased,
	} {
		if read[kind] == 0 {
			t.Errorf("%s was never read", kind)
		}
	}
}

// What is unusual is left to encoding/json.
func TestReadEventPassesWhatIsUnusual(t *testing.T) {
	for _, test := range []struct {
		kind domain.EventType
		data string
	}{
		{domain.TypeStepSucceeded, ``},
		{domain.TypeStepSucceeded, `{`},
		{domain.TypeStepSucceeded, `{"chain":"c"} `},
		{domain.TypeStepSucceeded, `{"step":"s","chain":"c"}`},
		{domain.TypeStepSucceeded, `{"chain": "c"}`},
		{domain.TypeStepSucceeded, `{"Chain":"c"}`},
		{domain.TypeStepSucceeded, `{,"chain":"c"}`},
		{domain.TypeStepSucceeded, `{"chain":"c",}`},
		{domain.TypeStepSucceeded, `{"chain":"c""step":"s"}`},
		{domain.TypeStepSucceeded, `{"chain":"\u0063"}`},
		{domain.TypeStepSucceeded, `{"chain":"é"}`},
		{domain.TypeStepSucceeded, `{"chain":null}`},
		{domain.TypeStepSucceeded, `{"attempt":01}`},
		{domain.TypeStepSucceeded, `{"attempt":1.0}`},
		{domain.TypeStepSucceeded, `{"attempt":1e2}`},
		{domain.TypeStepSucceeded, `{"attempt":-}`},
		{domain.TypeStepSucceeded, `{"attempt":1234567890123456789}`},
		{domain.TypeStepSucceeded, `{"output":null}`},
		{domain.TypeStepSucceeded, `{"output":}`},
		{domain.TypeStepSucceeded, `{"output":{"a" :1}}`},
		{domain.TypeStepSucceeded, `{"new":1}`},
		{domain.TypeStepStarted, `{"lease":"1x"}`},
		{domain.TypeStepStarted, `{"deadline":"yesterday"}`},
		{domain.TypeStepFailed, `{"willRetry":false}`},
		{domain.TypeMetadataSet, `{"set":{"a":1}}`},
		{domain.TypeMetadataSet, `{"set":{"a":"b",}}`},
		{domain.TypeMetadataSet, `{"removed":["a",]}`},
		{domain.TypeSessionCreated, `{"chains":[{"steps":[{"retry":{"factor":-0}}]}]}`},
		{domain.TypeSessionCreated, `{"chains":null}`},
		{domain.TypeSessionForked, `{}`},
		{"no.such", `{}`},
	} {
		if e := domain.ReadEvent(test.kind, []byte(test.data)); e != nil {
			t.Errorf("%s %s was read", test.kind, test.data)
		}
	}
}

// FuzzReadEvent: whatever ReadEvent reads, encoding/json reads the same.
func FuzzReadEvent(f *testing.F) {
	types := domain.EventTypes()
	for i, kind := range types {
		e := domain.NewEvent(kind)
		newScribbler(uint64(i)).fill(reflect.ValueOf(e).Elem())
		f.Add(uint8(i), []byte(jsonOf(f, e)))
	}
	for _, data := range []string{
		`{"chain":"c","step":"s","attempt":1,"worker":"w","output":{"ok":[1,2.5e-3,"x\n"]}}`,
		`{"chain":"c","step":"s","attempt":2,"worker":"w","lease":"30s","deadline":"2026-03-01T12:00:00.5Z"}`,
		`{"chain":"c","step":"s","attempt":1,"failure":{"code":"x","message":"m","stackRef":{"version":3,"size":9,"sha256":"ab"},"time":"2026-03-01T12:00:00Z"},"willRetry":true,"backoff":"5s"}`,
		`{"chains":[{"id":"a","steps":[{"id":"1","action":"w","input":{"n":1},"waitsFor":[],"retry":{"maxAttempts":3,"factor":2}}]}],"metadata":{"k":"v"},"onFailure":"stop","digest":"ab"}`,
		`{"set":{"a":"b","c":"d"},"removed":["e"]}`,
	} {
		for i := range types {
			f.Add(uint8(i), []byte(data))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		checkRead(t, types[int(kind)%len(types)], data)
	})
}

func BenchmarkReadEvent(b *testing.B) {
	data := []byte(`{"chain":"main","step":"1","attempt":1,"worker":"amber","output":{"ok":true,"rows":42}}`)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if domain.ReadEvent(domain.TypeStepSucceeded, data) == nil {
				b.Fatal("it was passed")
			}
		}
	})
	b.Run("strict", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := strictly(domain.TypeStepSucceeded, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
