package natsnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/internal/race"
)

// mountTmpfs mounts a file system of its own for the test, or skips it where
// that isn't permitted.
func mountTmpfs(t *testing.T, flags uintptr, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
		t.Skipf("this test needs a small file system and may not mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fillDisk writes a file until the disk has only a few bytes left, and returns
// its path.
func fillDisk(t *testing.T, dir string, left int64) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var size int64
	for block := make([]byte, 4096); err == nil; {
		var n int
		n, err = file.Write(block)
		size += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := file.Truncate(size - left); err != nil {
		t.Fatal(err)
	}
	return path
}

// publishUntilFull publishes messages until the disk is full, and returns how
// many were acknowledged. One without an answer while there is room is sent again.
func publishUntilFull(t *testing.T, n *Node, js jetstream.JetStream) int {
	t.Helper()
	acked := 0
	for deadline := time.Now().Add(testPatience); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := js.Publish(ctx, "t", fmt.Appendf(make([]byte, 1024), "%d", acked), jetstream.WithMsgID(strconv.Itoa(acked)))
		cancel()
		switch {
		case err == nil:
			acked++
		case errors.Is(n.Healthy(t.Context()), ErrStorage):
			return acked
		}
	}
	t.Fatal("the disk never got full")
	return 0
}

// wantMessages checks that nothing acknowledged is lost and that the stream
// takes more.
func wantMessages(t *testing.T, js jetstream.JetStream, acked int) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "T")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n < uint64(acked) {
		t.Errorf("%d messages were acknowledged, the stream has %d", acked, n)
	}
	for seq := 1; seq <= acked; seq++ {
		msg, err := stream.GetMsg(t.Context(), uint64(seq))
		if err != nil || string(msg.Data[1024:]) != strconv.Itoa(seq-1) {
			t.Fatalf("message %d: %v", seq, err)
		}
	}
	if _, err := js.Publish(t.Context(), "t", []byte("again")); err != nil {
		t.Fatal(err)
	}
}

func TestFullDiskRecovers(t *testing.T) {
	if race.Enabled {
		t.Skip("nats-server 2.15.2 has a race of its own where JetStream is enabled again; make test runs this without the detector")
	}
	dir := mountTmpfs(t, 0, "24m")
	n := start(t, Options{DataDir: dir, Listen: ListenNone, MinFree: 1 << 20, MaxStore: 1 << 30})
	_, js := dial(t, n)
	makeStream(t, n, js)
	ballast := fillDisk(t, dir, 64<<10)
	acked := publishUntilFull(t, n, js)
	if acked == 0 {
		t.Fatal("nothing was stored before the disk was full")
	}
	err := n.Healthy(t.Context())
	if !errors.Is(err, ErrStorage) {
		t.Fatalf("healthy on a full disk: %v", err)
	}
	wantSentence(t, err, dir, "is full", "make room")
	wantSentence(t, n.embedded.writable(), "no space left on device", "stream")
	wantSentence(t, n.Recover(t.Context()), "is full", "make room")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := n.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-n.Recovered()
	if err := n.Healthy(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantMessages(t, js, acked)
}

func TestRunRecoversByItself(t *testing.T) {
	if race.Enabled {
		t.Skip("nats-server 2.15.2 has a race of its own where JetStream is enabled again; make test runs this without the detector")
	}
	var text syncBuffer
	dir := mountTmpfs(t, 0, "24m")
	n := start(t, Options{
		DataDir: dir, Listen: ListenNone, MinFree: 1 << 20, MaxStore: 1 << 30,
		HealthInterval: 5 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&text, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	_, js := dial(t, n)
	makeStream(t, n, js)
	ballast := fillDisk(t, dir, 64<<10)
	acked := publishUntilFull(t, n, js)
	eventually(t, "a line about the full disk", func() bool { return text.contains("is full") })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a line about the recovery", func() bool { return text.contains("can be written again") })
	wantMessages(t, js, acked)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestFullDiskAtTheStart(t *testing.T) {
	dir := mountTmpfs(t, 0, "2m")
	_, err := StartEmbedded(Options{DataDir: dir, Listen: ListenNone})
	if !errors.Is(err, ErrDirectory) {
		t.Fatalf("got %v, want ErrDirectory", err)
	}
	wantSentence(t, err, dir, "is full", "2.0 MiB are free", "16.0 MiB", "make room")

	fillDisk(t, dir, 0)
	_, err = StartEmbedded(Options{DataDir: dir, Listen: ListenNone, MinFree: -1})
	wantSentence(t, err, dir, "cannot write there", "disk is full")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind beside the ballast: %v, %v", left, err)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	dir := mountTmpfs(t, syscall.MS_RDONLY, "24m")
	for _, sub := range []string{dir, filepath.Join(dir, "below")} {
		_, err := StartEmbedded(Options{DataDir: sub, Listen: ListenNone})
		if !errors.Is(err, ErrDirectory) {
			t.Errorf("%s: got %v, want ErrDirectory", sub, err)
		}
		wantSentence(t, err, sub, "is read-only", "make it writable")
	}
	_, err := takeLock(dir, time.Now())
	wantSentence(t, err, LockFile, "is read-only")
}

func TestJetStreamTurnedOff(t *testing.T) {
	n := start(t, Options{DataDir: t.TempDir(), Listen: ListenNone})
	_, js := dial(t, n)
	makeStream(t, n, js)
	if err := n.Recover(t.Context()); err != nil {
		t.Errorf("recover when nothing is wrong: %v", err)
	}
	// What the server does by itself when a write is denied.
	if err := n.embedded.srv.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	wantSentence(t, n.Healthy(t.Context()), "turned JetStream off")
	if err := n.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantMessages(t, js, 0)
}
