package jetstream_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
	"reprise/eventstore/jetstream"
	"reprise/eventstore/storetest"
)

// envURL names an external server that the suite also runs on.
const envURL = "REPRISE_TEST_NATS_URL"

// foreignOn publishes as somebody does who is no engine.
func foreignOn(api js.JetStream, names contract.Names) func(context.Context, eventstore.Key, []byte) error {
	return func(ctx context.Context, key eventstore.Key, body []byte) error {
		_, err := api.Publish(ctx, names.Event(key.User, key.Session), body)
		return err
	}
}

func TestMemoryStorage(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		n := onServer(t, embedded(t), true)
		return storetest.Backend{Driver: n.driver, Foreign: foreignOn(n.api, contract.Default())}
	})
}

func TestFileStorage(t *testing.T) {
	storetest.Run(t, onFile(func(*server.Options) {}, func(*jetstream.Config) {}))
}

// TestGroupCommit runs the suite where every write is synced and appends are
// gathered.
func TestGroupCommit(t *testing.T) {
	storetest.Run(t, onFile(syncAlways, grouped))
}

// onFile makes backends on file storage.
func onFile(serving func(*server.Options), driving func(*jetstream.Config)) func(*testing.T) storetest.Backend {
	return func(t *testing.T) storetest.Backend {
		dir := t.TempDir()
		srv := startServer(t, dir, serving)
		t.Cleanup(func() { stopServer(srv) })
		n := onServer(t, srv, false, driving)
		return storetest.Backend{
			Driver:  n.driver,
			Foreign: foreignOn(n.api, contract.Default()),
			Restart: func(t *testing.T) eventstore.Driver {
				stopServer(srv)
				srv = startServer(t, dir, serving)
				return onServer(t, srv, false, driving).driver
			},
		}
	}
}

// TestExternalServer runs the suite on the server that the environment names,
// with a stream of its own for each case.
func TestExternalServer(t *testing.T) {
	url := os.Getenv(envURL)
	if url == "" {
		t.Skipf("set %s to run the suite on a server elsewhere", envURL)
	}
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		names, err := contract.NewNames("t" + strings.ToLower(rand.Text()[:12]))
		if err != nil {
			t.Fatal(err)
		}
		write, read := dialURL(t, url, jetstream.WriteOptions()...), dialURL(t, url)
		n := connect(t, write, read, jetstream.StreamConfig{Names: names})
		t.Cleanup(func() { deleteStream(t, n.api, names.EventsStream()) })
		restart := func(t *testing.T) eventstore.Driver {
			return connect(t, dialURL(t, url, jetstream.WriteOptions()...), dialURL(t, url), jetstream.StreamConfig{Names: names}).driver
		}
		return storetest.Backend{Driver: n.driver, Foreign: foreignOn(n.api, names), Restart: restart}
	})
}

func dialURL(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func deleteStream(t *testing.T, api js.JetStream, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := api.DeleteStream(ctx, name); err != nil {
		t.Error(err)
	}
}
