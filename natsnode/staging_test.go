package natsnode

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stagingNode starts a server that syncs every write, with a stream T that takes
// batches, or skips the test where there is no file system in memory.
func stagingNode(t *testing.T, dir string) (*Node, *nats.Conn) {
	t.Helper()
	probe, err := memoryDir()
	if err != nil {
		t.Skip(err)
	}
	_ = os.Remove(probe) // it is empty
	n := start(t, Options{DataDir: dir, Listen: ListenNone, SyncAlways: true})
	nc, js := dial(t, n)
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: "T", Subjects: []string{"t"}, Storage: n.Storage(), AllowAtomicPublish: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, nc
}

// publishBatch stores a batch of two messages, and looks between them at what is
// staged in a directory.
func publishBatch(t *testing.T, nc *nats.Conn, staged string) {
	t.Helper()
	for i := 1; i <= 2; i++ {
		m := &nats.Msg{Subject: "t", Header: nats.Header{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {strconv.Itoa(i)}}}
		if i == 2 {
			m.Header.Set("Nats-Batch-Commit", "1")
		}
		answer, err := nc.RequestMsg(m, testPatience)
		if err != nil || answer.Header.Get("Status") != "" {
			t.Fatalf("message %d of a batch: %v %v", i, answer, err)
		}
		if found, _ := os.ReadDir(staged); len(found) != 2-i {
			t.Errorf("after message %d %d batches are staged in %s", i, len(found), staged)
		}
	}
}

func batchesLink(dir string) string {
	return filepath.Join(dir, "jetstream", localAccount, "streams", "T", "batches")
}

func TestBatchesAreStagedInMemory(t *testing.T) {
	dir := t.TempDir()
	n, nc := stagingNode(t, dir)
	if n.StageInMemory("other") {
		t.Error("a stream that is not there is staged")
	}
	if !n.StageInMemory("T") {
		t.Fatal("the stream is not staged in memory")
	}
	target, err := os.Readlink(batchesLink(dir))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", target, info, err)
	}
	publishBatch(t, nc, target)
	nc.Close()
	closeNode(t, n)
	if _, err := os.Lstat(batchesLink(dir)); !os.IsNotExist(err) {
		t.Errorf("the link is still there: %v", err)
	}
	if _, err := os.Stat(target); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

// TestStagingAfterACrash finds a link that leads nowhere, as after a restart of
// the machine, and one to what a killed process had staged.
func TestStagingAfterACrash(t *testing.T) {
	left := filepath.Join(t.TempDir(), stagingPrefix+"left")
	if err := os.MkdirAll(filepath.Join(left, "batch"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{filepath.Join(t.TempDir(), stagingPrefix+"gone"), left} {
		dir := t.TempDir()
		n, nc := stagingNode(t, dir)
		if err := os.Symlink(old, batchesLink(dir)); err != nil {
			t.Fatal(err)
		}
		if !n.StageInMemory("T") {
			t.Fatal("the stream is not staged in memory")
		}
		if _, err := os.Stat(old); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", old, err)
		}
		target, err := os.Readlink(batchesLink(dir))
		if err != nil || target == old {
			t.Fatalf("the link leads to %q, %v", target, err)
		}
		publishBatch(t, nc, target)
	}
}

// TestALinkOfSomebodyElseStays: whoever put the batches elsewhere had a reason.
func TestALinkOfSomebodyElseStays(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	n, nc := stagingNode(t, dir)
	if err := os.Symlink(elsewhere, batchesLink(dir)); err != nil {
		t.Fatal(err)
	}
	if n.StageInMemory("T") {
		t.Error("it is staged in memory though a link leads elsewhere")
	}
	publishBatch(t, nc, elsewhere)
}

// TestStagedBatchesStay: what the server staged on disk is not touched.
func TestStagedBatchesStay(t *testing.T) {
	dir := t.TempDir()
	n, nc := stagingNode(t, dir)
	open := &nats.Msg{Subject: "t", Header: nats.Header{"Nats-Batch-Id": {"a"}, "Nats-Batch-Sequence": {"1"}}}
	if _, err := nc.RequestMsg(open, testPatience); err != nil {
		t.Fatal(err)
	}
	if n.StageInMemory("T") {
		t.Error("it is staged in memory though a batch is open on disk")
	}
	if found, err := os.ReadDir(batchesLink(dir)); err != nil || len(found) != 1 {
		t.Errorf("batches on disk: %v, %v", found, err)
	}
}

func TestOnlySyncedStreamsAreStagedInMemory(t *testing.T) {
	n := start(t, Options{DataDir: t.TempDir(), Listen: ListenNone})
	_, js := dial(t, n)
	makeStream(t, n, js)
	if n.StageInMemory("T") {
		t.Error("a server that does not sync every write stages in memory")
	}
}
