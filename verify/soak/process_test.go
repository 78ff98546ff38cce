package soak

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// patience bounds every start, every answer and every read of a stream.
const patience = time.Minute

// process is a child that is killed at the end of the test if it still runs.
type process struct {
	cmd *exec.Cmd
	log *lockedBuffer
	// ended is closed after the process has ended.
	ended chan struct{}
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

// launch starts a child.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: &lockedBuffer{}, ended: make(chan struct{})}
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// kill ends the process at once, as a crash would, and returns what it had to
// say for itself that no sound process says.
func (p *process) kill() error {
	_ = p.cmd.Process.Kill()
	<-p.ended
	if text := p.log.String(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
		return fmt.Errorf("process %s said:\n%s", filepath.Base(p.cmd.Path), text)
	}
	return nil
}

// binary builds the command under test.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "reprise")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/reprise")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// natsServer is the server that outlives all engines.
func natsServer(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "soak", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), DisableJetStreamBanner: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server is not ready in time")
	}
	return srv.ClientURL()
}

// serve starts an engine and returns once it answers commands.
func serve(binary, home, url string) (*process, error) {
	cmd := exec.Command(binary, "serve", "--nats", url)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = in
	p, err := launch(cmd)
	_ = in.Close()
	if err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go awaitReady(out, ready)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-ready:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("an engine ended at its start:\n%s", p.log)
	case <-late.C:
		_ = p.kill()
		return nil, fmt.Errorf("an engine is not ready in time:\n%s", p.log)
	}
}

// awaitReady looks for the line that says that commands are answered, and reads
// on to the end.
func awaitReady(out *os.File, ready chan<- struct{}) {
	defer func() { _ = out.Close() }()
	told := false
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if !told && strings.HasPrefix(scanner.Text(), "reprise is ready: ") {
			told = true
			close(ready)
		}
	}
}
