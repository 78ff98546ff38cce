package e2e

import (
	"context"
	"net"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/killpoint"
)

// cluster starts three servers and returns their URLs.
func cluster(t *testing.T) string {
	t.Helper()
	return newFleet(t).urls()
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
	eventually(t, func() error { // a request to servers that are new to each other may get lost
		ctx, cancel := context.WithTimeout(bounded(t), patience/10)
		defer cancel()
		_, err := js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "attic", Replicas: fleetSize})
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
