package security

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/auth"
	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

// janitor is a client with an operator's credentials.
func (w *world) janitor(name string) *client.Client {
	w.t.Helper()
	c, err := client.New(w.as(auth.RoleOperator, name), client.Config{User: name, Operator: name, Names: w.names})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// attic makes the object store for archives, as an operator.
func (w *world) attic() jetstream.ObjectStore {
	w.t.Helper()
	js, err := jetstream.New(w.as(auth.RoleOperator, "root"), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		w.t.Fatal(err)
	}
	bucket, err := js.CreateObjectStore(w.t.Context(), jetstream.ObjectStoreConfig{Bucket: w.names.ArchiveBucket()})
	if err != nil {
		w.t.Fatal(err)
	}
	return bucket
}

// TestOperatorsCleanUp goes through a whole cleanup with an operator's
// credentials: answers of many messages, a plan, a hold, an archive, a repair.
func TestOperatorsCleanUp(t *testing.T) {
	w := newWorld(t)
	ada, root := w.as(auth.RoleUser, "ada"), w.janitor("root")
	const old = 600 // more than one message of a plan has items
	for i := range old {
		must(t, ada, w.names.Command("ada", fmt.Sprint("old", i), domain.VerbCreate), onePlan)
	}
	must(t, w.as(auth.RoleOperator, "root"), w.names.AdminCommand("root", "ada", "old7", domain.VerbHold), "{}")
	now, attic := domain.Duration(0), w.attic()
	request := contract.CleanupRequest{Filter: contract.CleanupFilter{Users: []string{"ada"}, OlderThan: &now}, Archive: "bucket:" + w.names.ArchiveBucket()}
	plan, scanned, err := root.Scan(t.Context(), request, nil)
	if err != nil || len(plan.Items) != old || scanned.Stale != old {
		t.Fatalf("the scan: %+v, error %v", scanned, err)
	}
	elsewhere := contract.CleanupRequest{Plan: plan, Archive: "bucket:elsewhere"}
	if _, err := root.Purge(t.Context(), elsewhere, nil); err == nil || !strings.Contains(err.Error(), request.Archive) {
		t.Errorf("with another bucket: %v", err)
	}
	results := 0
	purged, err := root.Purge(t.Context(), contract.CleanupRequest{Plan: plan, Archive: request.Archive}, func(m contract.CleanupMessage) { results += len(m.Results) })
	if err != nil || purged.Purged != old-1 || purged.Skipped[contract.OutcomeHeld] != 1 || results != old || purged.By != "root" {
		t.Errorf("the purge: %+v with %d results, error %v", purged, results, err)
	}
	if kept, err := attic.List(t.Context()); err != nil || len(kept) != old-1 {
		t.Errorf("the archive holds %d histories, error %v", len(kept), err)
	}
	if again, err := root.Purge(t.Context(), request, nil); err != nil || again.Purged != 0 || again.Stale != 1 {
		t.Errorf("the second purge: %+v, error %v", again, err)
	}
	repaired, err := root.Repair(t.Context(), contract.RepairRequest{Apply: true}, nil)
	if err != nil || repaired.Failed+repaired.Orphaned != 0 {
		t.Errorf("the repair: %+v, error %v", repaired, err)
	}
	status, err := root.CleanupStatus(t.Context())
	if err != nil || status.Purge == nil || status.Purge.By != "root" {
		t.Errorf("the status: %+v, error %v", status, err)
	}
	m := ask(t, ada, w.names.Query("ada", contract.QueryGet), `{"session":"old3"}`)
	if !strings.Contains(string(m.Data), "removed by root") {
		t.Errorf("the user reads %s", m.Data)
	}
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "Violation") || strings.Contains(line, "request was dropped") {
			t.Errorf("the server denied something: %s", line)
		}
	}
}
