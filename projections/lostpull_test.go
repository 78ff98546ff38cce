package projections

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"reprise/internal/forgetful"
)

// TestScanAsksAgain: a scan whose request for messages got lost comes to its end.
func TestScanAsksAgain(t *testing.T) {
	s := serve(t, t.TempDir())
	f := forgetful.New(s, "$JS.API.CONSUMER.MSG.NEXT.")
	nc, err := nats.Connect("", nats.InProcessServer(f), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	store, err := OpenKV(t.Context(), nc, dial(t, s), bucketConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer(t, store).Write(t.Context(), []View{put("ada.s1", 1), put("ada.s2", 2)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found := 0
	if err := store.Scan(ctx, true, func(View) error { found++; return nil }); err != nil || found != 2 {
		t.Errorf("the scan found %d of 2 views, %v", found, err)
	}
	if !f.Lost() {
		t.Error("no request got lost")
	}
}

// TestLostAcknowledgement: on a cluster the acknowledgement of a put may be lost with
// its server, for which views don't wait as long as for a server that reads its disk.
func TestLostAcknowledgement(t *testing.T) {
	if one, three := ackPatience(1), ackPatience(3); three >= one || three <= 0 {
		t.Errorf("on three servers a put may take %s, on one %s", three, one)
	}
}
