//go:build unix

package actions_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"reprise/actions"
	"reprise/contract"
	"reprise/domain"
	"reprise/worker"
)

// bound is how long a test waits for anything.
const bound = time.Minute

// quick is a configuration that waits briefly for what does not end. What was put out
// is read for as long as a busy machine may take.
func quick() actions.ExecConfig {
	return actions.ExecConfig{Grace: 100 * time.Millisecond, PipeWait: bound}
}

func taskOf(t testing.TB, input any) *worker.Task {
	t.Helper()
	raw, err := domain.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	return worker.NewTask("ann", "s1", contract.Assignment{Chain: "c", Step: "b", Action: "exec", Attempt: 2, Input: raw})
}

func result(t testing.TB, out any, err error) actions.ExecResult {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	res, ok := out.(actions.ExecResult)
	if !ok {
		t.Fatalf("output is a %T", out)
	}
	return res
}

func failure(t testing.TB, err error, code string) *worker.Error {
	t.Helper()
	e, ok := errors.AsType[*worker.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
	return e
}

func TestExec(t *testing.T) {
	tests := []struct {
		name   string
		in     actions.ExecInput
		stdout string
		stderr string
	}{
		{"command", actions.ExecInput{Command: []string{"echo", "a  b", "$HOME"}}, "a  b $HOME\n", ""},
		{"script", actions.ExecInput{Run: "echo out; echo err >&2"}, "out\n", "err\n"},
		{"environment", actions.ExecInput{Run: `echo $A $REPRISE_USER $REPRISE_SESSION $REPRISE_CHAIN $REPRISE_STEP $REPRISE_ATTEMPT $REPRISE_IDEMPOTENCY_KEY "$REPRISE_OUTPUTS"`, Env: map[string]string{"A": "x y", "REPRISE_STEP": "forged"}}, "x y ann s1 c b 2 s1/c/b/2 {}\n", ""},
		{"directory", actions.ExecInput{Command: []string{"pwd"}, Dir: "/"}, "/\n", ""},
		{"no credentials", actions.ExecInput{Run: `echo "<$NATS_CREDS>"`}, "<>\n", ""},
		{"not UTF-8", actions.ExecInput{Run: `printf 'a\377b'`}, "a\uFFFDb", ""},
	}
	t.Setenv("NATS_CREDS", "secret")
	handle := actions.Exec(quick())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := handle(t.Context(), taskOf(t, test.in))
			res := result(t, out, err)
			if res.Stdout != test.stdout || res.Stderr != test.stderr || res.ExitCode != 0 || res.Truncated {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestExecRelativeDirectory(t *testing.T) {
	cfg := quick()
	cfg.Dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(cfg.Dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := actions.Exec(cfg)(t.Context(), taskOf(t, actions.ExecInput{Run: "basename $PWD", Dir: "sub"}))
	if res := result(t, out, err); res.Stdout != "sub\n" {
		t.Errorf("%+v", res)
	}
}

func TestExecOutputsOfSteps(t *testing.T) {
	for name, size := range map[string]int{"variable": 10, "file": 200 << 10} {
		t.Run(name, func(t *testing.T) {
			task := taskOf(t, actions.ExecInput{Run: `if [ -n "$REPRISE_OUTPUTS_FILE" ]; then wc -c <"$REPRISE_OUTPUTS_FILE"; echo "$REPRISE_OUTPUTS_FILE" >&2; else printf %s "$REPRISE_OUTPUTS" | wc -c; fi`})
			task.Outputs = map[string]contract.StepOutput{"a": {Output: []byte(`"` + strings.Repeat("x", size) + `"`)}}
			out, err := actions.Exec(quick())(t.Context(), task)
			res := result(t, out, err)
			if n, _ := strconv.Atoi(strings.TrimSpace(res.Stdout)); n != size+len(`{"a":{"output":""}}`) {
				t.Errorf("%+v", res)
			}
			if file := strings.TrimSpace(res.Stderr); file != "" {
				if _, err := os.Stat(file); err == nil {
					t.Error("the file is left behind")
				}
			}
		})
	}
}

func TestExecFailures(t *testing.T) {
	tests := []struct {
		name      string
		in        any
		code      string
		message   string
		permanent bool
	}{
		{"exit status", actions.ExecInput{Run: "echo fine; echo 'no such target' >&2; exit 3"}, "exit_status", "exit status 3: no such target", false},
		{"signal", actions.ExecInput{Run: "kill -9 $$"}, "signal", "killed", false},
		{"no program", actions.ExecInput{Command: []string{"no-such-program-here"}}, "not_started", "not found", true},
		{"no directory", actions.ExecInput{Command: []string{"true"}, Dir: "/none"}, "not_started", "/none", true},
		{"nothing", actions.ExecInput{}, "invalid_input", "either command", true},
		{"both", actions.ExecInput{Command: []string{"a"}, Run: "b"}, "invalid_input", "either command", true},
		{"empty program", actions.ExecInput{Command: []string{""}}, "invalid_input", "first word", true},
		{"unknown field", map[string]any{"comand": "x"}, "invalid_input", "comand", true},
		{"unknown output", actions.ExecInput{Run: "true", Output: "xml"}, "invalid_input", "text or json", true},
		{"bad variable", actions.ExecInput{Run: "true", Env: map[string]string{"a=b": "c"}}, "invalid_input", "a=b", true},
		{"no JSON", actions.ExecInput{Run: "echo {", Output: "json"}, "bad_output", "not one JSON", false},
		{"too much JSON", actions.ExecInput{Run: "yes | head -c 200000", Output: "json"}, "bad_output", "200000 bytes", true},
	}
	handle := actions.Exec(quick())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := handle(t.Context(), taskOf(t, test.in))
			e := failure(t, err, test.code)
			if out != nil || !strings.Contains(e.Error(), test.message) || e.Permanent != test.permanent {
				t.Errorf("%v, permanent %v, output %v", e, e.Permanent, out)
			}
		})
	}
}

func TestExecKeepsTheOutputOfAFailure(t *testing.T) {
	_, err := actions.Exec(quick())(t.Context(), taskOf(t, actions.ExecInput{Run: "echo done; echo broken >&2; exit 1"}))
	e := failure(t, err, "exit_status")
	res, ok := e.Output.(actions.ExecResult)
	if !ok || res.ExitCode != 1 || res.Stdout != "done\n" || e.Stack != "broken\n" {
		t.Errorf("output %+v, stack %q", e.Output, e.Stack)
	}
}

func TestExecJSON(t *testing.T) {
	out, err := actions.Exec(quick())(t.Context(), taskOf(t, actions.ExecInput{Run: `echo '{"rows": 7}'`, Output: "json"}))
	if res := result(t, out, err); string(res.JSON) != "{\"rows\": 7}\n" || res.Stdout != "" {
		t.Errorf("%+v", res)
	}
}

// TestExecManyBytes: 100 MB of output are counted and bounded, in little memory.
func TestExecManyBytes(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	task := taskOf(t, actions.ExecInput{Run: `echo first; head -c 104857600 /dev/zero | tr '\0' '\1'; echo; echo last`})
	out, err := actions.Exec(quick())(t.Context(), task)
	res := result(t, out, err)
	runtime.ReadMemStats(&after)
	if want := int64(104857600 + len("first\n\nlast\n")); res.StdoutBytes != want || !res.Truncated {
		t.Errorf("%d bytes, truncated %v; want %d", res.StdoutBytes, res.Truncated, want)
	}
	raw, err := domain.Marshal(res)
	if err != nil || len(raw) > domain.MaxPayloadBytes {
		t.Errorf("the output has %d bytes, %v", len(raw), err)
	}
	if !strings.HasPrefix(res.Stdout, "first\n") || !strings.HasSuffix(res.Stdout, "\nlast\n") || !strings.Contains(res.Stdout, "bytes left out") {
		t.Errorf("stdout begins %.20q and ends %.20q", res.Stdout, res.Stdout[len(res.Stdout)-20:])
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if line := task.Snapshot().Line; line != "last" {
		t.Errorf("progress %.40q", line)
	}
}

func TestExecProgress(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "go")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	task := taskOf(t, actions.ExecInput{Run: `printf '10%%\r20%%\r'; printf 'half a '; echo 'line  '; read x <"$FIFO"`, Env: map[string]string{"FIFO": fifo}})
	done := make(chan error, 1)
	go func() {
		_, err := actions.Exec(quick())(context.Background(), task)
		done <- err
	}()
	eventually(t, func() bool { return task.Snapshot().Line == "half a line" })
	var partial actions.ExecOutput
	if err := json.Unmarshal(task.Snapshot().Output, &partial); err != nil || !strings.Contains(partial.Stdout, "half a line") {
		t.Errorf("partial output %+v, %v", partial, err)
	}
	if err := os.WriteFile(fifo, []byte("go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// stubborn ignores SIGTERM, has a grandchild that does so too, and writes both
// process ids.
const stubborn = `trap '' TERM; (trap '' TERM; while :; do sleep 0.05; done) & echo $! >"$PIDS.tmp"; echo $$ >>"$PIDS.tmp"; mv "$PIDS.tmp" "$PIDS"; echo ready; while :; do sleep 0.05; done`

func TestExecKillsTheWholeGroup(t *testing.T) {
	for name, cause := range map[string]error{"cancelled": worker.ErrCancelled, "deadline": worker.ErrDeadline, "abandoned": worker.ErrAbandoned} {
		t.Run(name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			ctx, cancel := context.WithCancelCause(t.Context())
			task := taskOf(t, actions.ExecInput{Run: stubborn, Env: map[string]string{"PIDS": pids}})
			done := make(chan error, 1)
			go func() {
				_, err := actions.Exec(quick())(ctx, task)
				done <- err
			}()
			eventually(t, func() bool { return task.Snapshot().Line == "ready" })
			cancel(cause)
			err := <-done
			if e := failure(t, err, "stopped"); !errors.Is(e, cause) {
				t.Errorf("error %v", e)
			}
			allGone(t, pids)
		})
	}
}

func TestExecLeavesNothingBehind(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	out, err := actions.Exec(quick())(t.Context(), taskOf(t, actions.ExecInput{
		Run: `(trap '' TERM HUP; while :; do sleep 0.05; done) & echo $! >"$PIDS"; echo started`, Env: map[string]string{"PIDS": pids},
	}))
	if res := result(t, out, err); res.Stdout != "started\n" {
		t.Errorf("%+v", res)
	}
	allGone(t, pids)
}

// TestExecDoesNotWaitForStrangers: a process that left the group and keeps the
// output open holds nobody up.
func TestExecDoesNotWaitForStrangers(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	cfg := quick()
	cfg.PipeWait = 2 * time.Second
	out, err := actions.Exec(cfg)(t.Context(), taskOf(t, actions.ExecInput{
		Run: `setsid sh -c 'echo $$ >"$PIDS.tmp"; mv "$PIDS.tmp" "$PIDS"; exec sleep 600' & while [ ! -f "$PIDS" ]; do sleep 0.01; done; echo on`, Env: map[string]string{"PIDS": pids},
	}))
	raw, readErr := os.ReadFile(pids)
	if pid, _ := strconv.Atoi(strings.TrimSpace(string(raw))); pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	} else {
		t.Fatalf("no stranger: %v", readErr)
	}
	if res := result(t, out, err); res.Stdout != "on\n" {
		t.Errorf("%+v", res)
	}
}

// allGone waits until no process named in the file runs any more.
func allGone(t *testing.T, pids string) {
	t.Helper()
	raw, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(raw)) {
		pid, err := strconv.Atoi(word)
		if err != nil || pid < 2 {
			t.Fatalf("pid %q", word)
		}
		eventually(t, func() bool { return !alive(pid) })
	}
}

// alive reports whether a process runs; one that only waits to be reaped doesn't.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// eventually polls until ok holds.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	end := time.Now().Add(bound)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain", bound)
		}
		<-tick.C
	}
}
