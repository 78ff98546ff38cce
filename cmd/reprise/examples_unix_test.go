//go:build unix

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"reprise/natsnode"
)

// root is the top of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestExampleRelease(t *testing.T) {
	l := newLab(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "run", "examples/release.yaml")
	cmd.Dir, cmd.Env = root(t), []string{"RELEASE_DIR=" + l.dir, "RELEASE_VET=./contract", "RELEASE_TEST=./internal/term"}
	l.spawn(cmd).wants(exitOK, "✓ COMPLETED", "10 steps done")
	for _, name := range []string{"reprise", "reprise.tar.gz", "source.tar.gz", "SHA256SUMS"} {
		if info, err := os.Stat(filepath.Join(l.dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExampleData(t *testing.T) {
	l := newLab(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "run", "examples/data.yaml", "--id", "data-1")
	cmd.Dir, cmd.Env = root(t), []string{"DATA_DIR=" + l.dir}
	l.spawn(cmd).wants(exitOK, "✓ COMPLETED", "8 steps done")
	for _, name := range []string{"temperature.svg", "rain.svg"} {
		raw, err := os.ReadFile(filepath.Join(l.dir, name))
		if err != nil || strings.Count(string(raw), "<polyline") != 4 || !strings.HasSuffix(string(raw), "</svg>\n") {
			t.Errorf("%s: %v\n%s", name, err, raw)
		}
	}
	var report struct{ JSON map[string]int }
	if err := json.Unmarshal(l.session("data-1").Step("validate", "report").Output, &report); err != nil || len(report.JSON) != 4 {
		t.Errorf("report %+v: %v", report, err)
	}
}

func TestExampleAgent(t *testing.T) {
	l := newLab(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "examples/agent/agent.sh", "agent-1")
	cmd.Dir, cmd.Env = root(t), []string{"REPRISE=" + os.Args[0]}
	l.spawn(cmd).wants(exitOK, "✓ COMPLETED  agent-1")
	s := l.session("agent-1")
	if done, all := doneSteps(s); done != 8 || all != 8 || len(s.Chains) != 4 {
		t.Errorf("%d of %d steps in %d chains", done, all, len(s.Chains))
	}
}

// TestDemo runs the demo; it ends by itself and leaves nothing behind.
func TestDemo(t *testing.T) {
	l := newLab(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "scripts/demo.sh")
	cmd.Dir, cmd.Env = root(t), []string{"REPRISE=" + os.Args[0], "TMPDIR=" + l.dir}
	p := l.spawn(cmd)
	p.wants(exitOK, "✓ COMPLETED  build-1", "‖ PAUSED  long-1", "✓ COMPLETED  long-1", "‖ PAUSED  long-2", "✓ COMPLETED  long-2",
		"✗ FAILED  broken-1", "1 skipped", "⊘ CANCELLED  endless-1", "is gone")
	for line := range strings.Lines(p.out.String() + p.err.String()) {
		if strings.Contains(line, "level=") {
			t.Errorf("the demo logs: %s", line)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(l.dir, "reprise-demo*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, running, _ := natsnode.ReadLock(l.data); running {
		t.Error("the demo used another directory than its own")
	}
}
