package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"reprise/contract"
	"reprise/domain"
)

// release is the example that the command line creates.
func release() string { return filepath.Join("..", "..", "examples", "release.yaml") }

// TestCommandLine uses the command line on a serving process, and on the same
// data without one.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := embedded(t, dir)
	lifeOnCommandLine(t, dir, "served")
	seen := dial(t, p.url, "ada").get(t, "served")
	if seen.State != domain.StatePaused || seen.StepCount() < 5 {
		t.Errorf("a plain client sees %s with %d steps", seen.State, seen.StepCount())
	}
	p.stop(t)
	lifeOnCommandLine(t, dir, "alone")
	var list contract.ListReply
	readJSON(t, cli(t, 0, "session", "list", "--data", dir, "--json"), &list)
	if len(list.Sessions) != 2 {
		t.Errorf("the list has %d sessions, want both", len(list.Sessions))
	}
}

// lifeOnCommandLine creates, starts, pauses and looks at a session.
func lifeOnCommandLine(t *testing.T, dir, session string) {
	t.Helper()
	var created contract.Reply
	readJSON(t, cli(t, 0, "session", "create", session, "-f", release(), "--data", dir, "--json"), &created)
	if created.Session != session || created.User != "ada" || created.State != domain.StatePending {
		t.Errorf("created %+v", created)
	}
	cli(t, 0, "session", "start", session, "--data", dir)
	cli(t, 0, "session", "pause", session, "--data", dir)
	if out := cli(t, 1, "session", "complete", session, "--data", dir); !strings.Contains(out, "complete needs RUNNING") {
		t.Errorf("the rejection is shown as %q", out)
	}
	cli(t, 3, "session", "show", "nothing", "--data", dir)
	cli(t, 2, "session", "show", "--data", dir)
	for _, command := range []string{"show", "history"} {
		out := cli(t, 0, "session", command, session, "--data", dir)
		if !strings.Contains(strings.ToUpper(out), "PAUSED") {
			t.Errorf("%s says\n%s", command, out)
		}
	}
}

// cli runs one command line and returns all it says; it must end with the code.
func cli(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := command(t, args...)
	out, err := cmd.Output()
	text, got := string(out), 0
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		text, got = text+string(exit.Stderr), exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Fatalf("reprise %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, text)
	}
	return text
}

func readJSON(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}
