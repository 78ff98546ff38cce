package domain_test

import (
	"reflect"
	"testing"

	"reprise/domain"
)

// checkEvent compares what Appender.Event writes with Marshal, and reports whether
// it wrote the event itself.
func checkEvent(t *testing.T, e domain.Event) bool {
	t.Helper()
	a := domain.Appender{Buf: []byte("before")}
	if !a.Event(e) {
		if string(a.Buf) != "before" || a.Err != nil {
			t.Fatalf("of %s it wrote %s, %v, though it can't write one", e.Type(), a.Buf, a.Err)
		}
		return false
	}
	want, err := domain.Marshal(e)
	if (err == nil) != (a.Err == nil) {
		t.Fatalf("%s fails with %v, and by encoding/json with %v", e.Type(), a.Err, err)
	}
	if err == nil && string(a.Buf) != "before"+string(want) {
		t.Fatalf("%s is written as\n%s\nand not as\n%s", e.Type(), a.Buf[len("before"):], want)
	}
	return true
}

// Every type and field, filled with what is odd, is written as Marshal does.
func TestEventsAreWrittenAsMarshalDoes(t *testing.T) {
	written := map[domain.EventType]int{}
	for seed := range uint64(600) {
		r := newScribbler(seed)
		if seed%4 == 0 {
			r.payloads = len(oddPayloads)
		}
		for _, kind := range domain.EventTypes() {
			e := domain.NewEvent(kind)
			if seed > 0 {
				r.fill(reflect.ValueOf(e).Elem())
			}
			if checkEvent(t, e) {
				written[kind]++
			}
		}
	}
	for _, kind := range []domain.EventType{
		domain.TypeSessionCreated, domain.TypeSessionStarted, domain.TypeSessionPaused, domain.TypeSessionResumed,
		domain.TypeSessionCompleted, domain.TypeMetadataSet, domain.TypeChainStarted, domain.TypeChainCompleted,
		domain.TypeStepStarted, domain.TypeStepSucceeded,
	} {
		if written[kind] == 0 {
			t.Errorf("%s was never written", kind)
		}
	}
}

// FuzzEvent: an event that can be read is written as Marshal does.
func FuzzEvent(f *testing.F) {
	types := domain.EventTypes()
	for i, kind := range types {
		e := domain.NewEvent(kind)
		newScribbler(uint64(i)).fill(reflect.ValueOf(e).Elem())
		f.Add(uint8(i), []byte(jsonOf(f, e)))
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		if e, err := strictly(types[int(kind)%len(types)], data); err == nil {
			checkEvent(t, e)
		}
	})
}
