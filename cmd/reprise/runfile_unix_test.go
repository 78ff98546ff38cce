//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"reprise/domain"
)

// beReprise makes this test binary the reprise command.
const beReprise = "REPRISE_TEST_BE_REPRISE"

func TestMain(m *testing.M) {
	if os.Getenv(beReprise) != "" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// gate is a step that goes on when a file is there, and a step after it. Each
// attempt leaves its number in the file "attempts".
const gate = `{"chains":[{"id":"work","steps":[
	{"id":"gate","action":"exec","input":{"run":"echo $REPRISE_ATTEMPT >> attempts; echo waiting; until test -e open; do sleep 0.02; done"}},
	{"id":"after","action":"exec","input":{"run":"echo through"}}]}]}`

// attempts is how often the gate was begun.
func (l *lab) attempts() string {
	raw, _ := os.ReadFile(filepath.Join(l.dir, "attempts"))
	return strings.Join(strings.Fields(string(raw)), ",")
}

func (l *lab) await(attempts string) {
	l.t.Helper()
	poll(l.t, "attempts "+attempts, func() bool { return l.attempts() == attempts })
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// TestRunIsInterrupted: Ctrl-C pauses; what is in flight is given back after the
// patience, and --resume goes on, in the directory of the first run.
func TestRunIsInterrupted(t *testing.T) {
	l := newLab(t)
	file := l.write("gate.json", gate)
	p := l.start("run", file, "--id", "g", "--patience", "50ms")
	l.await("1")
	p.signal(os.Interrupt)
	p.wants(exitPaused, "pausing: 1 step in flight may go on for 50ms", "step.released", "‖ PAUSED  g", "go on: reprise run --resume g")
	s := l.session("g")
	if st := s.Step("work", "gate"); s.State != domain.StatePaused || st.Status != domain.StepStatusPending || st.Tries != 0 {
		t.Errorf("state %s, step %+v", s.State, st)
	}
	l.write("open", "")
	again := l.start("run", file, "--id", "g")
	again.wants(exitFailed, `session "g" exists already and is PAUSED; go on with it: reprise run --resume g`)
	elsewhere := l.start("run", "--resume", "g")
	elsewhere.wants(exitOK, "session.resumed", "✓ COMPLETED  g", "History")
	if l.attempts() != "1,2" {
		t.Errorf("attempts %s", l.attempts())
	}
}

// TestRunWaitsForWhatIsInFlight: a step that ends within the patience counts.
func TestRunWaitsForWhatIsInFlight(t *testing.T) {
	l := newLab(t)
	p := l.start("run", l.write("gate.json", gate), "--id", "g", "--patience", "1h")
	l.await("1")
	p.signal(syscall.SIGTERM)
	p.says("in flight may go on")
	l.write("open", "")
	p.wants(exitPaused, "step.succeeded     work/gate", "1 step done, 1 not run")
	l.start("run", "--resume", "g").wants(exitOK, "work/after")
	if l.attempts() != "1" {
		t.Errorf("attempts %s", l.attempts())
	}
}

// TestRunIsInterruptedTwice: the second Ctrl-C ends it at once.
func TestRunIsInterruptedTwice(t *testing.T) {
	l := newLab(t)
	p := l.start("run", l.write("gate.json", gate), "--id", "g", "--patience", "1h")
	l.await("1")
	p.signal(os.Interrupt)
	p.says("in flight may go on")
	p.signal(os.Interrupt)
	p.wants(exitFailed, "stopped at once; go on with: reprise run --resume g")
	l.write("open", "")
	l.start("run", "--resume", "g").wants(exitOK, "step.released      work/gate", "✓ COMPLETED")
	if l.attempts() != "1,2" {
		t.Errorf("attempts %s", l.attempts())
	}
}

// TestRunIsKilled: after a crash --resume gives back at once what was in flight.
func TestRunIsKilled(t *testing.T) {
	l := newLab(t)
	p := l.start("run", l.write("gate.json", gate), "--id", "g")
	l.await("1")
	p.signal(syscall.SIGKILL)
	p.wants(-1)
	l.write("open", "")
	resumed := l.start("run", "--resume", "g")
	resumed.wants(exitOK, "step.released      work/gate", "step.started       work/gate  attempt 2", "✓ COMPLETED")
	if strings.Contains(resumed.out.String(), "step.timedout") {
		t.Errorf("it waited for a lease: %s", resumed.out.String())
	}
	if tries := l.session("g").Step("work", "gate").Tries; l.attempts() != "1,2" || tries != 1 {
		t.Errorf("attempts %s, tries %d", l.attempts(), tries)
	}
}

// TestRunIsLostElsewhere: with an engine in another process nobody knows that
// the worker is gone until its lease is over; the step is tried again then.
func TestRunIsLostElsewhere(t *testing.T) {
	l := newLab(t)
	s := startServing(t, nil, "--data", l.data, "--listen", "127.0.0.1:0", "--log-level", "error")
	p := l.start("run", l.write("gate.json", gate), "--id", "g", "--lease", "6s", "--nats", s.url())
	l.await("1")
	p.signal(syscall.SIGKILL)
	p.wants(-1)
	l.write("open", "")
	l.start("run", "--resume", "g", "--dir", l.dir).wants(exitOK, "step.timedout      work/gate", "step.retried       work/gate", "✓ COMPLETED")
	if l.attempts() != "1,2" {
		t.Errorf("attempts %s", l.attempts())
	}
}

// TestRunWaitsForAPerson: the command that is shown works from another process.
func TestRunWaitsForAPerson(t *testing.T) {
	l := newLab(t)
	p := l.start("run", l.write("m.json", `{"chains":[{"id":"c","steps":[{"id":"ok","title":"Is it good?","manual":true}]}]}`), "--id", "m")
	const command = "reprise step succeed m c ok"
	p.says("c/ok (Is it good?) waits for a person: " + command)
	l.start(strings.Fields(command)[1:]...).wants(exitOK, "step.succeeded")
	p.wants(exitOK, "✓ COMPLETED  m")
}

// TestRunsShareAnEngine: the second run uses the engine of the first, takes only
// its own steps, and isn't left alone when the first is done.
func TestRunsShareAnEngine(t *testing.T) {
	l := newLab(t)
	first := l.start("run", l.write("m.json", `{"chains":[{"id":"c","steps":[{"id":"ok","manual":true}]}]}`), "--id", "first")
	first.says("waits for a person")
	second := l.start("run", l.write("gate.json", gate), "--id", "second")
	l.await("1")
	l.start("step", "succeed", "first", "c", "ok").wants(exitOK)
	first.says("other runs use the engine in this process")
	l.write("open", "")
	second.wants(exitOK, "✓ COMPLETED  second")
	first.wants(exitOK, "✓ COMPLETED  first")
	if st := l.session("second").Step("work", "gate"); !strings.HasPrefix(st.Worker, runWorker) || strings.HasPrefix(st.Worker, embeddedWorker) {
		t.Errorf("the second run's worker is %s", st.Worker)
	}
}

// TestRunLosesTheEngine: a run whose engine died in another process says so.
func TestRunLosesTheEngine(t *testing.T) {
	l := newLab(t)
	server := l.start("serve", "--listen", "127.0.0.1:0")
	server.says("reprise is ready")
	p := l.start("run", l.write("gate.json", gate), "--id", "g")
	l.await("1")
	server.signal(syscall.SIGKILL)
	p.wants(exitUnreachable, "the process that served the data directory has ended; go on with: reprise run --resume g")
}

// TestRunInADurabilityMode: the mode is that of the engine in this process; that
// of another can't be chosen.
func TestRunInADurabilityMode(t *testing.T) {
	l := newLab(t)
	l.write("open", "")
	l.start("run", l.write("gate.json", gate), "--id", "g", "--sync", "always").wants(exitOK, "✓ COMPLETED  g")
	l.start("run", l.write("gate.json", gate), "--sync", "often").wants(exitUsage, "write always, or a time")
	server := l.start("serve", "--listen", "127.0.0.1:0", "--sync", "always")
	server.says("durability: an answered command survives a power cut")
	l.start("run", l.write("gate.json", gate), "--sync", "always").wants(exitUsage, "has a mode of its own; leave --sync out")
	server.signal(syscall.SIGTERM)
	server.wants(exitOK)
}

// TestRunOnlyWatches: with --no-worker somebody else does the work, and an
// interrupt changes nothing.
func TestRunOnlyWatches(t *testing.T) {
	l := newLab(t)
	s := startServing(t, nil, "--data", l.data, "--listen", "127.0.0.1:0", "--log-level", "error")
	file := l.write("gate.json", gate)
	p := l.start("run", file, "--id", "g", "--no-worker")
	p.says("session.started")
	p.signal(os.Interrupt)
	p.wants(exitFailed, "interrupted before the session was done")
	if state := l.session("g").State; state != domain.StateRunning {
		t.Errorf("state %s", state)
	}
	l.write("open", "")
	startWorking(t, s.url(), "--actions", "exec", "--dir", l.dir)
	l.start("run", "--resume", "g", "--no-worker").wants(exitOK, "✓ COMPLETED")
}

// TestRunDrawsATree: on a terminal there is a picture, and the cursor is back
// after the end.
func TestRunDrawsATree(t *testing.T) {
	l := newLab(t)
	p := l.start("run", l.write("gate.json", gate), "--id", "g", "--progress", "tree", "--no-history")
	p.says("waiting")
	p.signal(syscall.SIGTSTP)
	poll(t, "a stopped process", func() bool { return strings.HasSuffix(p.out.String(), wrap+showCursor) })
	poll(t, "it to go on", func() bool { // a signal that comes before it has stopped is lost
		p.signal(syscall.SIGCONT)
		return !strings.HasSuffix(p.out.String(), wrap+showCursor)
	})
	l.write("open", "")
	p.wants(exitOK, hideCursor, "└─ ✓ after")
	out := p.out.String()
	if strings.LastIndex(out, showCursor) < strings.LastIndex(out, hideCursor) {
		t.Errorf("the cursor is hidden after the end: %q", out[max(0, len(out)-300):])
	}
}

// TestRunCancelled: a cancel from elsewhere stops what runs, and ends the run.
func TestRunCancelled(t *testing.T) {
	l := newLab(t)
	p := l.start("run", l.write("gate.json", gate), "--id", "g")
	l.await("1")
	l.start("session", "cancel", "g").wants(exitOK)
	p.wants(exitFailed, "⊘ CANCELLED  g", "reprise session fork g")
	deleted := l.start("run", l.write("gate.json", gate), "--id", "h")
	l.await("1,1")
	l.start("session", "delete", "h", "--force").wants(exitOK)
	deleted.wants(exitNotFound, "deleted  h")
}

// TestRunOutlivesItsReader: when nobody reads its output any more, a run goes on.
func TestRunOutlivesItsReader(t *testing.T) {
	l := newLab(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := l.prepare("run", l.write("gate.json", gate), "--id", "g")
	p.cmd.Stdout = write
	p.begin()
	l.await("1")
	if err := errors.Join(write.Close(), read.Close()); err != nil {
		t.Fatal(err)
	}
	l.write("open", "")
	p.wants(exitOK)
}
