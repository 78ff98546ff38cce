package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxKept bounds how much of what a child says is kept for an error.
const maxKept = 4 << 10

// Child is a process that was started by Start. Its methods are safe for
// concurrent use.
type Child struct {
	cmd  *exec.Cmd
	said tail
	// ended is closed after the process has ended; err is set then.
	ended chan struct{}
	err   error
}

// Start starts cmd in its own group, so that an interrupt of the terminal does
// not reach it, and keeps the end of what it says on stderr, and on stdout
// unless cmd has one.
func Start(cmd *exec.Cmd) (*Child, error) {
	c := &Child{cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &c.said
	if cmd.Stdout == nil {
		cmd.Stdout = &c.said
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	isolate(cmd.SysProcAttr)
	// A grandchild may hold the pipe open after its parent's end.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", filepath.Base(cmd.Path), err)
	}
	go func() {
		c.err = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// PID returns the process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ended is closed after the process has ended.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Failure returns what is wrong with a child that has ended unasked, with the
// last of what it said.
func (c *Child) Failure() error {
	<-c.ended
	return fmt.Errorf("%s ended: %w; it said: %s", filepath.Base(c.cmd.Path), orNil(c.err), strings.TrimSpace(c.said.String()))
}

// Stop asks the process to end with an interrupt and, when ctx ends first, kills
// it. It returns once the process is gone, and kills what it left behind.
func (c *Child) Stop(ctx context.Context) {
	below := descendants(c.PID())
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-c.ended:
	case <-ctx.Done():
		below = append(below, descendants(c.PID())...)
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
	for _, p := range below {
		p.kill()
	}
}

// orNil gives the end of a process without an error a name.
func orNil(err error) error {
	if err == nil {
		return errExited
	}
	return err
}

var errExited = errors.New("exit status 0")

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	t.buf.Next(max(0, t.buf.Len()-maxKept))
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
