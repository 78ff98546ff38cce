package jetstream

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/eventstore"
)

// TestReadsAskAgain: on a cluster, whoever was asked may be gone before the answer;
// the next one answers, long before the command that reads is over its time.
func TestReadsAskAgain(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	d := &Driver{names: contract.Default(), api: "api.", stream: "E", read: nc, singles: []*nats.Conn{nc}, replicas: 3}
	answer := &nats.Msg{Header: nats.Header{"Nats-Sequence": {"7"}, "Nats-Subject": {d.names.Event("ada", "s1")}}, Data: []byte("{}")}
	direct := secondTime(t, nc, "api.DIRECT.GET.E", answer)
	leader := secondTime(t, nc, "api.STREAM.MSG.GET.E", &nats.Msg{
		Data: []byte(`{"message":{"subject":"` + d.names.Event("ada", "s1") + `","seq":7,"data":"e30="}}`),
	})
	for name, read := range map[string]func() (eventstore.Message, error){
		"a sequence": func() (eventstore.Message, error) { return d.Get(t.Context(), 7) },
		"the last": func() (eventstore.Message, error) {
			return d.Last(t.Context(), eventstore.Key{User: "ada", Session: "s1"})
		},
	} {
		began := time.Now()
		if m, err := read(); err != nil || m.Seq != 7 {
			t.Errorf("%s: %+v, %v after %s", name, m, err, time.Since(began))
		}
	}
	if direct.Load() != 2 || leader.Load() != 2 {
		t.Errorf("asked %d and %d times", direct.Load(), leader.Load())
	}
}

// secondTime leaves the first request on a subject unanswered. It returns how many
// came.
func secondTime(t *testing.T, nc *nats.Conn, subject string, answer *nats.Msg) *atomic.Int32 {
	t.Helper()
	var came atomic.Int32
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		if came.Add(1) == 1 {
			return
		}
		if err := m.RespondMsg(answer); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &came
}
