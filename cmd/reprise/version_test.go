package main

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// runLine runs one command line without input.
func runLine(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &errs)
	return a.run(t.Context(), args), out.String(), errs.String()
}

func TestVersion(t *testing.T) {
	code, out, stderr := runLine(t, "version")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	for _, part := range []string{"reprise ", "commit ", "go1.", "nats ", "2.15."} {
		if !strings.Contains(out, part) {
			t.Errorf("%q does not say %q", out, part)
		}
	}
	var b build
	if _, out, _ := runLine(t, "version", "-o", "json"); json.Unmarshal([]byte(out), &b) != nil || b.Server == "" || b.OldestServer == "" {
		t.Errorf("as JSON it is %s", out)
	}
	if _, out, _ := runLine(t, "version", "-o", "yaml"); !strings.Contains(out, "natsServer: ") {
		t.Errorf("as YAML it is %s", out)
	}
	if code, _, stderr := runLine(t, "version", "-o", "xml"); code != exitUsage || !strings.Contains(stderr, "table, json and yaml") {
		t.Errorf("an unknown format: exit code %d, %s", code, stderr)
	}
}

func TestBuild(t *testing.T) {
	if b := newBuild(nil); b.Version != unknown || b.commit() != unknown {
		t.Errorf("without facts it is %+v", b)
	}
	info := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-21T00:00:00Z"}, {Key: "vcs.modified", Value: "true"},
		},
	}
	if b := newBuild(info); b.Version != "v1.2.3" || b.commit() != "abc (modified)" || b.Time == "" {
		t.Errorf("got %+v", b)
	}
}

func writeTestFile(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
}
