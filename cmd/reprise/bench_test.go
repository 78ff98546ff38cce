package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"reprise/internal/load"
)

func TestBenchMeasuresAndTidiesUp(t *testing.T) {
	j := newJanitor(t)
	var report benchReport
	out := j.says(exitOK, "bench --clients 4 --sessions 20 --warm-up 0s --for 2s --json")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var counted int64
	for _, bar := range report.Latency.Bars {
		counted += bar.Count
	}
	l := report.Latency
	if report.Commands == 0 || report.Refused+report.Failed > 0 || counted != report.Commands || report.PerSecond <= 0 {
		t.Errorf("%+v", report)
	}
	if l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max+l.Max/50 {
		t.Errorf("latencies out of order: %+v", l)
	}
	j.says(exitOK, "session list", "no sessions")
	picture := j.says(exitOK, "bench --clients 1 --sessions 1 --warm-up 10ms --for 2s --keep", "1 clients, 1 sessions of ada", "commands answered", "half within", "█")
	if !regexp.MustCompile(`(?m)^ +\S+s  [█▏▎▍▌▋▊▉]+ +\d+\.\d%$`).MatchString(picture) {
		t.Errorf("there is no histogram:\n%s", picture)
	}
	if left := j.says(exitOK, "session list"); !strings.Contains(left, "bench-") {
		t.Errorf("--keep kept nothing:\n%s", left)
	}
}

func TestBenchRefusesNonsense(t *testing.T) {
	j := newJanitor(t)
	for args, says := range map[string]string{
		"--clients 0":                "use 1 to 4096",
		"--clients 10 --sessions 5":  "one for each client at least",
		"--for 0s":                   "use more than 0",
		"--clients 2 --sessions 2e9": "invalid argument",
	} {
		j.says(exitUsage, "bench "+args, says)
	}
}

func TestBenchBars(t *testing.T) {
	r := &load.Result{Latency: hdrhistogram.New(1000, int64(time.Minute), 2)}
	for _, d := range []time.Duration{100 * time.Microsecond, 110 * time.Microsecond, 3 * time.Millisecond} {
		if err := r.Latency.RecordValue(int64(d)); err != nil {
			t.Fatal(err)
		}
	}
	all := bars(r)
	if len(all) != 6 || all[0] != (benchBar{128 * time.Microsecond, 2}) || all[5].Count != 1 || all[5].UpTo != 4096*time.Microsecond {
		t.Errorf("bars %v", all)
	}
	for _, bar := range []struct {
		count, most int64
		want        string
	}{{0, 10, ""}, {1, 1_000_000, "▏"}, {10, 10, strings.Repeat("█", benchBarWidth)}, {5, 10, strings.Repeat("█", benchBarWidth/2)}} {
		if got := benchBarOf(bar.count, bar.most); got != bar.want {
			t.Errorf("%d of %d: %q", bar.count, bar.most, got)
		}
	}
}
