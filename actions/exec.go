package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"reprise/worker"
)

// The bounds of what Exec keeps of an output, in bytes. All of it is counted.
const (
	// stdoutHead and stdoutTail are kept of the beginning and the end.
	stdoutHead, stdoutTail = 32 << 10, 32 << 10
	// stderrTail is kept of the end, where the errors are.
	stderrTail = 16 << 10
	// maxJSON is how long a JSON output may be.
	maxJSON = 128 << 10
	// partialLimit is kept of each while the command runs.
	partialLimit = 4 << 10
)

// The defaults of ExecConfig.
const (
	// DefaultGrace is the time between SIGTERM and SIGKILL.
	DefaultGrace = 5 * time.Second
	// DefaultPipeWait is how long an output is read after the end of the command.
	DefaultPipeWait = 2 * time.Second
)

// ExecConfig says how commands run. The zero value of every field is a good
// default.
type ExecConfig struct {
	// Dir is what a relative working directory starts from.
	Dir string
	// Env is the environment to start from; nil is that of this process without
	// its NATS_* variables, which may hold credentials.
	Env []string
	// Shell runs a script given as its last argument; sh -c if empty.
	Shell []string
	// Grace is the time between SIGTERM and SIGKILL for a command that has to stop.
	Grace time.Duration
	// PipeWait bounds how long an output is read after the end of the command,
	// for what it started outside of its process group.
	PipeWait time.Duration
}

// ExecInput is the input of a step that runs a command. Either Command or Run is
// set.
type ExecInput struct {
	// Command is a program and its arguments; no shell is involved.
	Command []string `json:"command,omitempty"`
	// Run is a script for the shell.
	Run string `json:"run,omitempty"`
	// Env is added to the environment.
	Env map[string]string `json:"env,omitempty"`
	// Dir is the working directory.
	Dir string `json:"dir,omitempty"`
	// Output is "text" (the default), or "json" for a command whose standard
	// output is one JSON text.
	Output string `json:"output,omitempty"`
}

// ExecOutput is what a command put out.
type ExecOutput struct {
	// Stdout and Stderr are bounded; a note says where something was left out.
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	// StdoutBytes and StderrBytes count all of it.
	StdoutBytes int64 `json:"stdoutBytes"`
	StderrBytes int64 `json:"stderrBytes"`
	// Truncated says that something was left out.
	Truncated bool `json:"truncated,omitempty"`
}

// ExecResult is the output of a step that ran a command.
type ExecResult struct {
	// ExitCode is -1 for a command that a signal ended.
	ExitCode int    `json:"exitCode"`
	Signal   string `json:"signal,omitempty"`
	// JSON is the standard output of a step with output "json"; Stdout is empty then.
	JSON json.RawMessage `json:"json,omitempty"`
	ExecOutput
}

// Exec returns the handler that runs commands. Its errors have the codes
// exit_status, signal, not_started, bad_output, invalid_input and stopped.
//
// The command gets REPRISE_USER, _SESSION, _CHAIN, _STEP, _ATTEMPT,
// _IDEMPOTENCY_KEY, and the outputs of the steps before it as JSON in
// REPRISE_OUTPUTS, or in the file that REPRISE_OUTPUTS_FILE names if they are
// too long for a variable. Its last line is the progress of the step. It runs in
// a process group of its own, which ends with the context of the step: SIGTERM,
// after the grace SIGKILL. What it leaves behind in the group is killed too.
func Exec(cfg ExecConfig) worker.Handler {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.PipeWait == 0 {
		cfg.PipeWait = DefaultPipeWait
	}
	if len(cfg.Shell) == 0 {
		cfg.Shell = []string{"sh", "-c"}
	}
	if cfg.Env == nil {
		cfg.Env = ownEnvironment(os.Environ())
	}
	return func(ctx context.Context, t *worker.Task) (any, error) {
		var in ExecInput
		if err := decode(t, &in); err != nil {
			return nil, err
		}
		if err := in.check(); err != nil {
			return nil, err
		}
		return cfg.exec(ctx, t, in)
	}
}

func (in *ExecInput) check() error {
	switch {
	case (len(in.Command) == 0) == (in.Run == ""):
		return invalid("the input of the step needs either command (a list) or run (a script for the shell)")
	case len(in.Command) > 0 && in.Command[0] == "":
		return invalid("the first word of command is empty; it names the program")
	case in.Output != "" && in.Output != "text" && in.Output != "json":
		return invalid(fmt.Sprintf("output is %.40q; use text or json", in.Output))
	}
	return nil
}

// run is one command with what it put out so far.
type run struct {
	cfg            ExecConfig
	cmd            *exec.Cmd
	stdout, stderr *capture
	show           func(string)
}

func (cfg ExecConfig) exec(ctx context.Context, t *worker.Task, in ExecInput) (any, error) {
	dir, err := cfg.directory(in.Dir)
	if err != nil {
		return nil, notStarted(err)
	}
	env, remove, err := environment(cfg.Env, t, in.Env)
	if err != nil {
		return nil, err
	}
	defer remove()
	words := in.Command
	if in.Run != "" {
		words = append(append([]string{}, cfg.Shell...), in.Run)
	}
	r := &run{
		cfg: cfg, cmd: exec.Command(words[0], words[1:]...), show: t.Progress, //nolint:noctx // the whole group is stopped, in two steps
		stdout: &capture{headMax: stdoutHead, tailMax: stdoutTail}, stderr: &capture{tailMax: stderrTail},
	}
	if in.Output == "json" {
		r.stdout = &capture{headMax: maxJSON}
	}
	r.cmd.Env, r.cmd.Dir, r.cmd.SysProcAttr = env, dir, groupAttributes()
	t.PartialOutput(func() any { return r.output(partialLimit) })
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return r.result(ctx, in)
}

// directory is the working directory. The system would not say that it is the
// directory that is missing, not the program.
func (cfg ExecConfig) directory(dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(cfg.Dir, dir)
	}
	if dir == "" {
		return "", nil
	}
	_, err := os.Stat(dir)
	return dir, err
}

// run starts the command and returns when it and its group have ended. The error
// says that it could not be started.
func (r *run) run(ctx context.Context) error {
	var reading sync.WaitGroup
	closeOut, err := r.pipe(&r.cmd.Stdout, r.stdout, &reading)
	if err != nil {
		return err
	}
	defer closeOut()
	closeErr, err := r.pipe(&r.cmd.Stderr, r.stderr, &reading)
	if err != nil {
		return err
	}
	defer closeErr()
	if err := r.process(ctx); err != nil {
		return err
	}
	read := make(chan struct{})
	go func() {
		reading.Wait()
		close(read)
	}()
	wait(read, r.cfg.PipeWait)
	return nil
}

// pipe reads one output of the command into a capture. The function it returns
// closes what is still open.
func (r *run) pipe(output *io.Writer, to *capture, reading *sync.WaitGroup) (closing func(), err error) {
	from, end, err := os.Pipe()
	if err != nil {
		return nil, notStarted(err)
	}
	*output = end
	reading.Go(func() {
		_, _ = io.Copy(io.MultiWriter(to, &lines{show: r.show}), from) // it ends with the command, or when it is closed
	})
	return func() { _ = from.Close(); _ = end.Close() }, nil
}

// process starts the command and stops its group when ctx ends.
func (r *run) process(ctx context.Context) error {
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(exited)
		// The thread that starts a command is its parent for Pdeathsig.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.cmd.Start()
		for _, end := range []io.Writer{r.cmd.Stdout, r.cmd.Stderr} {
			_ = end.(*os.File).Close() //nolint:forcetypeassert // pipe put them there
		}
		started <- err
		if err == nil {
			_ = r.cmd.Wait() // the state says it
		}
	}()
	if err := <-started; err != nil {
		return notStarted(err)
	}
	defer kill(r.cmd.Process)
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
	}
	if !errors.Is(context.Cause(ctx), worker.ErrAbandoned) {
		terminate(r.cmd.Process)
		wait(exited, r.cfg.Grace)
	}
	kill(r.cmd.Process)
	<-exited
	return nil
}

// wait waits for done, at most d.
func wait(done <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

func notStarted(err error) error {
	missing := errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
	return &worker.Error{Code: "not_started", Message: "the command can't be started: " + err.Error(), Permanent: missing, Err: err}
}

// output is what the command put out, with at most limit bytes of each stream.
func (r *run) output(limit int) ExecOutput {
	stdout, stderr := r.stdout.kept().within(limit), r.stderr.kept().within(limit)
	return ExecOutput{
		Stdout: stdout.String(), Stderr: stderr.String(), StdoutBytes: stdout.total, StderrBytes: stderr.total,
		Truncated: !stdout.whole() || !stderr.whole(),
	}
}

// result judges the end of the command.
func (r *run) result(ctx context.Context, in ExecInput) (any, error) {
	state := r.cmd.ProcessState
	res := ExecResult{ExitCode: state.ExitCode(), Signal: signalOf(state), ExecOutput: r.output(stdoutHead + stdoutTail)}
	for limit := stdoutHead + stdoutTail; !fits(res); limit /= 2 { // control characters take up to six bytes in JSON
		res.ExecOutput = r.output(limit)
	}
	switch {
	case state.Success() && in.Output == "json":
		return r.jsonResult(res)
	case state.Success():
		return res, nil
	case ctx.Err() != nil:
		cause := context.Cause(ctx)
		return nil, &worker.Error{Code: "stopped", Message: "the command was stopped: " + cause.Error(), Stack: res.Stderr, Output: res, Err: cause}
	}
	e := &worker.Error{Code: "exit_status", Message: fmt.Sprintf("exit status %d", res.ExitCode), Stack: res.Stderr, Output: res}
	if res.Signal != "" {
		e.Code, e.Message = "signal", "ended by signal: "+res.Signal
	}
	if line := r.stderr.kept().lastLine(); line != "" {
		e.Message += ": " + line
	}
	return nil, e
}

// jsonResult reads the standard output as JSON.
func (r *run) jsonResult(res ExecResult) (any, error) {
	stdout := r.stdout.kept()
	if !stdout.whole() {
		return nil, &worker.Error{Code: "bad_output", Permanent: true, Output: res, Message: fmt.Sprintf(
			"the standard output has %d bytes; as JSON it may have at most %d", stdout.total, maxJSON)}
	}
	if res.JSON = asJSON(stdout.head); res.JSON == nil {
		return nil, &worker.Error{Code: "bad_output", Message: "the standard output is not one JSON text", Output: res, Stack: res.Stderr}
	}
	res.Stdout = ""
	return res, nil
}

// ownEnvironment leaves out what a worker needs for its own connection.
func ownEnvironment(env []string) []string {
	var rest []string
	for _, entry := range env {
		if !strings.HasPrefix(entry, "NATS_") {
			rest = append(rest, entry)
		}
	}
	return rest
}
