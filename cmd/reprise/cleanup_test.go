package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// janitor runs command lines on a data directory of its own.
type janitor struct {
	t    *testing.T
	data string
	nats string
}

func newJanitor(t *testing.T) *janitor {
	t.Helper()
	t.Setenv("REPRISE_USER", "ada")
	t.Setenv("REPRISE_OPERATOR", "olga")
	return &janitor{t: t, data: t.TempDir()}
}

// run returns what a command says, on stderr too, and its exit code.
func (j *janitor) run(args ...string) (string, int) {
	j.t.Helper()
	at := []string{"--data", j.data}
	if j.nats != "" {
		at = []string{"--nats", j.nats}
	}
	var out bytes.Buffer
	code := run(append(args, at...), strings.NewReader(""), &out, &out)
	return out.String(), code
}

// says fails unless a command ends with a code and says all of this.
func (j *janitor) says(code int, args string, parts ...string) string {
	j.t.Helper()
	out, got := j.run(strings.Fields(args)...)
	if got != code {
		j.t.Fatalf("%s: exit %d, not %d\n%s", args, got, code, out)
	}
	for _, part := range parts {
		if !strings.Contains(out, part) {
			j.t.Errorf("%s doesn't say %q:\n%s", args, part, out)
		}
	}
	return out
}

// fill makes sessions that have ended, and one that runs.
func (j *janitor) fill() {
	j.t.Helper()
	plan := filepath.Join(j.t.TempDir(), "plan.yaml")
	if err := os.WriteFile(plan, []byte("chains: [{id: c, steps: [{id: s, manual: true}]}]\n"), 0o600); err != nil {
		j.t.Fatal(err)
	}
	for _, id := range []string{"one", "two", "alive"} {
		j.says(exitOK, "session create "+id+" --start -f "+plan)
	}
	j.says(exitOK, "session cancel one")
	j.says(exitOK, "session cancel two")
}

func TestCleanupCommands(t *testing.T) {
	for name, nats := range map[string]bool{"without a server": false, "with a server": true} {
		t.Run(name, func(t *testing.T) {
			j := newJanitor(t)
			if nats {
				j.nats = startEngine(t, nil).URL()
			}
			j.fill()
			j.says(exitOK, "cleanup scan", "nothing is stale or orphaned of 3 sessions")
			file := filepath.Join(t.TempDir(), "plan.json")
			j.says(exitOK, "cleanup scan --state cancelled --older-than 0s --out "+file, "one", "two", "2 found (2 cancelled)", file)
			j.says(exitOK, "cleanup purge --state CANCELLED --older-than 0s --dry-run", "would be purged  2")
			j.says(exitUsage, "cleanup purge --older-than 0s", "no terminal to ask on", "--yes")
			j.says(exitOK, "cleanup --state CANCELLED --older-than 0s --dry-run", "one", "two", "would be purged  2")
			j.says(exitUsage, "cleanup --older-than 0s", "no terminal to ask on", "--yes")
			j.says(exitUsage, "cleanup scna", `no command "scna"; did you mean scan?`)
			j.says(exitOK, "session show one", "CANCELLED")
			j.says(exitOK, "session metadata two a=b")
			j.says(exitOK, "cleanup purge --yes --plan "+file, "purged   1", "1 changed")
			j.says(exitNotFound, "session show one", "gone")
			j.says(exitOK, "hold two")
			j.says(exitOK, "cleanup purge --yes --session two --older-than 0s --purge-idle", "1 held")
			j.says(exitOK, "cleanup status", "default", "last purge", "by olga", "30d idle, reported and not purged")
			j.says(exitOK, "cleanup stop", "nothing is going on")
			j.says(exitOK, "unhold two")
			j.says(exitOK, "cleanup --yes --session two --older-than 0s --json", `"purged": 1`)
			j.says(exitNotFound, "session show two", "gone")
			j.says(exitOK, "repair", "nothing stale or orphaned")
			j.says(exitOK, "repair --apply --rebuild-views", "rewritten  0 views")
			j.says(exitOK, "session list", "alive")
		})
	}
}

func TestCleanupJSON(t *testing.T) {
	j := newJanitor(t)
	j.fill()
	var plan contract.CleanupPlan
	if err := json.Unmarshal([]byte(j.says(exitOK, "cleanup scan --older-than 0s --user ada --limit 2 --json")), &plan); err != nil || len(plan.Items) != 2 || !plan.Truncated {
		t.Errorf("plan %+v, error %v", plan, err)
	}
	archive := t.TempDir()
	var report contract.CleanupReport
	if err := json.Unmarshal([]byte(j.says(exitOK, "cleanup purge --older-than 0s --yes --json --archive "+archive)), &report); err != nil || report.Purged != 2 {
		t.Errorf("report %+v, error %v", report, err)
	}
	if files, err := filepath.Glob(filepath.Join(archive, "ada", "*")); err != nil || len(files) != 2 {
		t.Errorf("archived %v, error %v", files, err)
	}
}

func TestCleanupFlags(t *testing.T) {
	j := newJanitor(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad, plan := write("bad.yaml", "retention: {DONE: 1d}"), write("plan.json", `{"what": 1}`)
	good := write("good.yaml", "name: mine\nretention: {COMPLETED: 1h}\n")
	for args, says := range map[string]string{
		"cleanup scan --state DONE":                    "there are PENDING",
		"cleanup scan --meta x":                        "is not KEY=VALUE",
		"cleanup scan --policy " + bad:                 "no state",
		"cleanup scan --older-than soon":               "not a duration",
		"cleanup purge --yes --plan " + plan:           `no field "what"`,
		"cleanup purge --yes --limit 3 --plan " + plan: "--limit is about the scan",
		"repair --rebuild-views":                       "add --apply",
		"serve --cleanup-policy " + bad:                "no state",
		"cleanup scan here":                            "takes no arguments",
	} {
		if out, code := j.run(strings.Fields(args)...); code != exitUsage || !strings.Contains(out, says) {
			t.Errorf("%s: exit %d: %s", args, code, out)
		}
	}
	j.says(exitFailed, "cleanup purge --yes --plan "+filepath.Join(dir, "none"), "no such file")
	j.says(exitOK, "cleanup scan --policy "+good, "policy mine")
	j.says(exitFailed, "cleanup purge --yes --archive bucket:none", "can't be opened")
}

func TestReportsAddUp(t *testing.T) {
	one := &contract.CleanupReport{
		Purged: 1, Failed: 1, Bytes: 5, Duration: domain.Duration(time.Second), Reasons: map[contract.CleanupReason]int{"idle": 2},
		Skipped: map[contract.CleanupOutcome]int{}, Problems: []contract.CleanupResult{{Why: "a"}},
	}
	two := &contract.CleanupReport{
		Purged: 2, Stopped: true, Bytes: 6, Duration: domain.Duration(time.Second), Reasons: map[contract.CleanupReason]int{"idle": 1},
		Skipped: map[contract.CleanupOutcome]int{"held": 3}, Warning: "w",
	}
	sum := added(added(nil, one), two)
	if sum.Purged != 3 || !sum.Stopped || sum.Bytes != 11 || sum.Reasons["idle"] != 3 || sum.Skipped["held"] != 3 || sum.Warning != "w" || sum.Duration != domain.Duration(2*time.Second) {
		t.Errorf("the sum is %+v", sum)
	}
	var out bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &out)
	if err := a.reported(sum); exitCode(err) != exitFailed || !strings.Contains(out.String(), "goes on from there") || !strings.Contains(out.String(), "failed") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestBars(t *testing.T) {
	for _, test := range []struct {
		done, all, before, total uint64
		want                     string
	}{
		{0, 0, 0, 0, "purge…"},
		{5, 10, 0, 0, "5 of 10"},
		{5, 10, 20, 40, "25 of 40"},
		{9, 3, 0, 0, strings.Repeat("█", runBarWidth)},
	} {
		if got := barOf(contract.CleanupProgress{Phase: "purge", Done: test.done, Total: test.all}, test.before, test.total); !strings.Contains(got, test.want) {
			t.Errorf("%+v: %q", test, got)
		}
	}
	var out bytes.Buffer
	b := &bar{out: &out}
	b.each(contract.CleanupMessage{Progress: &contract.CleanupProgress{Phase: "scan", Done: 1, Total: 2}})
	b.done()
	if !strings.Contains(out.String(), "1 of 2") {
		t.Errorf("the bar wrote %q", out.String())
	}
}

// TestAgreeing answers the question of a purge.
func TestAgreeing(t *testing.T) {
	plan := &contract.CleanupPlan{Items: []contract.CleanupItem{{Reason: contract.ReasonIdle, Commits: 3, Bytes: 1200}}, Truncated: true}
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "": false, "\n": false} {
		var out bytes.Buffer
		a := newApp(strings.NewReader(answer), &out, &out)
		got, err := a.agree(t.Context(), nil, plan, contract.CleanupRequest{})
		if (got != nil) != want || (err == nil) != want || !strings.Contains(out.String(), "1 found (1 idle): 3 commits, 1.2 kB, and there is more") {
			t.Errorf("%q: %v, %v: %s", answer, got, err, out.String())
		}
	}
	var out bytes.Buffer
	a := newApp(strings.NewReader("y\n"), &out, &out)
	if got, err := a.agree(t.Context(), nil, &contract.CleanupPlan{}, contract.CleanupRequest{}); got != nil || err != nil {
		t.Errorf("an empty plan: %v, %v", got, fmt.Sprint(err))
	}
}
