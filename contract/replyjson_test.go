package contract

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"reprise/domain"
)

// usualReplies are the answers that are written and read by hand; every field
// that is stands in one.
func usualReplies() map[string]func(*Reply) {
	return map[string]func(*Reply){
		"plain":       func(*Reply) {},
		"no events":   func(r *Reply) { r.Events = []EventSummary{} },
		"a duplicate": func(r *Reply) { r.Duplicate = true },
		"results": func(r *Reply) {
			r.Results = []domain.Result{{Verb: domain.VerbStart, Events: 1}, {Verb: domain.VerbPause, Code: domain.CodeAlready, Message: "it is PAUSED"}}
		},
		"no results":   func(r *Reply) { r.Results = []domain.Result{} },
		"a first step": func(r *Reply) { r.Claimed = &Assignment{Chain: "c", Step: "s", Action: "a", Attempt: 1} },
		"a step": func(r *Reply) {
			r.Claimed = &Assignment{
				Chain: "c", Step: "s", Action: "a", Attempt: 2, Input: json.RawMessage(`{"n":[1,"ö"]}`),
				Outputs:        map[string]StepOutput{"b": {Output: json.RawMessage(`1`)}, "a": {Skipped: true}, "c": {}},
				IdempotencyKey: "s1/c/s/2", Lease: domain.Duration(30 * time.Second),
				Deadline: time.Date(2026, 11, 21, 10, 0, 0, 5, time.UTC), Timeout: domain.Duration(time.Minute),
			}
		},
	}
}

// unusualReplies are left to encoding/json, at least by the reader.
func unusualReplies() map[string]func(*Reply) {
	return map[string]func(*Reply){
		"nil events":     func(r *Reply) { r.Events = nil },
		"a quote":        func(r *Reply) { r.CommandID = `a"b\c` },
		"an odd user":    func(r *Reply) { r.User = "b\u2028ö <b>" },
		"a dry run":      func(r *Reply) { r.DryRun, r.Events[0].Data = true, json.RawMessage(`{}`) },
		"a move":         func(r *Reply) { r.Events[1].Session = "s2" },
		"an empty input": func(r *Reply) { r.Claimed = &Assignment{Input: json.RawMessage(`null`)} },
		"white space":    func(r *Reply) { r.Claimed = &Assignment{Input: json.RawMessage("{ }"), Step: "é"} },
	}
}

func reply(change func(*Reply)) *Reply {
	r := &Reply{
		CommandID: "cmd-1", Session: "s1", User: "ann", State: domain.StateRunning, Version: 7,
		Position: Position{Incarnation: "abc", Seq: 12},
		Events:   []EventSummary{{Type: domain.TypeSessionStarted}, {Type: domain.TypeStepStarted, Chain: "c", Step: "s"}, {Type: domain.TypeChainClosed, Chain: "c"}},
	}
	change(r)
	return r
}

func TestRepliesAreWrittenAsMarshalDoes(t *testing.T) {
	for _, replies := range []map[string]func(*Reply){usualReplies(), unusualReplies()} {
		for name, change := range replies {
			r := reply(change)
			want, err := domain.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := EncodeReply(r); err != nil || string(got) != string(want) {
				t.Errorf("%s: wrote %s (%v); want %s", name, got, err, want)
			}
		}
	}
	if _, err := EncodeReply(reply(func(r *Reply) { r.Claimed = &Assignment{Input: json.RawMessage(`{`)} })); err == nil {
		t.Error("an input that is not JSON is written without an error")
	}
}

// checkReply compares the two ways of reading, and reports whether the quick one
// read it.
func checkReply(t *testing.T, body []byte) bool {
	t.Helper()
	before := slices.Clone(body)
	got, ok := readReply(body)
	var want, decoded Reply
	err := json.Unmarshal(before, &want)
	if wrong := Decode(before, &decoded); (wrong == nil) != (err == nil) || err == nil && !reflect.DeepEqual(decoded, want) {
		t.Fatalf("%s is read as\n%#v, %v\nand not as\n%#v, %v", before, decoded, wrong, want, err)
	}
	for i := range body {
		body[i] = 'x'
	}
	if ok && (err != nil || !reflect.DeepEqual(got, want)) {
		t.Fatalf("%s is read as\n%#v\nand not as\n%#v, %v", before, got, want, err)
	}
	return ok
}

func TestRepliesAreReadAsUnmarshalDoes(t *testing.T) {
	for quick, replies := range map[bool]map[string]func(*Reply){true: usualReplies(), false: unusualReplies()} {
		for name, change := range replies {
			body, err := EncodeReply(reply(change))
			if err != nil {
				t.Fatal(err)
			}
			if checkReply(t, body) != quick && name != "white space" {
				t.Errorf("%s: the quick way reads it: %v", name, !quick)
			}
		}
	}
	for _, body := range []string{
		``, `null`, `{}`, `{"new":1}`, `{"state":"RUNNING","commandId":"x"}`, `{"duplicate":1}`, `{"claimed":null}`,
		`{"claimed":{"outputs":{"a":{},"a":{"skipped":true}}}}`, `{"claimed":{"lease":"soon"}}`, `{"version":-1}`,
		`{"claimed":{"outputs":{,"a":{}}}}`, `{"claimed":{"outputs":{"a":{},}}}`, `{"claimed":{"outputs":{}}}`,
	} {
		checkReply(t, []byte(body))
	}
}

// FuzzDecodeReply: whatever is read by hand, encoding/json reads the same.
func FuzzDecodeReply(f *testing.F) {
	for _, change := range usualReplies() {
		body, err := EncodeReply(reply(change))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkReply(t, body) })
}

func BenchmarkDecodeReply(b *testing.B) {
	body, err := EncodeReply(reply(usualReplies()["a step"]))
	if err != nil {
		b.Fatal(err)
	}
	for name, decode := range map[string]func([]byte, any) error{"by hand": Decode, "encoding/json": json.Unmarshal} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(body, new(Reply)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
