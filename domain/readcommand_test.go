package domain

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

// checkCommand compares readCommand with DecodeStrict and reports whether it
// read the command itself.
func checkCommand(t *testing.T, verb Verb, body []byte) bool {
	t.Helper()
	before := slices.Clone(body)
	got := readCommand(verb, body)
	if got == nil {
		return false
	}
	want, err := readStrictly(verb, body)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s %s is read as\n%#v\nand not as\n%#v, %v", verb, body, got, want, err)
	}
	for i := range body {
		body[i] = 'x'
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s %s is kept by what was read from it", verb, before)
	}
	copy(body, before)
	return true
}

// readStrictly reads a command as DecodeCommand does where nothing is usual.
func readStrictly(verb Verb, body []byte) (Command, error) {
	if verb == VerbBatch {
		return decodeBatch(body)
	}
	c := commands[verb]()
	if r := DecodeStrict(body, c); r != nil {
		return nil, r
	}
	return c, nil
}

// usualCommands are as clients send them; every field that is read stands in one.
var usualCommands = []struct {
	verb Verb
	body string
}{
	{VerbCreate, `{}`},
	{VerbCreate, `{"chains":[]}`},
	{VerbCreate, `{"chains":[{"id":"c","title":"t","open":true,"waitsFor":["b"],"steps":[{"id":"a","title":"t","action":"x","input":{"n":[1,2]},"waitsFor":[],"timeout":"5s","retry":{"maxAttempts":3,"backoff":"1s","maxBackoff":"1m","factor":2}},{"id":"b","manual":true}]}],"metadata":{"customer":"c-4711"},"keepOpen":true,"onFailure":"continue","timeout":"1h","priority":-3}`},
	{VerbMetadataSet, `{"set":{"stage":"packing","to":"x"},"remove":["from"]}`},
	{VerbStepSucceed, `{"chain":"c","step":"a","output":{"weight":1250}}`},
	{VerbClaim, `{"chain":"c","step":"a","lease":"30s"}`},
	{VerbHeartbeat, `{"chain":"c","step":"a","attempt":2,"progress":{"done":0.5}}`},
	{VerbBatch, `{"commands":[{"verb":"create","body":{"chains":[{"id":"c","steps":[{"action":"x"}]}]}},{"verb":"start","body":{}}]}`},
	{VerbBatch, `{"mode":"each","commands":[{"verb":"pause"},{"verb":"metadata.set","body":{"set":{"a":"b"}}}]}`},
	{VerbSucceed, `{"chain":"c","step":"a","attempt":1,"output":[true],"claimNext":true,"actions":["x","y"],"lease":"30s"}`},
}

func TestUsualCommandsAreReadAsTheStrictReaderDoes(t *testing.T) {
	for _, test := range usualCommands {
		if !checkCommand(t, test.verb, []byte(test.body)) {
			t.Errorf("%s %s was not read", test.verb, test.body)
		}
	}
}

// What is unusual is left to the strict reader, which finds words for it.
func TestUnusualCommandsAreLeftToTheStrictReader(t *testing.T) {
	for _, test := range []struct {
		verb Verb
		body string
	}{
		{VerbCreate, ``},
		{VerbCreate, `null`},
		{VerbCreate, `{"chains":null}`},
		{VerbCreate, `{"metadata":{"a":"b"},"chains":[]}`},
		{VerbCreate, `{"keepOpen":false}`},
		{VerbCreate, `{"new":1}`},
		{VerbMetadataSet, `{"set": {"a":"b"}}`},
		{VerbMetadataSet, `{"set":{"a":"b","a":"c"}}`},
		{VerbMetadataSet, `{"set":{"a":"b"},"set":{}}`},
		{VerbMetadataSet, `{"set":{"a":"\u0062"}}`},
		{VerbStepSucceed, `{"chain":"c","step":"s","output":null}`},
		{VerbStepSucceed, `{"chain":"c","step":"s"} `},
		{VerbStepSucceed, `{"Chain":"c"}`},
		{VerbSucceed, `{"chain":"c","step":"s","attempt":1.5}`},
		{VerbClaim, `{"chain":"c","step":"s","lease":"soon"}`},
		{VerbStart, `{}`},
		{VerbBatch, `{}`},
		{VerbBatch, `{"commands":[]}`},
		{VerbBatch, `{"mode":"some","commands":[{"verb":"start"}]}`},
		{VerbBatch, `{"commands":[{"body":{}}]}`},
		{VerbBatch, `{"commands":[{"verb":"start","body":null}]}`},
		{VerbBatch, `{"commands":[{"verb":"pause","body":{"mode":"interrupt"}}]}`},
		{VerbBatch, `{"commands":[{"verb":"create","body":{"new":1}}]}`},
		{VerbBatch, `{"commands":[{"verb":"claim","body":{"chain":"c","step":"s"}}]}`},
		{VerbBatch, `{"commands":[{"verb":"batch","body":{}}]}`},
		{VerbBatch, `{"commands":[{"verb":"delete"}]}`},
		{VerbBatch, `{"commands":[{"verb":"create","body":{"metadata":{}},"body":{}}]}`},
		{VerbStepSucceed, "{\"chain\":\"c\",\"output\":{\"\xff\":0}}"},
	} {
		if c := readCommand(test.verb, []byte(test.body)); c != nil {
			t.Errorf("%s %s was read as %#v", test.verb, test.body, c)
		}
	}
}

// FuzzReadCommand: whatever readCommand reads, DecodeStrict reads the same.
func FuzzReadCommand(f *testing.F) {
	verbs := slices.Collect(func(yield func(Verb) bool) {
		for _, verb := range append(UserVerbs(), WorkerVerbs()...) {
			if (verb == VerbBatch || commandReaders[verb] != nil) && !yield(verb) {
				return
			}
		}
	})
	for _, test := range usualCommands {
		f.Add(uint8(slices.Index(verbs, test.verb)), []byte(test.body))
	}
	f.Fuzz(func(t *testing.T, verb uint8, body []byte) {
		checkCommand(t, verbs[int(verb)%len(verbs)], body)
	})
}

// FuzzDigest: white space between tokens makes no other digest.
func FuzzDigest(f *testing.F) {
	for _, test := range usualCommands {
		f.Add([]byte(test.body))
	}
	f.Add([]byte(" { \"a\" : [ 1 , \"x y\" ] } "))
	f.Fuzz(func(t *testing.T, body []byte) {
		var compacted bytes.Buffer
		if json.Compact(&compacted, body) != nil {
			return
		}
		if Digest(VerbCreate, body) != Digest(VerbCreate, compacted.Bytes()) {
			t.Errorf("%q has another digest than %q", body, compacted.Bytes())
		}
	})
}

func BenchmarkDecodeCommand(b *testing.B) {
	for _, test := range usualCommands {
		body := []byte(test.body)
		b.Run(string(test.verb), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeCommand(test.verb, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
