package jetstream_test

import (
	"context"
	"fmt"
	"net"
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

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// startServer runs an embedded server without a listener.
func startServer(t testing.TB, dir string, change ...func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true}
	for _, f := range change {
		f(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the embedded server does not start")
	}
	return srv
}

func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// syncAlways makes a server sync every write before it acknowledges it.
func syncAlways(o *server.Options) { o.SyncAlways = true }

// grouped makes a driver gather appends.
func grouped(c *jetstream.Config) { c.GroupCommit = true }

// embedded starts a server for one test.
func embedded(t testing.TB, change ...func(*server.Options)) *server.Server {
	srv := startServer(t, t.TempDir(), change...)
	t.Cleanup(func() { stopServer(srv) })
	return srv
}

// dial connects within the process.
func dial(t testing.TB, srv *server.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", append(opts, nats.InProcessServer(srv), nats.Timeout(patience))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// node is a driver with its connections.
type node struct {
	write, read *nats.Conn
	api         js.JetStream
	driver      *jetstream.Driver
}

// connect makes the stream and opens a driver for it.
func connect(t testing.TB, write, read *nats.Conn, cfg jetstream.StreamConfig, change ...func(*jetstream.Config)) node {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	api, err := js.New(read, js.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := jetstream.EnsureStream(ctx, api, cfg); err != nil {
		t.Fatal(err)
	}
	config := jetstream.Config{Write: write, Read: read, Names: cfg.Names, Timeout: patience / 3}
	for _, f := range change {
		f(&config)
	}
	d, err := jetstream.Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // the connection may be closed already
	return node{write: write, read: read, api: api, driver: d}
}

func onServer(t testing.TB, srv *server.Server, memory bool, change ...func(*jetstream.Config)) node {
	t.Helper()
	return connect(t, dial(t, srv, jetstream.WriteOptions()...), dial(t, srv), jetstream.StreamConfig{Names: contract.Default(), Memory: memory}, change...)
}

func record(key eventstore.Key, guard eventstore.Guard, body string) eventstore.Record {
	return eventstore.Record{Key: key, Guard: guard, Header: map[string]string{"ce-id": body}, Body: []byte(body)}
}

func newKey(n int) eventstore.Key { return eventstore.Key{User: "ada", Session: fmt.Sprint("s", n)} }

// inProcess connects to whatever server a variable holds, for connections that
// survive a restart.
type inProcess struct {
	srv *atomic.Pointer[server.Server]
}

// InProcessConn is what nats.InProcessServer asks for.
func (p inProcess) InProcessConn() (net.Conn, error) { return p.srv.Load().InProcessConn() }

func dialNext(t testing.TB, srv *atomic.Pointer[server.Server], opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", append(opts, nats.InProcessServer(inProcess{srv}), nats.Timeout(patience))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
