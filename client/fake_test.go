package client_test

import (
	"encoding/json"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

// connect starts a NATS server without a listener for one test.
func connect(t testing.TB) *nats.Conn {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the test server did not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); srv.Shutdown(); srv.WaitForShutdown() })
	return nc
}

// fake answers requests as a test scripts them and remembers what came.
type fake struct {
	nc       *nats.Conn
	mu       sync.Mutex
	requests []*nats.Msg
	// answers are used up from the front; the last one stays.
	answers []func(*nats.Msg)
}

// serve answers everything under the prefix's command, query, queue and
// operator subjects.
func serve(t testing.TB, nc *nats.Conn, answers ...func(*nats.Msg)) *fake {
	t.Helper()
	f := &fake{nc: nc, answers: answers}
	for _, subject := range []string{"reprise.cmd.>", "reprise.qry.>", "reprise.queue.>", "reprise.adm.>"} {
		if _, err := nc.Subscribe(subject, f.handle); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fake) handle(msg *nats.Msg) {
	f.mu.Lock()
	f.requests = append(f.requests, msg)
	answer := f.answers[0]
	if len(f.answers) > 1 {
		f.answers = f.answers[1:]
	}
	f.mu.Unlock()
	answer(msg)
}

// seen returns the requests that came so far.
func (f *fake) seen() []*nats.Msg {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*nats.Msg(nil), f.requests...)
}

func silence(*nats.Msg) {}

// ok answers with a JSON value.
func ok(value any) func(*nats.Msg) {
	return func(msg *nats.Msg) {
		raw, err := domain.Marshal(value)
		if err != nil {
			panic(err)
		}
		_ = msg.Respond(raw)
	}
}

// reject answers with a rejection as the micro specification writes it.
func reject(e contract.Error) func(*nats.Msg) {
	return func(msg *nats.Msg) {
		raw, err := domain.Marshal(e)
		if err != nil {
			panic(err)
		}
		_ = msg.RespondMsg(&nats.Msg{Data: raw, Header: nats.Header{
			contract.HeaderError:     {e.Message},
			contract.HeaderErrorCode: {strconv.Itoa(contract.Status(e.Code))},
		}})
	}
}

// patient is a client that waits for answers for longer than any machine needs, and
// for nothing else.
func patient(t testing.TB, nc *nats.Conn) *client.Client {
	t.Helper()
	return waiting(t, nc, time.Minute)
}

// waiting is a client that waits for each answer as long as a test wants, which is
// for those that don't come.
func waiting(t testing.TB, nc *nats.Conn, timeout time.Duration) *client.Client {
	t.Helper()
	c, err := client.New(nc, client.Config{
		User: "ada", Operator: "root", Timeout: timeout, Backoff: time.Millisecond, WatchIdle: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func decode[T any](t testing.TB, raw []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}
