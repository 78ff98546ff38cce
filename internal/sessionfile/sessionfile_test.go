package sessionfile

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

// TestExamples keeps every file under examples valid.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples %v, error %v", files, err)
	}
	for _, path := range files {
		name, content, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(name, content)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(f.Chains) == 0 || len(f.Metadata) == 0 {
			t.Errorf("%s: read as %+v", name, f)
		}
	}
}

const everything = `
# every field there is
id: 7
keepOpen: true
onFailure: continue
timeout: 90m
priority: -3
metadata: {team: core, build: 12, "on": true}
chains:
  - &first
    id: a
    title: First
    open: true
    waitsFor: []
    steps:
      - id: one
        title: "1"
        action: exec
        input: {n: 1, big: 123456789012345678901, f: 1.50, e: 1e3, t: true, z: null, "q": "1e3", l: [1, x], s: |
            two
            lines
          }
        waitsFor: []
        timeout: 30s
        retry: {maxAttempts: 3, backoff: 1s, maxBackoff: 1m, factor: 1.5}
      - manual: true
  - <<: *first
    id: b
    open: false
    waitsFor: [a]
`

func TestEveryField(t *testing.T) {
	text := strings.Replace(everything, "s: |\n            two\n            lines\n          }", "s: \"two\\nlines\"}", 1)
	f, err := Parse("all.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	one := domain.StepDef{
		ID: "one", Title: "1", Action: "exec", WaitsFor: &[]string{}, Timeout: domain.Duration(30 * time.Second),
		Input: []byte(`{"big":123456789012345678901,"e":1e3,"f":1.50,"l":[1,"x"],"n":1,"q":"1e3","s":"two\nlines","t":true,"z":null}`),
		Retry: &domain.RetryPolicy{MaxAttempts: 3, Backoff: domain.Duration(time.Second), MaxBackoff: domain.Duration(time.Minute), Factor: 1.5},
	}
	steps := []domain.StepDef{one, {Manual: true}}
	want := &File{ID: "7", Definition: domain.Definition{
		KeepOpen: true, OnFailure: domain.FailContinue, Timeout: domain.Duration(90 * time.Minute), Priority: -3,
		Metadata: map[string]string{"team": "core", "build": "12", "on": "true"},
		Chains: []domain.ChainDef{
			{ID: "a", Title: "First", Open: true, WaitsFor: []string{}, Steps: steps},
			{ID: "b", Title: "First", WaitsFor: []string{"a"}, Steps: steps},
		},
	}}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("read %+v\nwant %+v", f, want)
	}
}

// TestJSON: JSON is read as it is, with tabs and escapes.
func TestJSON(t *testing.T) {
	f, err := Parse("s.json", []byte("\n{\n\t\"id\": \"s1\",\n\t\"chains\": [{\n\t\t\"id\": \"a\",\n\t\t\"steps\": [{\"action\": \"exec\", \"input\": \"\\ud83d\\ude00 \\/ \\u00e4\"}]\n\t}]\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f.ID != "s1" || string(f.Chains[0].Steps[0].Input) != `"😀 / ä"` {
		t.Errorf("read %+v, input %s", f, f.Chains[0].Steps[0].Input)
	}
}

// TestProblems: every error names the place, the field and what would do.
func TestProblems(t *testing.T) {
	step := "chains:\n  - id: a\n    steps:\n      - "
	tests := []struct {
		name, content string
		line          int
		want          string
	}{
		{"unknown field, near miss", "chains:\n  - id: a\n    waitFor: [b]\n", 3, "chains[0].waitFor: unknown field; did you mean waitsFor?"},
		{"unknown field", "stages: []\n", 1, "stages: unknown field; known here are chains, id, keepOpen"},
		{"wrong type: list", "chains: {a: 1}\n", 1, "chains: wants a list, not fields"},
		{"wrong type: text", "onFailure: 3\n", 1, "onFailure: wants text, not the number 3; put it in quotes"},
		{"wrong type: text for fields", "chains:\n  - hello\n", 2, `chains[0]: wants fields (name: value), not "hello"`},
		{"wrong type: bool", "keepOpen: ja\n", 1, `keepOpen: wants true or false, not "ja"`},
		{"wrong type: number", "priority: high\n", 1, `priority: wants a whole number, not "high"`},
		{"wrong type: fraction", "priority: 1.5\n", 1, `priority: wants a whole number, not the number 1.5`},
		{"wrong type: factor", step + "action: x\n        retry: {maxAttempts: 1, factor: \"2\"}\n", 5, `chains[0].steps[0].retry.factor: wants a number, not "2"`},
		{"wrong type: nothing", "id:\nkeepOpen: true\n", 0, "id: wants text, not nothing"},
		{"bad duration", "timeout: 1h30m\n", 1, `timeout: "1h30m" is not a duration`},
		{"duration without unit", "timeout: 30\n", 1, `timeout: "30" is not a duration`},
		{"duration is a list", "timeout: [30s]\n", 1, `timeout: wants text, not a list`},
		{"cycle of chains", "chains:\n  - {id: a, waitsFor: [b], steps: [{action: x}]}\n  - {id: b, waitsFor: [a], steps: [{action: x}]}\n", 2, `chains[0].waitsFor: chain "a" waits for itself: a waits for b waits for a`},
		{"cycle of steps", step + "{id: x, action: x, waitsFor: [y]}\n      - {id: y, action: x}\n", 4, `chains[0].steps[0].waitsFor: step "x" waits for itself: x waits for y waits for x`},
		{"chain waits for itself", "chains:\n  - {id: b, steps: [{action: x}]}\n  - id: a\n    waitsFor: [b, a]\n    steps: [{action: x}]\n", 4, `chain "a" waits for itself: a waits for a`},
		{"unknown wait", "chains:\n  - id: a\n    steps: [{action: x}]\n  - id: b\n    waitsFor: [nope]\n    steps: [{action: x}]\n", 5, `there is no such chain`},
		{"unknown step wait", step + "id: x\n        action: x\n        waitsFor: [nope]\n", 6, `there is no such step`},
		{"duplicate chain", "chains:\n  - id: a\n    steps: [{action: x}]\n  - id: a\n    steps: [{action: x}]\n", 4, "is the id of an earlier chain"},
		{"duplicate step", step + "{id: x, action: x}\n      - {id: x, action: x}\n", 5, "is the id of an earlier step"},
		{"no action", step + "id: x\n", 4, "needs an action"},
		{"empty chain", "chains:\n  - id: a\n    title: A\n", 2, "has no steps"},
		{"bad policy", "onFailure: explode\n", 1, "use stop or continue"},
		{"bad id", "chains:\n  - id: a.b\n    steps: [{action: x}]\n", 2, `"a.b" is no id`},
		{"duplicate key", "id: a\nid: b\n", 2, `mapping key "id" already defined`},
		{"syntax", "chains:\n  - a\n x: 1\n", 3, "not allowed"},
		{"unknown anchor", "chains: *nope\n", 1, "nope"},
		{"two documents", "keepOpen: true\n---\nkeepOpen: false\n", 3, "second document"},
		{"too deep", "id: x\nchains: " + strings.Repeat("[", 1<<20), 2, "more than 2000 brackets are open here"},
		{"empty", "# nothing\n", 0, "the file is empty"},
		{"not a number for JSON", step + "action: x\n        input: {a: .inf}\n", 5, "has no place in JSON"},
	}
	for _, tt := range tests {
		_, err := Parse("f.yaml", []byte(tt.content))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v", tt.name, err)
			continue
		}
		if p := e.Problems[0]; (tt.line != 0 && p.Line != tt.line) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant line %d and %s", tt.name, err, tt.line, tt.want)
		}
	}
}

// TestAllProblemsAtOnce: they are gathered, up to a bound.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("f.yaml", []byte("id: [1]\ntimeout: soon\nkeepOpen: 3\nchains: 7\n"))
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 4 {
		t.Fatalf("error %v", err)
	}
	want := "f.yaml:1:5: id: wants text, not a list\n" +
		"f.yaml:2:10: timeout: \"soon\" is not a duration; write a whole number and one of ms, s, m, h, d, such as 30s\n" +
		"f.yaml:3:11: keepOpen: wants true or false, not the number 3\n" +
		"f.yaml:4:9: chains: wants a list, not the number 7"
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	_, err = Parse("f.yaml", []byte("chains: ["+strings.Repeat("1, ", 50)+"1]"))
	if !errors.As(err, &e) || len(e.Problems) != maxProblems {
		t.Errorf("%d problems", len(e.Problems))
	}
}

// TestUnfoldingIsBounded: a few lines of aliases must not fill the memory.
func TestUnfoldingIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("chains: []\nmetadata: {}\nid: x\n")
	b.WriteString("a0: &a0 [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n")
	for i := 1; i < 9; i++ {
		n := string(rune('0' + i))
		p := string(rune('0' + i - 1))
		b.WriteString("a" + n + ": &a" + n + " [" + strings.TrimSuffix(strings.Repeat("*a"+p+", ", 10), ", ") + "]\n")
	}
	content := strings.Replace(b.String(), "chains: []", "chains: [{steps: [{action: x, input: *a8}]}]", 1)
	_, err := Parse("bomb.yaml", []byte(content))
	if err == nil || !strings.Contains(err.Error(), "unfolds to more than") {
		t.Errorf("error %.300v", err)
	}
}

func TestSelfReference(t *testing.T) {
	_, err := Parse("loop.yaml", []byte("chains: &c\n  - steps:\n      - action: x\n        input: *c\n"))
	if err == nil || !strings.Contains(err.Error(), "nested more than 100 deep") {
		t.Errorf("error %.300v", err)
	}
	if _, err := Parse("loop.yaml", []byte("chains: []\nmetadata: &m\n  <<: *m\n")); err == nil {
		t.Error("a mapping merged into itself was read")
	}
}

func TestParseChainAndStep(t *testing.T) {
	c, err := ParseChain("c.yaml", []byte("id: c\nwaitsFor: [elsewhere]\nopen: true\n"))
	if err != nil || c.ID != "c" || c.WaitsFor[0] != "elsewhere" {
		t.Errorf("chain %+v, error %v", c, err)
	}
	s, err := ParseStep("s.yaml", []byte("action: exec\ninput: [1, 2]\n"))
	if err != nil || s.Action != "exec" || string(s.Input) != "[1,2]" {
		t.Errorf("step %+v, error %v", s, err)
	}
	if _, err := ParseChain("c.yaml", []byte("id: [c]")); err == nil {
		t.Error("a bad chain was read")
	}
	if _, err := ParseStep("s.yaml", []byte("acton: exec")); err == nil || !strings.Contains(err.Error(), "did you mean action?") {
		t.Errorf("error %v", err)
	}
}

func TestOpen(t *testing.T) {
	name, content, err := Open("-", strings.NewReader("keepOpen: true"))
	if err != nil || name != "stdin" || string(content) != "keepOpen: true" {
		t.Errorf("%s %s %v", name, content, err)
	}
	if _, _, err := Open(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, _, err := Open("-", strings.NewReader(strings.Repeat("x", MaxBytes+1))); err == nil {
		t.Error("a file over the bound was read")
	}
}

// FuzzParse: whatever the bytes, there is a definition or an *Error.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"chains":[{"steps":[{"action":"x"}]}]}`))
	f.Add([]byte("a: &a [*a]\nchains: *a"))
	f.Add([]byte("? {a: b}\n: c\n<<: [1]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := Parse("f", content)
		var e *Error
		if (file == nil) == (err == nil) || (err != nil && !errors.As(err, &e)) {
			t.Errorf("file %v, error %v", file, err)
		}
	})
}
