//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"reprise/domain"
	"reprise/worker/workertest"
)

// working is a `reprise worker` that runs in this process.
type working struct {
	out, err sharedText
	cancel   context.CancelFunc
	ended    chan int
}

// startWorking runs a worker on a fake engine and returns when it says what it
// serves.
func startWorking(t *testing.T, url string, args ...string) *working {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &working{cancel: cancel, ended: make(chan int, 1)}
	a := newApp(strings.NewReader(""), &w.out, &w.err)
	a.getenv = environment("NATS_URL=" + url)
	go func() { w.ended <- a.run(ctx, append([]string{"worker"}, args...)) }()
	t.Cleanup(func() {
		cancel()
		<-w.ended
	})
	poll(t, "the line that says what is served", func() bool { return strings.Contains(w.out.String(), "serves") })
	return w
}

// stop ends the worker as SIGTERM does and returns its exit code.
func (w *working) stop() int {
	w.cancel()
	code := <-w.ended
	w.ended <- code
	return code
}

func TestWorkerServesWhatItWasTold(t *testing.T) {
	url := workertest.Server(t)
	e := workertest.Start(t, url)
	dir := t.TempDir()
	w := startWorking(t, url, "--actions", "exec,http", "--action-map", "build=exec", "--concurrency", "2", "--lease", "10s", "--id", "amber", "--dir", dir)
	if out := w.out.String(); !strings.Contains(out, "worker amber serves build (as exec), exec, http at "+url+", up to 2 steps at once") {
		t.Errorf("stdout: %s", out)
	}
	e.Create("ann", "s", `{"chains":[{"id":"c","steps":[
		{"id":"a","action":"build","input":{"run":"pwd"}},
		{"id":"b","action":"exec","input":{"command":["sh","-c","exit 3"]}}]}]}`)
	s := e.UntilState("ann", "s", domain.StateFailed)
	if !strings.Contains(string(s.Step("c", "a").Output), dir) || s.Error.Code != "exit_status" || s.Step("c", "a").Worker != "amber" {
		t.Errorf("session: %+v, error %+v", s.Step("c", "a"), s.Error)
	}
	if code := w.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, w.err.String())
	}
	for _, part := range []string{"step started", "step succeeded", "step failed", "session=s", "worker=amber"} {
		if !strings.Contains(w.err.String(), part) {
			t.Errorf("the log lacks %q: %s", part, w.err.String())
		}
	}
}

func TestWorkerCommandLine(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		words string
	}{
		{"nothing", nil, "exec, http"},
		{"unknown", []string{"--actions", "shell"}, `no built-in action "shell"; there are exec, http`},
		{"unknown in map", []string{"--action-map", "build=make"}, `"make"`},
		{"bad name", []string{"--action-map", "a.b=exec"}, `"a.b" is no action name`},
		{"two meanings", []string{"--actions", "exec", "--action-map", "exec=http"}, "served as itself"},
		{"no concurrency", []string{"--actions", "exec", "--concurrency", "0"}, "at least 1"},
		{"arguments", []string{"--actions", "exec", "http"}, "no arguments"},
		{"bad prefix", []string{"--actions", "exec", "--prefix", "A.B"}, "--prefix"},
		{"bad lease", []string{"--actions", "exec", "--lease", "fast"}, "not a duration"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, _, stderr := command(t.Context(), nil, append([]string{"worker"}, test.args...)...)
			if code != exitUsage || !strings.Contains(stderr.String(), test.words) {
				t.Errorf("exit %d: %s", code, stderr)
			}
		})
	}
}

func TestWorkerBadID(t *testing.T) {
	url := workertest.Server(t)
	code, _, stderr := command(t.Context(), nil, "worker", "--actions", "exec", "--id", "a b", "--nats", url)
	if code != exitUsage || !strings.Contains(stderr.String(), "a b") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestWorkerFindsTheServer(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := command(t.Context(), nil, "worker", "--actions", "exec", "--data", dir)
	if code != exitUnreachable || !strings.Contains(stderr.String(), "reprise serve") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	s := startServing(t, nil, "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "error")
	w := startWorking(t, "", "--actions", "exec", "--data", dir)
	if !strings.Contains(w.out.String(), s.url()) {
		t.Errorf("stdout: %s", w.out.String())
	}
}

// TestWorkerSecondSignal: the first signal drains, the second stops at once and
// kills what runs.
func TestWorkerSecondSignal(t *testing.T) {
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, syscall.SIGTERM) // so that none ends the test
	defer signal.Stop(caught)
	url := workertest.Server(t)
	e := workertest.Start(t, url)
	w := startWorking(t, url, "--actions", "exec", "--drain", "1h")
	e.Create("ann", "s", `{"chains":[{"id":"c","steps":[{"id":"a","action":"exec","input":{"run":"trap '' TERM; while :; do sleep 0.05; done"}}]}]}`)
	e.UntilCalls(domain.VerbClaim, 1)
	poll(t, "the step", func() bool { return strings.Contains(w.err.String(), "step started") })
	w.cancel()
	code := -1
	poll(t, "the end", func() bool {
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		<-caught
		select {
		case code = <-w.ended:
			w.ended <- code
			return true
		default:
			return false
		}
	})
	if code != exitFailed || !strings.Contains(w.err.String(), "stopped at once") {
		t.Errorf("exit %d: %s", code, w.err.String())
	}
	if st := e.Step("ann", "s", "c", "a"); st.Status != domain.StepStatusRunning {
		t.Errorf("the step is %s", st.Status)
	}
}
