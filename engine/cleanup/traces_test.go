package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
)

// streams starts a server and makes the streams of traces, but for the leases.
func streams(t *testing.T) jetstream.JetStream {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	n := contract.Default()
	for name, subject := range map[string]string{n.WorkStream(): "work", n.QueueStream(): "queue", n.DeadStream(): "dead"} {
		cfg := jetstream.StreamConfig{Name: name, Subjects: []string{"reprise." + subject + ".>"}, Storage: jetstream.MemoryStorage}
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	blocks := jetstream.StreamConfig{Name: "KV_" + n.HistoryBucket(), Subjects: []string{"$KV." + n.HistoryBucket() + ".>"}, Storage: jetstream.MemoryStorage}
	if _, err := js.CreateStream(t.Context(), blocks); err != nil {
		t.Fatal(err)
	}
	return js
}

func publish(t *testing.T, js jetstream.JetStream, subjects ...string) {
	t.Helper()
	for _, s := range subjects {
		if _, err := js.Publish(t.Context(), s, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

// ofAll asks for the traces of all sessions.
func ofAll(eventstore.Key) bool { return true }

// graveyard keeps the subjects of what is buried, unless it fails.
type graveyard struct {
	buried []string
	err    error
}

func (g *graveyard) bury(_ context.Context, m *jetstream.RawStreamMsg, why error) error {
	if g.err == nil {
		g.buried = append(g.buried, fmt.Sprint(m.Subject, " ", why))
	}
	return g.err
}

// all lists what there is as "reason user/session".
func all(t *testing.T, traces Traces) []string {
	t.Helper()
	var found []string
	err := traces.Find(t.Context(), ofAll, func(tr Trace) error {
		found = append(found, fmt.Sprintf("%s %s/%s", tr.Reason, tr.Key.User, tr.Key.Session))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func TestTracesAreFoundAndRemoved(t *testing.T) {
	js := streams(t)
	letters := &graveyard{}
	traces := NewTraces(js, contract.Default(), letters.bury)
	if got := all(t, traces); len(got) != 0 {
		t.Errorf("at first there is %v", got)
	}
	publish(t, js, "reprise.work.build.ada.s1.c.1", "reprise.work.build.=w6Q.s1.c.1", "reprise.work.what.is.this", "reprise.queue.ada.s2.step.retry", "reprise.queue.ada.s2.step.retry",
		"reprise.dead.ada.s3.start", "reprise.dead.ada.s3.start", "reprise.dead.not",
		"$KV.reprise_history.ada.s4.0", "$KV.reprise_history.ada.s4.1", "$KV.reprise_history.what")
	want := "dead-letter ada/s3, dead-letter ada/s3, history-block ada/s4, history-block ada/s4, queued-command ada/s2, queued-command ada/s2, task ada/s1, task ä/s1"
	if got := strings.Join(all(t, traces), ", "); got != want {
		t.Errorf("found %s", got)
	}
	key := func(session string) eventstore.Key { return eventstore.Key{User: "ada", Session: session} }
	for _, wrong := range []Trace{
		{Reason: contract.ReasonTask, Key: key("s1"), Subject: "reprise.work.>"},
		{Reason: contract.ReasonTask, Key: key("s2"), Subject: "reprise.work.build.ada.s1.c.1"},
		{Reason: contract.ReasonTask, Key: key("s1"), Subject: "reprise.work.*.ada.s1.c.1"},
		{Reason: contract.ReasonDeadLetter, Key: key("s3"), Subject: "reprise.dead.ada.s3.pause", Seq: 1},
		{Reason: contract.ReasonQueued, Key: key("s2"), Subject: "reprise.queue.ada.s2.start", Seq: 1},
		{Reason: contract.ReasonBlock, Key: key("s1"), Subject: "$KV.reprise_history.ada.s4.0"},
		{Reason: "whim", Key: key("s1"), Subject: "reprise.work.build.ada.s1.c.1"},
	} {
		if err := traces.Remove(t.Context(), wrong, errGone); err == nil {
			t.Errorf("%+v was removed", wrong)
		}
	}
	for _, right := range []Trace{
		{Reason: contract.ReasonTask, Key: key("s1"), Subject: "reprise.work.build.ada.s1.c.1"},
		{Reason: contract.ReasonDeadLetter, Key: key("s3"), Subject: "reprise.dead.ada.s3.start", Seq: 1},
		{Reason: contract.ReasonDeadLetter, Key: key("s3"), Subject: "reprise.dead.ada.s3.start", Seq: 99},
		{Reason: contract.ReasonLease, Key: key("s1"), Subject: "reprise.lease.ada.s1.c.1.1"},
		{Reason: contract.ReasonBlock, Key: key("s4"), Subject: "$KV.reprise_history.ada.s4.0"},
	} {
		if err := traces.Remove(t.Context(), right, errGone); err != nil {
			t.Errorf("%+v: %v", right, err)
		}
	}
	want = "dead-letter ada/s3, history-block ada/s4, queued-command ada/s2, queued-command ada/s2, task ä/s1"
	if got := strings.Join(all(t, traces), ", "); got != want {
		t.Errorf("left is %s", got)
	}
}

func TestTracesEndWithTheirCaller(t *testing.T) {
	js := streams(t)
	publish(t, js, "reprise.dead.ada.s3.start", "reprise.work.build.ada.s1.c.1")
	traces := NewTraces(js, contract.Default(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := traces.Find(ctx, ofAll, func(Trace) error { return nil }); err == nil {
		t.Error("a search without patience found its end")
	}
	calls := 0
	if err := traces.Find(t.Context(), ofAll, func(Trace) error { calls++; return errCrash }); err == nil || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

func TestNoTraces(t *testing.T) {
	w := newWorld(t)
	w.config.Traces, w.config.Clock, w.config.Audit = nil, nil, nil
	if _, _, err := w.cleaner().Scan(t.Context(), contract.CleanupRequest{}, "olga", Watch{}); err != nil {
		t.Error(err)
	}
	if err := (noTraces{}).Remove(t.Context(), Trace{}, errGone); err != nil {
		t.Error(err)
	}
}

// errGone is why traces are removed.
var errGone = errors.New("the session is gone")

// TestQueuedCommandsAreExplained: they leave the queue as dead letters, or not
// at all.
func TestQueuedCommandsAreExplained(t *testing.T) {
	js := streams(t)
	publish(t, js, "reprise.queue.ada.s1.start", "reprise.queue.ada.s2.start", "reprise.queue.ada.s1.start")
	letters := &graveyard{err: errors.New("the disk is full")}
	traces := NewTraces(js, contract.Default(), letters.bury)
	var found []Trace
	ofOne := func(key eventstore.Key) bool { return key.Session == "s1" }
	if err := traces.Find(t.Context(), ofOne, func(tr Trace) error { found = append(found, tr); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Seq != 1 || found[1].Seq != 3 || found[0].Time.IsZero() {
		t.Fatalf("found %+v", found)
	}
	if err := traces.Remove(t.Context(), found[0], errGone); !errors.Is(err, letters.err) || len(all(t, traces)) != 3 {
		t.Errorf("without a dead letter: %v, left %v", err, all(t, traces))
	}
	letters.err = nil
	for range 2 { // the second time there is nothing to do
		for _, tr := range found {
			if err := traces.Remove(t.Context(), tr, errGone); err != nil {
				t.Error(err)
			}
		}
	}
	want := "reprise.queue.ada.s1.start the session is gone; reprise.queue.ada.s1.start the session is gone"
	if got := strings.Join(letters.buried, "; "); got != want {
		t.Errorf("buried %s", got)
	}
	if left := all(t, traces); len(left) != 1 || left[0] != "queued-command ada/s2" {
		t.Errorf("left is %v", left)
	}
}
