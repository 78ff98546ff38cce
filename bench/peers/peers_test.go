package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"reprise/bench/load"
)

func names(all []*setup) string {
	list := make([]string, 0, len(all))
	for _, s := range all {
		list = append(list, s.Name)
	}
	return strings.Join(list, " ")
}

func TestChooseTakesPeersAndSetups(t *testing.T) {
	all := []*setup{{Name: "a", Peer: "a"}, {Name: "a-fast", Peer: "a"}, {Name: "b", Peer: "b"}}
	for _, tc := range []struct{ names, want, problem string }{
		{"", "a a-fast b", ""},
		{"a", "a a-fast", ""},
		{"b,a-fast", "b a-fast", ""},
		{"a a-fast", "a a-fast", ""},
		{"c", "", `nothing is called "c": use a, a-fast, b`},
	} {
		got, err := choose(all, tc.names)
		if names(got) != tc.want || (err == nil) != (tc.problem == "") || (err != nil && err.Error() != tc.problem) {
			t.Errorf("%q: got %q, %v", tc.names, names(got), err)
		}
	}
}

func TestEverySetupSaysWhatItIs(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range setups() {
		if seen[s.Name] || s.Name == "" || s.Peer == "" || s.Survives == "" || s.Settings == "" || s.prepare == nil || s.start == nil {
			t.Errorf("%q is there twice or says too little: %+v", s.Name, s)
		}
		seen[s.Name] = true
		switch s.Durability {
		case always, relaxed, none:
		default:
			t.Errorf("%s: %q is no durability", s.Name, s.Durability)
		}
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i+1) * 1000
	}
	for _, tc := range []struct {
		sorted []int64
		share  float64
		want   float64
	}{{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred[:1], 0.5, 1}, {hundred[:3], 0.5, 2}, {hundred[:2], 0.99, 2}} {
		if got := quantile(tc.sorted, tc.share); got != tc.want {
			t.Errorf("%d values at %g: %g, want %g", len(tc.sorted), tc.share, got, tc.want)
		}
	}
}

func TestSummary(t *testing.T) {
	got := summary(4, 5, load.Report{ElapsedMicros: 2_000_000, Micros: []int64{3000, 1000, 2000, 4000}})
	if got.StepsPerSecond != 10 || got.Sessions != 4 || got.P50 != 2 || got.Max != 4 {
		t.Errorf("got %+v", got)
	}
}

func TestMedian(t *testing.T) {
	same := func(x float64) float64 { return x }
	if got := median([]float64{9, 1, 2}, same); got != 2 {
		t.Errorf("of three: %g", got)
	}
	if got := median([]float64{4, 1, 2, 9}, same); got != 3 {
		t.Errorf("of four: %g", got)
	}
}

// sample is a result as two setups of one class, one alone and one that failed
// would give.
func sample() *result {
	one := func(steps, ms, cpu float64) phase {
		return phase{
			Clients: 1, Sessions: 100, Seconds: 10, StepsPerSecond: steps, P50: ms, P90: ms, P99: 2 * ms, Max: 3 * ms,
			CPU: map[role]float64{server: cpu, worker: cpu / 2, client: cpu / 4},
		}
	}
	many := func(steps, ms, cpu float64) phase {
		p := one(steps, ms, cpu)
		p.Clients = 64
		return p
	}
	run := func(name string, round int, steps float64) outcome {
		return outcome{
			Setup: name, Round: round, ColdStart: 300 + steps, FirstMemory: 50 << 20, PeakMemory: int64(steps) << 20,
			Phases: []phase{one(steps, 5, 0.01), many(10*steps, 20, 0.1)},
		}
	}
	return &result{
		Date: "2001-02-03", Note: "A note.", Commit: "abc1234", Work: work{Steps: 5, Clients: []int{1, 64}, Warm: 500, Measure: 10_000, Rounds: 4},
		Machine: machine{Cores: 2, CPU: "A processor", Memory: "4 kB", Kernel: "6.1", OS: "linux/amd64", Go: "go1.26", Load: "0.1 0.2 0.3 1/2 3", FsyncMicros: 250},
		Setups: []*setup{
			{Name: "reprise-always", Peer: "reprise", Durability: always, Survives: "a power cut", Settings: "set so", Versions: "reprise 1"},
			{Name: "other", Peer: "other", Durability: always, Survives: "a power cut", Settings: "left alone", Versions: "other 2", AsShipped: true},
			{Name: "reprise", Peer: "reprise", Durability: relaxed, Survives: "a killed process", Settings: "left alone", Versions: "reprise 1", AsShipped: true},
			{Name: "broken", Peer: "other", Durability: relaxed, Survives: "nothing", Settings: "none", Versions: "other 2"},
		},
		Runs: []outcome{
			run("reprise-always", 1, 100), run("other", 1, 150), run("reprise", 1, 300),
			run("reprise-always", 2, 140), run("other", 2, 170), run("reprise", 2, 300),
			{Setup: "broken", Round: 1, Error: "a session failed: no"},
		},
		Missing: []missing{{Setup: "absent", Reason: "npm is not installed"}},
	}
}

func TestTable(t *testing.T) {
	golden := filepath.Join("testdata", "table.md")
	got := []byte(sample().table())
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the table has changed (UPDATE=1 writes it):\n%s", got)
	}
}

func TestWhatIsMissingDoesNotStopTheOthers(t *testing.T) {
	var out bytes.Buffer
	h := &harness{out: &out}
	res := &result{}
	ready := h.prepare(t.Context(), []*setup{
		{Name: "absent", prepare: func(context.Context, *tools) (string, error) { return "", errors.New("node is not installed") }},
		{Name: "there", prepare: func(context.Context, *tools) (string, error) { return "there 1", nil }},
	}, res)
	if names(ready) != "there" || ready[0].Versions != "there 1" || names(res.Setups) != "there" {
		t.Errorf("ready: %s", names(ready))
	}
	if len(res.Missing) != 1 || !strings.Contains(out.String(), "absent: left out: node is not installed") {
		t.Errorf("said %q, kept %v", out.String(), res.Missing)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-measure", "0s"}, {"-warm", "-1s"}, {"-sessions", "-1"}, {"restate"}, {"-peers", "nobody"}, {"-root", "/nonexistent"}} {
		if err := run(t.Context(), args, new(bytes.Buffer)); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestRepriseIsMeasuredFromEndToEnd(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what processes use is read from /proc")
	}
	out := t.TempDir()
	args := []string{"-root", "../..", "-cache", t.TempDir(), "-out", out, "-peers", "reprise-always", "-warm", "20ms", "-measure", "30s", "-sessions", "3"}
	var said bytes.Buffer
	if err := run(t.Context(), args, &said); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	files, _ := filepath.Glob(filepath.Join(out, "peers-*-reprise-always.json"))
	if len(files) != 1 {
		t.Fatalf("wrote %v\n%s", files, said.String())
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var res result
	if err := json.Unmarshal(data, &res); err != nil {
		t.Fatal(err)
	}
	o := res.Runs[0]
	if o.Error != "" || len(o.Phases) != 2 || o.ColdStart <= 0 || o.FirstMemory <= 0 || o.PeakMemory < o.FirstMemory {
		t.Fatalf("measured %+v", o)
	}
	for _, p := range o.Phases {
		if p.Sessions != 3 || p.StepsPerSecond <= 0 || p.P99 < p.P50 {
			t.Errorf("measured %+v", p)
		}
	}
}
