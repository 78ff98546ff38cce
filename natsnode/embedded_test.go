package natsnode

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestFileStorageSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	n := start(t, Options{DataDir: dir, Listen: ListenNone})
	_, js := dial(t, n)
	makeStream(t, n, js)
	if _, err := js.Publish(t.Context(), "t", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)

	n = start(t, Options{DataDir: dir, Listen: ListenNone, SyncAlways: true})
	_, js = dial(t, n)
	stream, err := js.Stream(t.Context(), "T")
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := stream.GetMsg(t.Context(), 1); err != nil || string(msg.Data) != "kept" {
		t.Errorf("got %v, %v", msg, err)
	}
	if info := stream.CachedInfo(); info.Config.Storage != jetstream.FileStorage {
		t.Errorf("storage is %s", info.Config.Storage)
	}
	wantSentence(t, errors.New(n.String()), "file storage in "+dir, "every write synced")
}

func TestPromise(t *testing.T) {
	for name, test := range map[string]struct {
		opts   Options
		always bool
		want   string
	}{
		"by default": {Options{DataDir: t.TempDir()}, false, "a power cut takes what was answered in the last 100ms"},
		"interval":   {Options{DataDir: t.TempDir(), SyncInterval: time.Second}, false, "survives a killed process; a power cut takes what was answered in the last 1s"},
		"always":     {Options{DataDir: t.TempDir(), SyncAlways: true}, true, "survives a power cut"},
		"memory":     {Options{Memory: true}, false, "as long as this process"},
	} {
		t.Run(name, func(t *testing.T) {
			test.opts.Listen = ListenNone
			n := start(t, test.opts)
			wantSentence(t, errors.New(n.Promise()), test.want)
			if n.SyncsAlways() != test.always {
				t.Errorf("it says %v of syncing every write", n.SyncsAlways())
			}
		})
	}
}

func TestMemoryNodeLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	n := start(t, Options{Memory: true, Listen: ListenNone})
	_, js := dial(t, n)
	if info := makeStream(t, n, js).CachedInfo(); info.Config.Storage != jetstream.MemoryStorage {
		t.Errorf("storage is %s", info.Config.Storage)
	}
	if err := n.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	if n.URL() != "" || !n.Embedded() || n.String() != "embedded NATS, memory storage" {
		t.Errorf("URL %q, embedded %v, %s", n.URL(), n.Embedded(), n)
	}
	closeNode(t, n)
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStorageLimit(t *testing.T) {
	for name, opts := range map[string]Options{
		"file":   {DataDir: t.TempDir(), Listen: ListenNone, MaxStore: 64 << 10},
		"memory": {Memory: true, Listen: ListenNone, MaxStore: 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, opts)
			_, js := dial(t, n)
			stream := makeStream(t, n, js)
			var err error
			for sent := 0; err == nil && sent < 100; sent++ {
				_, err = js.Publish(t.Context(), "t", make([]byte, 1024))
			}
			wantSentence(t, err, "insufficient resources")
			err = n.Healthy(t.Context())
			if !errors.Is(err, ErrStorage) {
				t.Fatalf("healthy at the limit: %v", err)
			}
			wantSentence(t, err, "65536 bytes is reached", "delete sessions")
			if err := stream.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := n.Healthy(t.Context()); err != nil {
				t.Errorf("after the purge: %v", err)
			}
		})
	}
}

func TestListensForOtherProcesses(t *testing.T) {
	n := start(t, Options{Memory: true, Listen: "0.0.0.0:0"})
	nc, err := nats.Connect(n.URL(), nats.Timeout(testPatience))
	if err != nil {
		t.Fatalf("a plain client at %s: %v", n.URL(), err)
	}
	defer nc.Close()
	if name := nc.ConnectedServerName(); name != serverName {
		t.Errorf("server is called %q", name)
	}
}

func TestClosedNode(t *testing.T) {
	n := start(t, Options{Memory: true, Listen: ListenNone})
	closeNode(t, n)
	closeNode(t, n)
	if _, err := n.Dial("late"); !errors.Is(err, ErrClosed) {
		t.Errorf("dial: %v", err)
	}
	if err := n.Healthy(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("healthy: %v", err)
	}
	if err := n.Recover(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("recover: %v", err)
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	dir := t.TempDir()
	n, err := StartEmbedded(Options{DataDir: dir, Listen: ListenNone})
	if err != nil {
		t.Fatal(err)
	}
	n.embedded.recovering.Lock() // a recovery is under way
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantSentence(t, n.Close(ctx), "still stopping")
	if _, running, err := ReadLock(dir); !running || err != nil {
		t.Errorf("the lock was given up while the server may still write: %v, %v", running, err)
	}
	n.embedded.recovering.Unlock()
	n.embedded.srv.WaitForShutdown()
}

func TestOptionsAreChecked(t *testing.T) {
	tests := map[string]struct {
		opts Options
		want []string
	}{
		"nothing":        {Options{}, []string{"needs a data directory"}},
		"both storages":  {Options{Memory: true, DataDir: "x"}, []string{"choose one"}},
		"synced memory":  {Options{Memory: true, SyncAlways: true}, []string{"never synced"}},
		"no port":        {Options{Memory: true, Listen: "localhost"}, []string{`"localhost"`, "HOST:PORT"}},
		"port as a word": {Options{Memory: true, Listen: "localhost:nats"}, []string{"0 to 65535"}},
		"port too high":  {Options{Memory: true, Listen: ":70000"}, []string{"0 to 65535"}},
		"all at once": {
			Options{SyncInterval: -1, MaxStore: -1, Ready: -1, Listen: "x"},
			[]string{"data directory", "sync interval", "store limit", "times", "HOST:PORT"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n, err := StartEmbedded(test.opts)
			if !errors.Is(err, ErrOptions) || n != nil {
				t.Fatalf("got %v, %v; want ErrOptions", n, err)
			}
			wantSentence(t, err, test.want...)
		})
	}
}

func TestPortInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dir := t.TempDir()
	address := listener.Addr().String()
	_, err = StartEmbedded(Options{DataDir: dir, Listen: address})
	if !errors.Is(err, ErrListen) {
		t.Fatalf("got %v, want ErrListen", err)
	}
	wantSentence(t, err, address, "another program", "listen elsewhere")
	if _, running, _ := ReadLock(dir); running {
		t.Error("the lock was kept")
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "jetstream"), "a file where the server wants a directory")
	_, err := StartEmbedded(Options{DataDir: dir, Listen: ListenNone})
	if !errors.Is(err, ErrStart) {
		t.Fatalf("got %v, want ErrStart", err)
	}
	wantSentence(t, err, "did not start", "storage directory is not a directory")
	if _, running, _ := ReadLock(dir); running {
		t.Error("the lock was kept")
	}
	_, err = StartEmbedded(Options{Memory: true, Listen: "127.0.0.1:0", Ready: time.Nanosecond})
	if err != nil && !errors.Is(err, ErrStart) { // a nanosecond may do
		t.Errorf("got %v, want ErrStart", err)
	}
}

func TestDirectoryThatIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := StartEmbedded(Options{DataDir: dir, Listen: ListenNone})
		if !errors.Is(err, ErrDirectory) {
			t.Errorf("%s: got %v, want ErrDirectory", dir, err)
		}
		wantSentence(t, err, dir, "is a file", "another directory")
	}
}

func TestTemporaryDirectoryMissing(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	_, err := StartEmbedded(Options{Memory: true, Listen: ListenNone})
	if !errors.Is(err, ErrDirectory) {
		t.Errorf("got %v, want ErrDirectory", err)
	}
}

func TestServerLog(t *testing.T) {
	var text bytes.Buffer
	l := &serverLog{log: slog.New(slog.NewTextHandler(&text, nil))}
	if l.failure() != "" {
		t.Error("a failure before any")
	}
	l.Noticef("a notice")
	l.Debugf("debug")
	l.Tracef("trace")
	l.Warnf("a %s", "warning")
	l.Errorf("an %s", "error")
	l.Fatalf("the %s", "end")
	l.Fatalf("after the end")
	wantSentence(t, errors.New(text.String()), `level=WARN msg="a warning"`, `level=ERROR msg="an error"`, `msg="the end"`)
	if bytes.Contains(text.Bytes(), []byte("notice")) {
		t.Error("the server's notices are not quiet")
	}
	if l.failure() != "the end" {
		t.Errorf("failure is %q, want the first", l.failure())
	}
}

func TestReconnectIsLogged(t *testing.T) {
	var text syncBuffer
	n := start(t, Options{Memory: true, Listen: ListenNone, Logger: slog.New(slog.NewTextHandler(&text, nil))})
	nc, _ := dial(t, n)
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a line about the reconnect", func() bool { return text.contains("connected to NATS again") })
}
