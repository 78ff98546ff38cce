package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/natsnode"
)

// buffer may be read while a command writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// command runs one command line in this process with that environment alone.
func command(ctx context.Context, env []string, args ...string) (code int, stdout, stderr *buffer) {
	stdout, stderr = new(buffer), new(buffer)
	a := newApp(strings.NewReader(""), stdout, stderr)
	a.getenv = environment(env...)
	return a.run(ctx, args), stdout, stderr
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(servePatience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
		if err := pause(t.Context(), 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoServer(t *testing.T) {
	code, _, stderr := command(t.Context(), nil, "session", "list", "--nats", "nats://127.0.0.1:1")
	if code != exitUnreachable || !strings.Contains(stderr.String(), "127.0.0.1:1") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	code, _, stderr = command(t.Context(), []string{"HOME=" + t.TempDir()}, "session", "list", "--context", "nowhere")
	if code != exitUsage || !strings.Contains(stderr.String(), "nowhere") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestNoEngine(t *testing.T) {
	node, err := natsnode.StartEmbedded(natsnode.Options{Memory: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = closeNode(node) }()
	code, _, stderr := command(t.Context(), []string{"NATS_URL=" + node.URL()}, "session", "list")
	if code != exitUnreachable || !strings.Contains(stderr.String(), "start one with `reprise serve --nats "+node.URL()+"`") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestDataDirectory: without a server the commands work on the data directory
// themselves, one after another, and leave it free.
func TestDataDirectory(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_DATA=" + dir, "REPRISE_USER=ada"}
	if code, _, stderr := command(t.Context(), env, "session", "create", "s1", "--keep-open", "--start"); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	code, stdout, stderr := command(t.Context(), env, "session", "show", "s1")
	if code != exitOK || !strings.Contains(stdout.String(), "RUNNING") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if _, running, err := natsnode.ReadLock(dir); running || err != nil {
		t.Errorf("the directory is in use after the command: %v %v", running, err)
	}
}

// TestServedDirectory: a command goes to the process that serves the directory.
func TestServedDirectory(t *testing.T) {
	dir := t.TempDir()
	node, err := natsnode.StartEmbedded(natsnode.Options{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := startHost(t.Context(), node, engine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t.Context(), []string{"NATS_URL=nats://127.0.0.1:1"}, "session", "create", "s1", "--keep-open", "-q", "--data", dir)
	if code != exitOK || stdout.String() != "s1\n" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if err := errors.Join(h.stop(context.Background()), closeNode(node)); err != nil {
		t.Error(err)
	}
}

// TestDirectoryInUse: a command waits for another one that has the directory for
// a moment, and stops waiting when it is told to.
func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	node, err := natsnode.StartEmbedded(natsnode.Options{DataDir: dir, Listen: natsnode.ListenNone})
	if err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if code, _, stderr := command(stopped, nil, "session", "count", "--data", dir); code == exitOK {
		t.Errorf("exit %d: %s", code, stderr)
	}
	closed := make(chan error, 1)
	go func() { closed <- closeNode(node) }()
	if code, _, stderr := command(t.Context(), nil, "session", "count", "--data", dir); code != exitOK {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t.Context(), nil, "session", "count", "--data", file); code != exitFailed || stderr.String() == "" {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestWatchLive: commits are shown as they come, and the end of the session, or
// an interrupt, ends the watch.
func TestWatchLive(t *testing.T) {
	node := startEngine(t, nil)
	env := []string{"NATS_URL=" + node.URL(), "REPRISE_USER=ada"}
	do := func(args ...string) {
		t.Helper()
		if code, _, stderr := command(t.Context(), env, args...); code != exitOK {
			t.Fatalf("%v: exit %d: %s", args, code, stderr)
		}
	}
	do("session", "create", "s1", "--keep-open")
	watch := func(ctx context.Context, args ...string) (<-chan int, *buffer) {
		stdout, code := new(buffer), make(chan int, 1)
		a := newApp(strings.NewReader(""), stdout, stdout)
		a.getenv = environment(env...)
		go func() { code <- a.run(ctx, append([]string{"session", "watch", "s1"}, args...)) }()
		return code, stdout
	}
	ctx, interrupt := context.WithCancel(t.Context())
	plain, plainOut := watch(ctx, "--from", "1")
	until, untilOut := watch(ctx, "--from", "1", "--until-done")
	done, doneOut := watch(t.Context(), "--from", "1", "--until-done", "--json")
	for _, out := range []*buffer{plainOut, untilOut, doneOut} {
		eventually(t, "the first commit", func() bool { return strings.Contains(out.String(), "session.created") })
	}
	interrupt()
	if code := <-plain; code != exitOK {
		t.Errorf("an interrupted watch: exit %d: %s", code, plainOut)
	}
	if code := <-until; code != exitFailed || !strings.Contains(untilOut.String(), "interrupted before") {
		t.Errorf("an interrupted --until-done: exit %d: %s", code, untilOut)
	}
	do("session", "start", "s1")
	do("session", "complete", "s1")
	if code := <-done; code != exitOK || strings.Count(doneOut.String(), "\n") != 3 {
		t.Errorf("a completed session: exit %d: %s", code, doneOut)
	}
}

func TestWatchUntilDeleted(t *testing.T) {
	node := startEngine(t, nil)
	env := []string{"NATS_URL=" + node.URL(), "REPRISE_USER=ada"}
	if code, _, stderr := command(t.Context(), env, "session", "create", "s1", "--keep-open"); code != exitOK {
		t.Fatal(stderr)
	}
	out, code := new(buffer), make(chan int, 1)
	a := newApp(strings.NewReader(""), out, out)
	a.getenv = environment(env...)
	go func() { code <- a.run(t.Context(), []string{"session", "watch", "s1", "--from", "1", "--until-done"}) }()
	eventually(t, "the first commit", func() bool { return strings.Contains(out.String(), "session.created") })
	if code, _, stderr := command(t.Context(), env, "session", "delete", "s1"); code != exitOK {
		t.Fatal(stderr)
	}
	if got := <-code; got != exitFailed || !strings.Contains(out.String(), "session.purged") {
		t.Errorf("exit %d: %s", got, out)
	}
}

// TestEveryCommandExplainsItself: each command has a line for lists, and each
// that does something has an example that parses.
func TestEveryCommandExplainsItself(t *testing.T) {
	root := newApp(nil, nil, nil).root()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if c.HasSubCommands() || c.Name() == "version" {
			return
		}
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			checkExample(t, c, line)
		}
	}
	walk(root)
}

// checkExample parses the reprise command of one line of examples.
func checkExample(t *testing.T, c *cobra.Command, line string) {
	t.Helper()
	_, line, found := strings.Cut("  "+line, "  reprise ")
	if !found {
		return
	}
	line, _, _ = strings.Cut(line, " | ")
	line, _, _ = strings.Cut(line, " && ")
	root := newApp(nil, nil, nil).root()
	cmd, rest, err := root.Find(split(line))
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: example %q: %v", c.CommandPath(), strings.TrimSpace(line), err)
	}
}

func TestHelpAndCompletion(t *testing.T) {
	for _, args := range [][]string{{}, {"session"}, {"help", "step", "retry"}, {"completion", "bash"}, {"session", "list", "--help"}} {
		code, stdout, stderr := command(t.Context(), nil, args...)
		if code != exitOK || !strings.Contains(stdout.String(), "reprise") {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
	for _, tt := range [][2]string{{"list --state ", "CANCELLED"}, {"list -o ", "yaml"}, {"history x --types ", "step.timedout"}, {"start ", ":4"}} {
		args := append([]string{"__complete", "session"}, strings.Split(tt[0], " ")...)
		if _, stdout, _ := command(t.Context(), nil, args...); !strings.Contains(stdout.String(), tt[1]) {
			t.Errorf("completion of %q: %s", tt[0], stdout)
		}
	}
}

func TestExitCodes(t *testing.T) {
	code := func(c domain.Code) error { return fmt.Errorf("wrapped: %w", &client.Error{Code: c}) }
	tests := map[error]int{
		code(domain.CodeNotFound): exitNotFound, code(domain.CodeGone): exitNotFound,
		code(domain.CodeUnavailable): exitUnreachable, code(domain.CodeWarming): exitUnreachable, code(domain.CodeBusy): exitUnreachable,
		code(domain.CodeUnknownOutcome): exitUnknown, code(domain.CodeIllegalTransition): exitFailed, code(domain.CodeAlready): exitFailed,
		natsnode.ErrUnreachable: exitUnreachable, &natsnode.InUseError{}: exitUnreachable, natsnode.ErrOptions: exitUsage,
		&usageError{"x"}: exitUsage, &quietError{7}: 7, errors.New("x"): exitFailed,
	}
	for err, want := range tests {
		if got := exitCode(err); got != want {
			t.Errorf("%v: exit %d, want %d", err, got, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	if got := defaultDataDir(environment("REPRISE_DATA=/d", "XDG_STATE_HOME=/x")); got != "/d" {
		t.Errorf("data directory %s", got)
	}
	if got := defaultDataDir(environment("XDG_STATE_HOME=/x", "HOME=/h")); got != filepath.Join("/x", "reprise") {
		t.Errorf("data directory %s", got)
	}
	if got := defaultDataDir(environment("HOME=/h", "LOCALAPPDATA=/h")); !strings.HasPrefix(got, string(filepath.Separator)+"h") {
		t.Errorf("data directory %s", got)
	}
	a := newApp(nil, nil, nil)
	a.getenv = environment()
	if a.owner() == "" || !domain.ValidID(operatorName(a.getenv)) {
		t.Errorf("owner %q, operator %q", a.owner(), operatorName(a.getenv))
	}
	if got := operatorName(environment("REPRISE_OPERATOR=a b")); got != "operator" {
		t.Errorf("operator %q", got)
	}
	a.getenv = environment("REPRISE_USER=bo")
	if a.owner() != "bo" {
		t.Errorf("owner %q", a.owner())
	}
	a.flags.user = "cy"
	if a.owner() != "cy" {
		t.Errorf("owner %q", a.owner())
	}
}

// TestMinPosition: a list that is asked for a command's position has it.
func TestMinPosition(t *testing.T) {
	env := []string{"NATS_URL=" + startEngine(t, nil).URL(), "REPRISE_USER=ada"}
	_, stdout, _ := command(t.Context(), env, "session", "create", "s1", "--keep-open", "--json")
	var reply contract.Reply
	if err := json.Unmarshal([]byte(stdout.String()), &reply); err != nil {
		t.Fatalf("%s: %v", stdout, err)
	}
	for _, name := range []string{"list", "count"} {
		code, stdout, stderr := command(t.Context(), env, "session", name, "--json", "--min-position", reply.Position.String())
		if code != exitOK || !strings.Contains(stdout.String(), reply.Position.Incarnation) || strings.Contains(stdout.String(), `"total": 0`) {
			t.Errorf("%s: exit %d: %s%s", name, code, stdout, stderr)
		}
	}
	if code, _, _ := command(t.Context(), env, "session", "list", "--min-position", "7"); code != exitUsage {
		t.Errorf("a bad position: exit %d", code)
	}
}

func TestMomentFlag(t *testing.T) {
	now := time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m": now.Add(-90 * time.Minute), "2026-11-20": time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		"2026-11-21T14:00:00+01:00": now,
	} {
		m := momentFlag{now: func() time.Time { return now }}
		if err := m.Set(text); err != nil || !m.Equal(want) {
			t.Errorf("%s: %v, error %v", text, m.Time, err)
		}
		if m.String() == "" || m.Type() != "TIME" {
			t.Errorf("%s reads %q", text, m.String())
		}
	}
}

// A flag of one command that means something else than the flag of the same
// name on every command would take that one away.
func TestNoFlagHidesAnother(t *testing.T) {
	a := newApp(nil, nil, nil)
	a.getenv = environment()
	root := a.root()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			for up := cmd.Parent(); up != nil; up = up.Parent() {
				if up.PersistentFlags().Lookup(f.Name) != nil {
					t.Errorf("%s: --%s hides the flag of that name of %q", cmd.CommandPath(), f.Name, up.CommandPath())
				}
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}
