package main

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/natsnode"
)

// servePatience bounds everything that a test of serve waits for.
const servePatience = time.Minute

// sharedText is a writer that may be read while others write.
type sharedText struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends.
func (s *sharedText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String returns what was written so far.
func (s *sharedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// serving is a `reprise serve` that runs in this process.
type serving struct {
	out, err sharedText
	cancel   context.CancelFunc
	ended    chan int
}

// startServing runs serve and returns when it says that it is ready.
func startServing(t *testing.T, env map[string]string, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &serving{cancel: cancel, ended: make(chan int, 1)}
	a := newApp(strings.NewReader(""), &s.out, &s.err)
	a.getenv = func(name string) string { return env[name] }
	go func() { s.ended <- a.run(ctx, append([]string{"serve"}, args...)) }()
	poll(t, "the ready line", func() bool {
		select {
		case code := <-s.ended:
			t.Fatalf("serve ended with %d: %s", code, s.err.String())
		default:
		}
		return strings.Contains(s.out.String(), "reprise is ready")
	})
	t.Cleanup(func() {
		cancel()
		<-s.ended
	})
	return s
}

// stop ends serve as SIGTERM does and returns its exit code.
func (s *serving) stop(t *testing.T) int {
	t.Helper()
	s.cancel()
	select {
	case code := <-s.ended:
		s.ended <- code
		return code
	case <-time.After(servePatience):
		t.Fatal("serve does not end")
		return 0
	}
}

// url is the address in the ready line.
func (s *serving) url() string { return regexp.MustCompile(`nats://\S+`).FindString(s.out.String()) }

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(servePatience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", servePatience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestServeInADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := startServing(t, nil, "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "error")
	for _, part := range []string{
		dir, "file storage", "synced every 100ms", "nats -s " + s.url() + " req reprise.qry.",
		"\ndurability: an answered command survives a killed process; a power cut takes what was answered in the last 100ms\n",
	} {
		if !strings.Contains(s.out.String(), part) {
			t.Errorf("the ready line %q does not say %q", s.out.String(), part)
		}
	}
	nc, err := nats.Connect(s.url(), nats.Timeout(servePatience))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if info, running, err := natsnode.ReadLock(dir); err != nil || !running || info.URL != s.url() {
		t.Errorf("the lock says %+v, %v, %v", info, running, err)
	}
	code, _, stderr := runLine(t, "serve", "--data", dir, "--listen", "none")
	if code != exitUnreachable || !strings.Contains(stderr, "in use by process") {
		t.Errorf("a second serve: exit code %d, %s", code, stderr)
	}
	if code := s.stop(t); code != exitOK {
		t.Errorf("exit code %d, %s", code, s.err.String())
	}
	if _, running, err := natsnode.ReadLock(dir); running || err != nil {
		t.Errorf("after the end the lock is held: %v, %v", running, err)
	}
}

func TestServeInMemory(t *testing.T) {
	// NATS_URL names a server for the commands; flags of the embedded server win.
	s := startServing(t, map[string]string{"NATS_URL": "nats://127.0.0.1:1"}, "--memory", "--listen", "none", "--prefix", "other")
	if out := s.out.String(); !strings.Contains(out, "no port") || !strings.Contains(out, "memory storage") {
		t.Errorf("the ready line is %q", out)
	}
	if code := s.stop(t); code != exitOK {
		t.Errorf("exit code %d, %s", code, s.err.String())
	}
}

func TestServeOnAServer(t *testing.T) {
	node, err := natsnode.StartEmbedded(natsnode.Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeNode(node) })
	byFlag := startServing(t, nil, "--nats", node.URL())
	byVariable := startServing(t, map[string]string{"NATS_URL": node.URL()})
	for _, s := range []*serving{byFlag, byVariable} {
		if s.url() != node.URL() {
			t.Errorf("the ready line is %q, the server at %s", s.out.String(), node.URL())
		}
		if code := s.stop(t); code != exitOK {
			t.Errorf("exit code %d, %s", code, s.err.String())
		}
	}
}

func TestServeRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeTestFile(t, file)
	tests := map[string]struct {
		args string
		code int
		want string
	}{
		"data and server":     {"--nats nats://x --data d", exitUsage, "--data is about the embedded server"},
		"memory and context":  {"--context x --memory", exitUsage, "--memory is about the embedded server"},
		"listen and server":   {"--nats nats://x --listen none", exitUsage, "--listen is about"},
		"sync and server":     {"--nats nats://x --sync always", exitUsage, "--sync is about"},
		"groups and memory":   {"--memory --group-commit", exitUsage, "--sync always"},
		"groups on replicas":  {"--nats nats://x --group-commit --replicas 3", exitUsage, "one replica"},
		"memory and data":     {"--memory --data d", exitUsage, "leave --data out"},
		"memory and sync":     {"--memory --sync always", exitUsage, "leave --sync out"},
		"replicas embedded":   {"--memory --replicas 3", exitUsage, "needs a cluster"},
		"sync as a word":      {"--data d --sync often", exitUsage, "write always, or a time"},
		"sync of nothing":     {"--data d --sync 0s", exitUsage, "always syncs at once"},
		"log level":           {"--memory --log-level loud", exitUsage, "loud"},
		"argument":            {"now", exitUsage, "takes no arguments"},
		"listen address":      {"--memory --listen nowhere", exitUsage, "HOST:PORT"},
		"nobody there":        {"--nats nats://127.0.0.1:1", exitUnreachable, "cannot reach"},
		"unknown context":     {"--context no-such-context", exitUsage, "no NATS context"},
		"directory is a file": {"--listen none --data " + file, exitFailed, "is a file"},
		"prefix":              {"--memory --listen none --prefix A.B", exitUsage, "lower-case"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := runLine(t, append([]string{"serve"}, strings.Fields(test.args)...)...)
			if code != test.code || out != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d (want %d), %q, %q", code, test.code, out, stderr)
			}
		})
	}
}

func TestSyncMode(t *testing.T) {
	for text, want := range map[string]time.Duration{"always": 0, "50ms": 50 * time.Millisecond, "2m": 2 * time.Minute} {
		interval, always, err := (&durability{text: text}).mode()
		if err != nil || always != (text == syncAlways) || interval != want {
			t.Errorf("%s: %s, %v, %v", text, interval, always, err)
		}
	}
}

func TestEngineThatEndsByItself(t *testing.T) {
	node, err := natsnode.StartEmbedded(natsnode.Options{Memory: true, Listen: natsnode.ListenNone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeNode(node) })
	if waitRecovered(t.Context(), node) {
		t.Error("it waited for a storage that is well")
	}
	lost := errors.New("lost")
	h := &host{cancel: func() {}, done: make(chan struct{}), err: lost}
	close(h.done)
	if recovered, err := runHost(t.Context(), node, h); recovered || !errors.Is(err, lost) {
		t.Errorf("got %v, %v, want the engine's error", recovered, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if waitRecovered(ctx, node) {
		t.Error("it recovered after the end")
	}
	if err := unlessEnded(ctx, lost); !errors.Is(err, lost) {
		t.Errorf("an error at the end became %v", err)
	}
	if err := unlessEnded(ctx, ctx.Err()); err != nil {
		t.Errorf("the end itself became %v", err)
	}
}
