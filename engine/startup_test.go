package engine

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reprise/domain"
	"reprise/internal/forgetful"
)

// TestStartsOnAClusterThatIsNotReady: an engine that finds a part of the server
// without an answer tries again, and serves.
func TestStartsOnAClusterThatIsNotReady(t *testing.T) {
	for _, prefix := range []string{"$JS.API.STREAM.CREATE.", "$JS.API.STREAM.CREATE.KV_", "$JS.API.STREAM.INFO.REPRISE_WORK"} {
		t.Run(prefix, func(t *testing.T) {
			h := newHouse(t)
			f := forgetful.New(h.ns, prefix)
			h.start(func(c *Config) {
				c.Dial = func(name string, options ...nats.Option) (*nats.Conn, error) {
					return nats.Connect("", append(options, nats.Name(name), nats.InProcessServer(f), nats.Timeout(testPatience))...)
				}
			})
			h.command("s1", domain.VerbCreate, json.RawMessage(onePlan))
			if !f.Lost() {
				t.Error("no request got lost")
			}
		})
	}
}

// TestAnswersGoBackAsTheyCame: on a cluster answers take the connection on which
// requests come, so that the server that has them knows who waits.
func TestAnswersGoBackAsTheyCame(t *testing.T) {
	for _, name := range []string{"", "three"} {
		options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, ServerName: "n0", NoSigs: true, NoLog: true}
		if name != "" {
			options.Cluster = server.ClusterOpts{Name: name, Host: "127.0.0.1", Port: server.RANDOM_PORT}
		}
		srv, err := server.NewServer(options)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		if !srv.ReadyForConnections(testPatience) {
			t.Fatal("the server does not start")
		}
		e, err := New(Config{Dial: func(name string, options ...nats.Option) (*nats.Conn, error) {
			return nats.Connect(srv.ClientURL(), append(options, nats.Name(name), nats.Timeout(testPatience))...)
		}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := e.dial()
		if err != nil {
			t.Fatal(err)
		}
		if one := c.replies == c.requests; one != (name != "") {
			t.Errorf("in a cluster named %q requests and answers share a connection: %t", name, one)
		}
		c.close()
	}
}
