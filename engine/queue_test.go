package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// office has the streams of the queue, and engines that may run it over one
// store in memory.
type office struct {
	*bench
	js      jetstream.JetStream
	streams queueStreams
	// names of the streams' consumers and so on are the default ones.
}

func newOffice(t *testing.T) *office {
	t.Helper()
	ns := startServer(t, func(o *server.Options) { o.JetStream, o.StoreDir = true, t.TempDir() })
	js, err := jetstream.New(dialServer(t, ns))
	if err != nil {
		t.Fatal(err)
	}
	o := &office{bench: newBench(t), js: js}
	o.streams, err = ensureQueueStreams(t.Context(), js, contract.Default(), jetstream.MemoryStorage, 1, o.clock())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// engine makes a queue as a new engine has it.
func (o *office) engine() *queue {
	_, c := o.another()
	return newQueue(queueConfig{
		JetStream: o.js, Streams: o.streams, Names: contract.Default(), Logger: slog.New(slog.DiscardHandler),
		Executor: &executor{lanes: newLanes(maxInFlight, maxPerSession, maxRunning), commander: c},
	})
}

// hold runs a queue until the function it returns is called.
func (o *office) hold(q *queue) (release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := q.run(ctx); err != nil {
			o.t.Errorf("the queue ended with %v", err)
		}
	}()
	release = sync.OnceFunc(func() { cancel(); <-done })
	o.t.Cleanup(release)
	return release
}

// post queues a command and returns its sequence.
func (o *office) post(subject, body string, header nats.Header) uint64 {
	o.t.Helper()
	ack, err := o.js.PublishMsg(o.t.Context(), &nats.Msg{Subject: "reprise.queue." + subject, Data: []byte(body), Header: header})
	if err != nil {
		o.t.Fatal(err)
	}
	return ack.Sequence
}

// empty waits until everything in the queue is settled.
func (o *office) empty() {
	o.t.Helper()
	until(o.t, "the queue is empty", func() bool {
		info, err := o.streams.queue.Info(o.t.Context())
		return err == nil && info.State.Msgs == 0
	})
}

// letters returns the dead letters.
func (o *office) letters() []*jetstream.RawStreamMsg {
	o.t.Helper()
	info, err := o.streams.dead.Info(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		m, err := o.streams.dead.GetMsg(o.t.Context(), seq)
		if err != nil {
			o.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func TestQueueAppliesInOrder(t *testing.T) {
	o := newOffice(t)
	const sessions, rounds = 10, 10
	for n := range sessions {
		o.post(fmt.Sprintf("ann.s%d.create", n), openPlan, nil)
		o.post(fmt.Sprintf("ann.s%d.start", n), "", nil)
	}
	for range rounds {
		for n := range sessions {
			o.post(fmt.Sprintf("ann.s%d.pause", n), "", nil)
			o.post(fmt.Sprintf("ann.s%d.resume", n), "", nil)
		}
	}
	o.hold(o.engine())
	o.empty()
	if letters := o.letters(); len(letters) != 0 {
		t.Errorf("%d dead letters; the first: %v", len(letters), letters[0].Header)
	}
	for n := range sessions {
		if s := o.session(fmt.Sprintf("s%d", n)); s.State != domain.StateRunning || s.Commits != 2+2*rounds || s.QueueSeq == 0 {
			t.Errorf("s%d: %s, %d commits, queue sequence %d", n, s.State, s.Commits, s.QueueSeq)
		}
	}
}

func TestQueueBuriesWhatIsRejected(t *testing.T) {
	o := newOffice(t)
	o.hold(o.engine())
	id := nats.Header{contract.HeaderCommandID: {"mine"}, "X-Own": {"1"}, "Nats-Msg-Id": {"m1"}}
	o.post("ann.s1.create", openPlan, nil)
	o.post("ann.s1.resume", `{}`, id)
	o.post("ann.s1.start", ``, nil)
	o.post("ann.s1.pause", ``, nil)
	o.post("ann.s1.pause", ``, nil)
	o.post("ann.s1.explode", `{"a":1}`, nil)
	o.post("nonsense", ``, nil)
	o.post("ann.s1.start", ``, nats.Header{contract.HeaderDryRun: {"true"}})
	o.empty()
	if s := o.session("s1"); s.State != domain.StatePaused {
		t.Errorf("the session is %s", s.State)
	}
	codes := map[string]string{}
	for _, m := range o.letters() {
		codes[m.Subject] += m.Header.Get(contract.HeaderCode) + " "
		if m.Header.Get(contract.HeaderReason) == "" {
			t.Errorf("%s: a dead letter without a reason", m.Subject)
		}
		if m.Subject == "reprise.dead.ann.s1.resume" && (m.Header.Get(contract.HeaderCommandID) != "mine" || m.Header.Get("X-Own") != "1" || string(m.Data) != "{}") {
			t.Errorf("the dead letter lost something: %v %s", m.Header, m.Data)
		}
	}
	want := map[string]string{
		"reprise.dead.ann.s1.resume": "illegal_transition ", "reprise.dead.ann.s1.pause": "already ",
		"reprise.dead.ann.s1.explode": "invalid ", "reprise.dead.nonsense": "invalid ", "reprise.dead.ann.s1.start": "invalid ",
	}
	if fmt.Sprint(codes) != fmt.Sprint(want) {
		t.Errorf("dead letters: %v; want %v", codes, want)
	}
}

func TestQueueWaitsFailuresOut(t *testing.T) {
	o := newOffice(t)
	o.post("ann.s1.create", openPlan, nil)
	o.post("ann.s1.start", ``, nil)
	o.post("ann.s1.pause", ``, nil)
	tries := 0
	o.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
		if tries++; tries%2 == 1 {
			return fmt.Errorf("%w: no space left on device", eventstore.ErrUnavailable)
		}
		return nil
	}})
	o.hold(o.engine())
	o.empty()
	if s := o.session("s1"); s.State != domain.StatePaused || s.Commits != 3 || len(o.letters()) != 0 {
		t.Errorf("%s after %d commits and %d dead letters", s.State, s.Commits, len(o.letters()))
	}
}

// A holder that lost its lease has taken commands and settles them late: after
// the next holder has applied them and what came behind.
func TestTakeoverKeepsTheOrder(t *testing.T) {
	o := newOffice(t)
	o.running("s1", openPlan)
	old := o.engine()
	consumer, err := old.makeConsumer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pauseSeq := o.post("ann.s1.pause", ``, nil)
	o.post("ann.s1.resume", ``, nil)
	taken := map[uint64]jetstream.Msg{}
	batch, err := consumer.Fetch(2)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		taken[meta.Sequence.Stream] = m
	}
	o.hold(o.engine())
	o.post("ann.s1.metadata.set", `{"set":{"k":"v"}}`, nil)
	o.empty()
	before := o.messages()
	for seq, m := range taken { // the old holder awakes
		item := old.read(m, seq)
		if err := old.apply(item); err != nil && !errors.Is(err, errLate) {
			t.Errorf("sequence %d: %v", seq, err)
		}
	}
	fresh := o.engine() // and one that knows nothing, with another id for the command
	late := fresh.read(taken[pauseSeq], pauseSeq)
	late.request.ID = "another"
	if err := fresh.apply(late); !errors.Is(err, errLate) {
		t.Errorf("a late pause: %v", err)
	}
	if s := o.session("s1"); s.State != domain.StateRunning || o.messages() != before || len(o.letters()) != 0 {
		t.Errorf("%s, %d commits more, %d dead letters", s.State, o.messages()-before, len(o.letters()))
	}
}

func TestQueueGoesOnAfterAStop(t *testing.T) {
	o := newOffice(t)
	q := o.engine()
	release := o.hold(q)
	o.post("ann.s1.create", openPlan, nil)
	o.empty()
	release()
	o.post("ann.s1.start", ``, nil)
	o.hold(q)
	o.empty()
	if s := o.session("s1"); s.State != domain.StateRunning {
		t.Errorf("the session is %s", s.State)
	}
}

func TestQueueMakesItsConsumerAnew(t *testing.T) {
	o := newOffice(t)
	o.hold(o.engine())
	o.post("ann.s1.create", openPlan, nil)
	o.empty()
	if err := o.streams.queue.DeleteConsumer(t.Context(), queueConsumer); err != nil {
		t.Fatal(err)
	}
	o.post("ann.s1.start", ``, nil)
	o.empty()
	if s := o.session("s1"); s.State != domain.StateRunning {
		t.Errorf("the session is %s", s.State)
	}
}

func TestQueueStreams(t *testing.T) {
	o := newOffice(t)
	again, err := ensureQueueStreams(t.Context(), o.js, contract.Default(), jetstream.MemoryStorage, 1, o.clock().Add(time.Hour))
	if err != nil || again.incarnation != o.streams.incarnation {
		t.Errorf("opened again: %v, %q and %q", err, again.incarnation, o.streams.incarnation)
	}
	if _, err := ensureQueueStreams(t.Context(), o.js, contract.Default(), jetstream.FileStorage, 1, o.clock()); err == nil {
		t.Error("a stream in memory was taken for one in files")
	}
	if seq := o.post("ann.s1.create", openPlan, nil); seq < uint64(o.clock().UnixMilli()) {
		t.Errorf("the first sequence is %d", seq)
	}
	names, err := contract.NewNames("other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.QueueStream(), Subjects: []string{"other.x"}, Storage: jetstream.MemoryStorage, Retention: jetstream.WorkQueuePolicy}); err != nil {
		t.Fatal(err)
	}
	if _, err := ensureQueueStreams(t.Context(), o.js, names, jetstream.MemoryStorage, 1, o.clock()); err == nil {
		t.Error("a stream with other subjects was taken")
	}
}
