package main

import (
	"os"
	"regexp"
	"testing"
	"time"
)

// What differs from run to run of a session is shown by name.
var (
	clockTimes = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`)
	fullTimes  = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	spans      = regexp.MustCompile(`(succeeded +\S+  |took |"took":"|tries again in )[0-9.a-z]+`)
	workers    = regexp.MustCompile(`run-[0-9a-z]{10}\b`)
)

// TestRunTranscript replays testdata/run.live as TestTranscripts does, but with
// a clock that runs, since an engine whose clock stands still offers no steps.
func TestRunTranscript(t *testing.T) {
	const path = "testdata/run.live"
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	node := startEngine(t, nil)
	nc, err := node.Dial("script")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p := &player{t: t, clock: &clock{now: time.Now()}, nc: nc, url: node.URL()}
	got := fullTimes.ReplaceAllString(p.play(string(script)), "<time>")
	got = clockTimes.ReplaceAllString(got, "<time>")
	got = spans.ReplaceAllString(got, "${1}<span>")
	got = workers.ReplaceAllString(got, "run-<worker>")
	if os.Getenv(updateVariable) != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if got != string(script) {
		t.Errorf("%s differs; with %s=1 it is rewritten\n%s", path, updateVariable, firstDifference(string(script), got))
	}
}
