package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every request, every start and every wait for something.
const patience = time.Minute

// lookAgain is the pause between two looks of eventually.
const lookAgain = 5 * time.Millisecond

// process is one run of `reprise serve`.
type process struct {
	cmd *exec.Cmd
	url string
	log *lockedBuffer
	// ended is closed after the process has ended; err is set then.
	ended chan struct{}
	err   error
}

// lockedBuffer collects what a process says while it runs.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// command makes a run of the binary in an environment of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Getenv(binaryVariable), args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "REPRISE_USER=ada"}
	return cmd
}

// serve starts an instance and returns once it answers. It is killed at the end
// of the test if it still runs.
func serve(t *testing.T, args ...string) *process {
	t.Helper()
	return start(t, command(t, append([]string{"serve"}, args...)...))
}

// start is serve for a command that was made already.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, log: &lockedBuffer{}, ended: make(chan struct{})}
	ready := make(chan string, 1)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	go func() {
		defer func() { _ = out.Close() }()
		awaitReady(out, ready)
	}()
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { p.kill(t) })
	p.url = p.awaitURL(t, ready)
	return p
}

// embedded starts an instance on a data directory and a port of its own.
func embedded(t *testing.T, dir string) *process {
	t.Helper()
	return serve(t, "--data", dir, "--listen", "127.0.0.1:0")
}

// awaitReady finds the URL in the line that says that commands are answered, and
// reads on to the end.
func awaitReady(out *os.File, ready chan<- string) {
	line := regexp.MustCompile(`^reprise is ready: (\S+) `)
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		if found := line.FindStringSubmatch(scanner.Text()); found != nil {
			ready <- found[1]
		}
	}
}

func (p *process) awaitURL(t *testing.T, ready <-chan string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case url := <-ready:
		return url
	case <-p.ended:
		t.Fatalf("the process ended at its start: %v\n%s", p.err, p.log)
	case <-ctx.Done():
		t.Fatalf("the process is not ready in time\n%s", p.log)
	}
	return ""
}

// kill ends the process at once, as a crash would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Kill()
	<-p.ended
	if text := p.log.String(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
		t.Errorf("the process said:\n%s", text)
	}
}

// stop asks the process to drain and waits for its end, which must be clean.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-p.ended:
	case <-ctx.Done():
		t.Fatalf("the process did not stop in time\n%s", p.log)
	}
	if p.err != nil {
		t.Errorf("the process ended with %v\n%s", p.err, p.log)
	}
}

// eventually looks until check is content, and fails with what it said last.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("it didn't happen in time: %v", err)
		case <-tick.C:
		}
	}
}
