package natsnode

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// holdEnv makes this test binary hold the lock of a directory until its
// standard input ends.
const holdEnv = "NATSNODE_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		hold(dir)
		return
	}
	os.Exit(m.Run())
}

func hold(dir string) {
	lock, err := takeLock(dir, time.Now())
	if err == nil {
		err = lock.serve("nats://127.0.0.1:4999")
	}
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		return
	}
	os.Stdout.WriteString("held\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// otherProcess starts a process that holds the lock of dir.
func otherProcess(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), holdEnv+"="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 200)
	n, err := out.Read(answer)
	if err != nil || string(answer[:n]) != "held\n" {
		t.Fatalf("the other process says %q, %v", answer[:n], err)
	}
	return cmd
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	other := otherProcess(t, dir)
	_, err := StartEmbedded(Options{DataDir: dir, Listen: ListenNone})
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	pid := strconv.Itoa(other.Process.Pid)
	wantSentence(t, err, dir, "process "+pid, "nats://127.0.0.1:4999", "stop that process", "another directory")
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.Holder.PID != other.Process.Pid {
		t.Errorf("detail %+v, want process %s", inUse, pid)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the refused process left %v behind", entries)
	}
}

func TestLockOfAKilledProcessIsFree(t *testing.T) {
	dir := t.TempDir()
	other := otherProcess(t, dir)
	info, running, err := ReadLock(dir)
	if err != nil || !running || info.PID != other.Process.Pid || time.Since(info.Started) > time.Minute {
		t.Fatalf("while it runs: %+v, %v, %v", info, running, err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // it was killed
	if info, running, err := ReadLock(dir); running || err != nil || info != (Info{}) {
		t.Errorf("after its end: %+v, %v, %v", info, running, err)
	}
	start(t, Options{DataDir: dir, Listen: ListenNone})
}

func TestReadLockFollowsTheNode(t *testing.T) {
	dir := t.TempDir()
	if _, running, err := ReadLock(filepath.Join(dir, "missing")); running || err != nil {
		t.Errorf("a missing directory: %v, %v", running, err)
	}
	n, err := StartEmbedded(Options{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	info, running, err := ReadLock(dir)
	if err != nil || !running || info.PID != os.Getpid() || info.URL == "" || info.URL != n.URL() {
		t.Errorf("while it runs at %s: %+v, %v, %v", n.URL(), info, running, err)
	}
	closeNode(t, n)
	if info, running, err := ReadLock(dir); running || err != nil || info != (Info{}) {
		t.Errorf("after Close: %+v, %v, %v", info, running, err)
	}
	if body, err := os.ReadFile(filepath.Join(dir, LockFile)); err != nil || len(body) != 0 {
		t.Errorf("after Close the file says %q, %v", body, err)
	}
}

func TestLockWithoutFacts(t *testing.T) {
	dir := t.TempDir()
	lock, err := takeLock(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.release() }()
	writeFile(t, filepath.Join(dir, LockFile), "not JSON")
	_, err = takeLock(dir, time.Now())
	wantSentence(t, err, "in use by another process", "stop it")
}

func TestReadLockThatCannotBeRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	_, running, err := ReadLock(file)
	if running || !errors.Is(err, ErrDirectory) {
		t.Errorf("got %v, %v; want ErrDirectory", running, err)
	}
}
