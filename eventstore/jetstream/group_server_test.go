package jetstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
	"reprise/eventstore/jetstream"
)

// groupWriters is how many write side by side.
const groupWriters = 64

// crowd runs fn for every writer at the same time.
func crowd(fn func(writer int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range groupWriters {
		wg.Go(func() { <-start; fn(i) })
	}
	close(start)
	wg.Wait()
}

// TestGuardsHoldInGroups has two writers for each session, which count up from
// what they read, so that many a group holds a guard that fails.
func TestGuardsHoldInGroups(t *testing.T) {
	const rounds = 12
	n := onServer(t, embedded(t, syncAlways), false, grouped)
	var stored, refused atomic.Int64
	crowd(func(writer int) {
		k := newKey(writer / 2)
		for round := range rounds {
			var last uint64
			if m, err := n.driver.Last(t.Context(), k); err == nil {
				last = m.Seq
			}
			_, err := n.driver.Append(t.Context(), []eventstore.Record{record(k, eventstore.ExpectLast(last), fmt.Sprint(writer, " ", round))})
			switch {
			case err == nil:
				stored.Add(1)
			case errors.Is(err, eventstore.ErrConflict):
				refused.Add(1)
			default:
				t.Error(err)
			}
		}
	})
	at, batched := map[eventstore.Key]uint64{}, 0
	seen := scanned(t, n.driver, func(m eventstore.Message) {
		if !m.Guarded || m.Prev != at[m.Key] {
			t.Errorf("sequence %d of %s follows %d, not %d", m.Seq, m.Key, m.Prev, at[m.Key])
		}
		at[m.Key] = m.Seq
		if inBatch(t, n.api, m.Seq) {
			batched++
		}
	})
	if int64(seen) != stored.Load() || stored.Load()+refused.Load() != groupWriters*rounds {
		t.Errorf("%d were stored and %d refused; the stream holds %d", stored.Load(), refused.Load(), seen)
	}
	if refused.Load() == 0 || batched == 0 {
		t.Errorf("nothing was seen: %d conflicts, %d messages of batches", refused.Load(), batched)
	}
}

// inBatch looks at what the server stores.
func inBatch(t *testing.T, api js.JetStream, seq uint64) bool {
	t.Helper()
	stream, err := api.Stream(t.Context(), "REPRISE_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get("Nats-Batch-Id") != ""
}

func scanned(t *testing.T, d *jetstream.Driver, fn func(eventstore.Message)) (n int) {
	t.Helper()
	err := d.Scan(t.Context(), eventstore.Filter{}, func(m eventstore.Message) error { n++; fn(m); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAStaleWriterFailsAloneInItsGroup(t *testing.T) {
	n := onServer(t, embedded(t, syncAlways), false, grouped)
	last := make([]uint64, groupWriters)
	for round := range 6 {
		stale := round * 7
		crowd(func(writer int) {
			guard := last[writer]
			if writer == stale {
				guard = 1 << 40
			}
			seqs, err := n.driver.Append(t.Context(), []eventstore.Record{record(newKey(writer), eventstore.ExpectLast(guard), "x")})
			switch {
			case writer == stale && !errors.Is(err, eventstore.ErrConflict):
				t.Errorf("round %d: the stale writer has %v", round, err)
			case writer != stale && err != nil:
				t.Errorf("round %d: writer %d: %v", round, writer, err)
			case err == nil:
				last[writer] = seqs[0]
			}
		})
	}
	for writer, seq := range last {
		m, err := n.driver.Last(t.Context(), newKey(writer))
		if err != nil || m.Seq != seq {
			t.Errorf("writer %d was told %d, and the last is %d, %v", writer, seq, m.Seq, err)
		}
	}
}

// TestPairsAmongGroups has appends over two sessions between single ones.
func TestPairsAmongGroups(t *testing.T) {
	n := onServer(t, embedded(t, syncAlways), false, grouped)
	crowd(func(writer int) {
		list := []eventstore.Record{record(newKey(writer), eventstore.ExpectNew(), "a")}
		if writer%8 == 0 {
			list = append(list, record(newKey(writer+1000), eventstore.ExpectNew(), "b"))
		}
		seqs, err := n.driver.Append(t.Context(), list)
		if err != nil || len(seqs) != len(list) || len(seqs) == 2 && seqs[1] != seqs[0]+1 {
			t.Errorf("writer %d: %v, %v", writer, seqs, err)
		}
	})
	if got := scanned(t, n.driver, func(eventstore.Message) {}); got != groupWriters+groupWriters/8 {
		t.Errorf("the stream holds %d messages", got)
	}
}

// TestAGroupWithoutAnswerIsStoredOnce has a driver that gets no answers.
func TestAGroupWithoutAnswerIsStoredOnce(t *testing.T) {
	srv := embedded(t, syncAlways)
	n := onServer(t, srv, false)
	deaf, err := jetstream.Open(t.Context(), jetstream.Config{
		Write: dial(t, srv, jetstream.WriteOptions()...), Read: n.read, Names: contract.Default(), GroupCommit: true, Timeout: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := deaf.Close(); err != nil {
		t.Fatal(err)
	}
	crowd(func(writer int) {
		_, err := deaf.Append(t.Context(), []eventstore.Record{record(newKey(writer), eventstore.ExpectNew(), "a")})
		if !errors.Is(err, eventstore.ErrUnknownOutcome) {
			t.Errorf("writer %d: %v", writer, err)
		}
	})
	if got := scanned(t, n.driver, func(eventstore.Message) {}); got != groupWriters {
		t.Errorf("the stream holds %d messages", got)
	}
}

// TestGroupsAreForOneReplicaOnFile asks for group commit where it does nothing.
func TestGroupsAreForOneReplicaOnFile(t *testing.T) {
	n := onServer(t, embedded(t), true, grouped)
	crowd(func(writer int) {
		if _, err := n.driver.Append(t.Context(), []eventstore.Record{record(newKey(writer), eventstore.ExpectNew(), "a")}); err != nil {
			t.Error(err)
		}
	})
	scanned(t, n.driver, func(m eventstore.Message) {
		if inBatch(t, n.api, m.Seq) {
			t.Errorf("sequence %d is of a batch in memory storage", m.Seq)
		}
	})
}

// groupCrashDir tells the test binary to append there until it is killed.
const groupCrashDir = "REPRISE_TEST_GROUP_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(groupCrashDir); dir != "" {
		fmt.Fprintln(os.Stdout, appendUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// appendUntilKilled counts up in a session for each writer, and says what was
// acknowledged.
func appendUntilKilled(dir string) error {
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true, SyncAlways: true})
	if err != nil {
		return err
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		return os.ErrDeadlineExceeded
	}
	read, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return err
	}
	write, err := nats.Connect("", append(jetstream.WriteOptions(), nats.InProcessServer(srv))...)
	if err != nil {
		return err
	}
	api, err := js.New(read)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := jetstream.EnsureStream(ctx, api, jetstream.StreamConfig{Names: contract.Default()}); err != nil {
		return err
	}
	d, err := jetstream.Open(ctx, jetstream.Config{Write: write, Read: read, Names: contract.Default(), GroupCommit: true})
	if err != nil {
		return err
	}
	crowd(func(writer int) {
		last := uint64(0)
		for round := 1; ; round++ {
			seqs, err := d.Append(ctx, []eventstore.Record{record(newKey(writer), eventstore.ExpectLast(last), fmt.Sprint(round))})
			if err != nil {
				fmt.Fprintln(os.Stdout, "failed:", err)
				return
			}
			last = seqs[0]
			fmt.Fprintln(os.Stdout, writer, last, round)
		}
	})
	return errors.New("all writers have ended")
}

// TestWhatWasAcknowledgedInAGroupSurvivesAKill kills a process with SIGKILL
// while it writes groups.
func TestWhatWasAcknowledgedInAGroupSurvivesAKill(t *testing.T) {
	for _, acknowledged := range []int{1, 300, 900} {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), groupCrashDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		told := readUntilKilled(t, child, bufio.NewScanner(out), acknowledged)
		srv := startServer(t, dir, syncAlways)
		n := onServer(t, srv, false, grouped)
		for writer, want := range told {
			m, err := n.driver.Get(t.Context(), want.seq)
			if err != nil || m.Key != newKey(writer) || string(m.Body) != fmt.Sprint(want.round) {
				t.Errorf("writer %d was told %+v; there is %+v, %v", writer, want, m, err)
			}
		}
		at := map[eventstore.Key]uint64{}
		scanned(t, n.driver, func(m eventstore.Message) {
			if m.Prev != at[m.Key] {
				t.Errorf("sequence %d of %s follows %d, not %d", m.Seq, m.Key, m.Prev, at[m.Key])
			}
			at[m.Key] = m.Seq
		})
		stopServer(srv)
	}
}

// told is what a writer was told last.
type told struct{ seq, round uint64 }

// readUntilKilled reads a number of acknowledgements, kills the child, and reads
// what it had said until then.
func readUntilKilled(t *testing.T, child *exec.Cmd, lines *bufio.Scanner, acknowledged int) map[int]told {
	t.Helper()
	all := map[int]told{}
	for n := 1; lines.Scan(); n++ {
		var writer int
		var is told
		if _, err := fmt.Sscan(lines.Text(), &writer, &is.seq, &is.round); err != nil {
			t.Errorf("the child says %q", lines.Text())
			continue
		}
		all[writer] = is
		if n == acknowledged {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	if len(all) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	return all
}
