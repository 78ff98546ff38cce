package projections

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/cputime"
)

// A view and its header are written to the bytes that encoding/json writes.
func TestViewsAreWrittenAsMarshalDoes(t *testing.T) {
	w := newWorld(t)
	k := key("a b", "s1")
	states := []eventstore.Aggregate{w.create(k), w.do(k, &domain.Start{})}
	states = append(states, w.do(k, &domain.Claim{Chain: "c", Step: "1", Worker: "w", Action: "build"}))
	states = append(states, w.do(k, &domain.Fail{Chain: "c", Step: "1", Attempt: 1, Worker: "w", Action: "build", Error: domain.ReportError{Message: "no \"<b>\"\n"}}))
	for n := range 40 {
		states = append(states, w.do(k, &domain.SetMetadata{Set: map[string]string{"team": fmt.Sprint("é", n)}}))
	}
	for _, a := range states {
		kept := *a.Session
		kept.Recent = kept.Recent[max(0, len(kept.Recent)-domain.RecentMin):]
		view, err := encodeView(a, []string{"team"})
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, view.Body, body{Schema: eventstore.SchemaVersion, Seq: a.Seq, Hash: a.Hash, Session: &kept})
		sameJSON(t, view.Index, NewEntry(a, []string{"team"}))
	}
}

func sameJSON(t *testing.T, got []byte, v any) {
	t.Helper()
	want, err := domain.Marshal(v)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s\nis not\n%s: %v", got, want, err)
	}
}

// Every field of an entry is written as encoding/json writes it.
func TestEntriesAreWrittenAsMarshalDoes(t *testing.T) {
	for seed := range uint64(1000) {
		var e Entry
		scribble(rand.New(rand.NewPCG(seed, 2)), reflect.ValueOf(&e).Elem())
		raw, err := e.appendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, raw, e)
	}
}

// scribble writes something odd, or nothing, into every field below v.
func scribble(r *rand.Rand, v reflect.Value) {
	if r.IntN(4) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(4e9), r.Int64N(1e9)).UTC()))
		return
	case map[string]string:
		v.Set(reflect.ValueOf(map[string]string{"é": "<", "b": "", "a": "\n"}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			scribble(r, field)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		scribble(r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			scribble(r, v.Index(i))
		}
	default:
		scribblePlain(r, v)
	}
}

func scribblePlain(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"", "x", "a\"b", "é\xff", "long enough to be looked at by words"}[r.IntN(5)])
	case reflect.Int:
		v.SetInt(r.Int64() - r.Int64())
	case reflect.Uint64:
		v.SetUint(r.Uint64())
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic("nothing scribbles on a " + v.Type().String())
	}
}

func BenchmarkEncodeView(b *testing.B) {
	store := history(b, 1, false)
	a, err := store.Load(b.Context(), key("ada", "s0"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	used := cputime.Used()
	for b.Loop() {
		if _, err := encodeView(a, []string{"team"}); err != nil {
			b.Fatal(err)
		}
	}
	measure(b, used, b.N)
}
