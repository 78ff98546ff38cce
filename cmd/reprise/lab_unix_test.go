//go:build unix

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// lab is a data directory with a working directory beside it, for processes.
type lab struct {
	t         *testing.T
	data, dir string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{t: t, data: t.TempDir(), dir: t.TempDir()}
}

// write makes a session file and returns its path.
func (l *lab) write(name, definition string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(definition), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// process is a reprise command in a process of its own.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err sharedText
	ended    chan struct{}
}

// start runs this binary as reprise.
func (l *lab) start(args ...string) *process {
	l.t.Helper()
	p := l.prepare(args...)
	p.begin()
	return p
}

func (l *lab) prepare(args ...string) *process {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	return l.command(exec.Command(self, args...))
}

// command prepares a program that finds this binary as reprise.
func (l *lab) command(cmd *exec.Cmd) *process {
	p := &process{t: l.t, cmd: cmd, ended: make(chan struct{})}
	if cmd.Dir == "" {
		cmd.Dir = l.dir
	}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "NATS_") && !strings.HasPrefix(entry, "REPRISE_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, beReprise+"=1", "REPRISE_DATA="+l.data, "REPRISE_USER=ada", "GORACE=atexit_sleep_ms=0")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	return p
}

func (p *process) begin() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says it
		close(p.ended)
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
}

// spawn runs a program that finds this binary as reprise.
func (l *lab) spawn(cmd *exec.Cmd) *process {
	l.t.Helper()
	p := l.command(cmd)
	p.begin()
	return p
}

// processPatience is how long a process may take: one of them builds a release, for
// which nothing may be compiled yet.
const processPatience = 5 * servePatience

// wait returns the exit code; -1 for a process that a signal ended.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(processPatience):
		p.t.Fatalf("%v does not end; it said\n%s\n%s", p.cmd.Args[1:], p.out.String(), p.err.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// says waits for a text on stdout or stderr.
func (p *process) says(text string) {
	p.t.Helper()
	poll(p.t, text, func() bool {
		select {
		case <-p.ended:
			if !strings.Contains(p.out.String()+p.err.String(), text) {
				p.t.Fatalf("%v ended without saying %q; it said\n%s\n%s", p.cmd.Args[1:], text, p.out.String(), p.err.String())
			}
		default:
		}
		return strings.Contains(p.out.String()+p.err.String(), text)
	})
}

// wants checks exit code and words that were said.
func (p *process) wants(code int, words ...string) {
	p.t.Helper()
	if got := p.wait(); got != code {
		p.t.Errorf("%v: exit %d, want %d", p.cmd.Args[1:], got, code)
	}
	said := p.out.String() + p.err.String()
	for _, word := range words {
		if !strings.Contains(said, word) {
			p.t.Errorf("%v does not say %q", p.cmd.Args[1:], word)
		}
	}
	if p.t.Failed() {
		p.t.Fatalf("%v said\n%s\n%s", p.cmd.Args[1:], p.out.String(), p.err.String())
	}
}

// session is one that the directory has.
func (l *lab) session(id string) *domain.Session {
	l.t.Helper()
	p := l.start("session", "show", id, "--json")
	p.wants(exitOK)
	var reply contract.GetReply
	if err := json.Unmarshal([]byte(p.out.String()), &reply); err != nil {
		l.t.Fatal(err)
	}
	return reply.Session
}
