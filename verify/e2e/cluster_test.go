package e2e

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/killpoint"
)

// cluster starts three servers that listen to each other on the loopback alone,
// and returns their URLs. Somebody else may take a port before they do: then others
// are tried.
func cluster(t *testing.T) string {
	t.Helper()
	for range 5 {
		if urls := startCluster(t, freePorts(t, 3)); urls != nil {
			return strings.Join(urls, ",")
		}
	}
	t.Fatal("no cluster starts")
	return ""
}

// startCluster returns nil if a server can't have its port.
func startCluster(t *testing.T, ports []int) []string {
	t.Helper()
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	servers := make([]*server.Server, len(ports))
	for i, port := range ports {
		srv, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: storeDir(t), Routes: routes,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		servers[i] = srv
	}
	shutdown := func() {
		for _, srv := range servers {
			srv.Shutdown()
			srv.WaitForShutdown()
		}
	}
	var urls []string
	for _, srv := range servers {
		if !srv.ReadyForConnections(patience / 3) {
			shutdown()
			return nil
		}
		urls = append(urls, srv.ClientURL())
	}
	t.Cleanup(shutdown)
	eventually(t, func() error {
		if slices.ContainsFunc(servers, func(s *server.Server) bool {
			return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers)
		}) {
			return nil
		}
		return fmt.Errorf("the cluster has no leader of %d", len(servers))
	})
	return urls
}

// storeDir is a directory for the store of one server of a cluster: some of them still
// write a file when they say that they have shut down.
func storeDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	t.Cleanup(func() {
		eventually(t, func() error { return os.RemoveAll(dir) })
	})
	return dir
}

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

// onCluster has streams with three replicas.
func onCluster(t *testing.T) *house {
	t.Helper()
	urls := cluster(t)
	js := dial(t, urls, "ada").stream(t)
	eventually(t, func() error { // a server that has just joined may have no room yet
		_, err := js.CreateOrUpdateObjectStore(bounded(t), jetstream.ObjectStoreConfig{Bucket: "attic", Replicas: 3})
		return err
	})
	return &house{archive: "bucket:attic", args: []string{"--nats", urls, "--replicas", "3"}}
}

// TestCleanupOnCluster purges from replicated streams: a run that is killed, and
// one to which other engines listen too; the doctor sees them all.
func TestCleanupOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes some seconds")
	}
	t.Parallel()
	h := onCluster(t)
	purgeKilled(t, h, killpoint.SessionEnded, 3)
	_, _ = h.start(t)
	_, p := h.start(t)
	doctorOnCluster(t, h.args[1], 3) // the one that purgeKilled started last goes on
	p.as("carl").do(t, "done", domain.VerbCreate, plan("compile"))
	r := atOnce()
	r.Filter.Users = []string{"carl"}
	plan, found := p.scanned(t, r)
	if len(plan) != 1 || found.Stale != 1 || found.Orphaned != 0 {
		t.Errorf("the scan found %+v, %+v", plan, found)
	}
	if report, err := p.operate(bounded(t), contract.AdminPurge, r, func(contract.CleanupMessage) {}); err != nil || report.Purged != 1 {
		t.Errorf("the purge: %+v, error %v", report, err)
	}
	if report, err := p.operate(bounded(t), contract.AdminRepair, contract.RepairRequest{Apply: true}, func(contract.CleanupMessage) {}); err != nil || report.Orphaned != 0 {
		t.Errorf("the repair: %+v, error %v", report, err)
	}
}

// scanned returns what a scan found.
func (p *peer) scanned(t *testing.T, r contract.CleanupRequest) ([]contract.CleanupItem, *contract.CleanupReport) {
	t.Helper()
	var items []contract.CleanupItem
	report, err := p.operate(bounded(t), contract.AdminScan, r, func(m contract.CleanupMessage) { items = append(items, m.Items...) })
	if err != nil {
		t.Fatal(err)
	}
	return items, report
}
