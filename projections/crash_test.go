package projections

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// crashDir tells the test binary to write views there until it is killed.
const crashDir = "REPRISE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stdout, crashChild(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashChild puts and purges views and a checkpoint, round after round.
func crashChild(dir string) error {
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		return os.ErrDeadlineExceeded
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return err
	}
	ctx := context.Background()
	store, err := OpenKV(ctx, nc, nc, bucketConfig)
	if err != nil {
		return err
	}
	w, err := store.Open(ctx)
	for round := 1; err == nil; round++ {
		if err = w.Write(ctx, crashRound(round)); err == nil {
			err = w.SetCheckpoint(ctx, Checkpoint{Seq: uint64(round)})
		}
		fmt.Fprintln(os.Stdout, "round", round)
	}
	return err
}

// crashRound rewrites some views, adds one and purges that of the round before.
func crashRound(round int) []View {
	views := []View{put(fmt.Sprintf("ada.p%d", round), round), {Key: fmt.Sprintf("ada.p%d", round-1)}}
	for i := range 40 {
		views = append(views, put(fmt.Sprintf("ada.s%d", i), round))
	}
	return views
}

// Async persistence may lose the tail of the bucket when the process is killed.
// Whatever checkpoint is there then, all that was written before it is there
// too, and what was purged before it has not come back.
func TestKVCheckpointCoversWhatIsThereAfterAKill(t *testing.T) {
	for run, rounds := range []int{3, 60, 200} {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < rounds && lines.Scan(); n++ {
			if lines.Text() != fmt.Sprint("round ", n+1) {
				t.Error(lines.Text())
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		afterKill(t, run, openBucket(t, serve(t, dir), bucketConfig))
	}
}

func afterKill(t *testing.T, run int, store *KVViews) {
	t.Helper()
	c, err := store.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("run %d: the checkpoint is of round %d", run, c.Seq)
	all := dump(t, store)
	for i := range 40 {
		var n uint64
		_, _ = fmt.Sscanf(string(all[fmt.Sprintf("ada.s%d", i)].Body), `{"n":%d}`, &n)
		if n < c.Seq {
			t.Errorf("run %d: view %d is of round %d, before the checkpoint's %d", run, i, n, c.Seq)
		}
	}
	for round := uint64(1); round < c.Seq; round++ {
		if v, ok := all[fmt.Sprintf("ada.p%d", round)]; ok {
			t.Errorf("run %d: %s was purged and came back beside a checkpoint of round %d", run, v.Key, c.Seq)
		}
	}
}
