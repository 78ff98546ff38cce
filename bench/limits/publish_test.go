package limits

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// commitBytes is the size of a message, that of a small commit.
	commitBytes = 300
	// window is how many publishes are in flight; the subjects are many more, so
	// that none has two.
	window = 4096
	// syncEvery is the store's sync interval, the engine's default.
	syncEvery = 100 * time.Millisecond
	// patience bounds every wait.
	patience = time.Minute
)

// BenchmarkPublish is the physical limit of the event store: async publishes of
// 300 bytes to a stream on file storage, each to another of many subjects.
func BenchmarkPublish(b *testing.B) {
	for _, guarded := range []bool{false, true} {
		for _, subjects := range []int{100_000} {
			b.Run(fmt.Sprintf("guarded=%t/subjects=%d", guarded, subjects), func(b *testing.B) {
				p := newPublisher(b, subjects, guarded)
				p.publish(b, subjects)
				b.ReportAllocs()
				b.ResetTimer()
				p.publish(b, b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

// publisher publishes to all of its subjects in an order of chance, again and
// again.
type publisher struct {
	js      jetstream.JetStream
	guarded bool
	body    []byte
	order   []int
	next    int
	// last is the sequence of the last message of each subject.
	last []atomic.Uint64
}

func newPublisher(b *testing.B, subjects int, guarded bool) *publisher {
	b.Helper()
	js := startJetStream(b)
	_, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "LIMIT", Subjects: []string{"limit.>"}})
	if err != nil {
		b.Fatal(err)
	}
	return &publisher{
		js: js, guarded: guarded, body: make([]byte, commitBytes),
		order: rand.New(rand.NewPCG(1, 2)).Perm(subjects), last: make([]atomic.Uint64, subjects),
	}
}

// sent is a publish that waits for its answer.
type sent struct {
	subject int
	ack     jetstream.PubAckFuture
}

// publish publishes n messages and waits until all are stored.
func (p *publisher) publish(b *testing.B, n int) {
	b.Helper()
	waiting, done := make(chan sent, window), make(chan error, 1)
	go func() { done <- p.collect(waiting) }()
	for range n {
		subject := p.order[p.next]
		p.next = (p.next + 1) % len(p.order)
		m := &nats.Msg{Subject: "limit." + strconv.Itoa(subject), Data: p.body}
		if p.guarded {
			m.Header = nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(p.last[subject].Load(), 10)}}
		}
		ack, err := p.js.PublishMsgAsync(m)
		if err != nil {
			b.Fatal(err)
		}
		waiting <- sent{subject: subject, ack: ack}
	}
	close(waiting)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// collect takes the answers, which come in the order of the publishes, and
// returns the first error.
func (p *publisher) collect(waiting <-chan sent) (first error) {
	for s := range waiting {
		select {
		case stored := <-s.ack.Ok():
			p.last[s.subject].Store(stored.Sequence)
		case err := <-s.ack.Err():
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// startJetStream starts a server on file storage and connects to it in process.
func startJetStream(b *testing.B) jetstream.JetStream {
	b.Helper()
	srv, err := server.NewServer(&server.Options{
		DontListen: true, NoSigs: true, JetStream: true, StoreDir: b.TempDir(), SyncInterval: syncEvery, DisableJetStreamBanner: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	b.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		b.Fatal("the server is not ready in time")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*window))
	if err != nil {
		b.Fatal(err)
	}
	return js
}
