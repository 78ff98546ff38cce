package jetstream_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/eventstore/jetstream"
	"reprise/eventstore/storetest"
)

// freePorts finds ports of the loopback that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		defer func() { _ = l.Close() }() // they all stay open until all are found
	}
	return ports
}

// cluster starts three servers that listen to each other on the loopback alone.
// Somebody else may take a port before they do: then others are tried.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	for range 5 {
		if servers := startCluster(t, freePorts(t, 3)); servers != nil {
			return servers
		}
	}
	t.Fatal("no cluster starts")
	return nil
}

// startCluster returns nil if a server can't have its port.
func startCluster(t *testing.T, ports []int) []*server.Server {
	t.Helper()
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	servers := make([]*server.Server, len(ports))
	for i, port := range ports {
		srv, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: storeDir(t), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: fmt.Sprint("test-", ports[0]), Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { stopServer(srv) })
		servers[i] = srv
	}
	for _, srv := range servers {
		if !srv.ReadyForConnections(patience / 3) {
			for _, started := range servers {
				stopServer(started)
			}
			return nil
		}
	}
	return servers
}

// storeDir is a directory for the store of one server of a cluster: some of them still
// write a file when they say that they have shut down.
func storeDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	t.Cleanup(func() {
		eventually(t, "the store is removed", func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		case <-tick.C:
		}
	}
}

// TestReplicated runs the suite on streams with three replicas, where conflicts
// have another code and a replica may be behind. Each case has a prefix of its
// own, since starting a cluster takes a while.
func TestReplicated(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes some seconds")
	}
	servers := cluster(t)
	write := dial(t, servers[0], jetstream.WriteOptions()...)
	var reads []*nats.Conn
	for _, srv := range servers {
		reads = append(reads, dial(t, srv))
	}
	eventually(t, "the cluster chooses its leader", func() bool {
		return slices.ContainsFunc(servers, func(s *server.Server) bool {
			return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers)
		})
	})
	n := 0
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		n++
		names, err := contract.NewNames(fmt.Sprint("t", n))
		if err != nil {
			t.Fatal(err)
		}
		read := reads[n%len(reads)]
		node := connect(t, write, read, jetstream.StreamConfig{Names: names, Replicas: 3, Memory: true})
		t.Cleanup(func() { deleteStream(t, node.api, names.EventsStream()) })
		if !node.driver.Features().Replicated {
			t.Error("the driver does not declare that it is replicated")
		}
		return storetest.Backend{Driver: node.driver, Foreign: foreignOn(node.api, names)}
	})
}
