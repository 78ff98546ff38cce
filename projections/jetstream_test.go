package projections

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	events "reprise/eventstore/jetstream"
)

// onServer opens a store whose events and views are on one server, as an
// engine does.
func onServer(t *testing.T, s *server.Server) (*world, *KVViews) {
	t.Helper()
	views := openBucket(t, s, bucketConfig)
	store, err := eventstore.Open(t.Context(), eventstore.Config{Driver: driverOn(t, s), Snapshots: SnapshotsOf(views)})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, store: store, report: &reports{}}, views
}

// driverOn opens the event stream on a server, which is made if it is missing.
func driverOn(t testing.TB, s *server.Server) eventstore.Driver {
	t.Helper()
	read := dial(t, s)
	api, err := jetstream.New(read)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.EnsureStream(t.Context(), api, events.StreamConfig{Names: contract.Default()}); err != nil {
		t.Fatal(err)
	}
	driver, err := events.Open(t.Context(), events.Config{Write: dial(t, s, events.WriteOptions()...), Read: read, Names: contract.Default()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

// Events and views on one server, over a restart of it.
func TestOnJetStream(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	w, views := onServer(t, s)
	v, x := w.views(views), w.index(views, "team")
	r, stopRunner := w.runner(v, x)
	stop := w.background(v.Run)
	var keys []eventstore.Key
	for i := range 20 {
		keys = append(keys, key("ada", fmt.Sprint("s", i)))
		w.create(keys[i])
		w.do(keys[i], &domain.Start{})
	}
	w.create(key("ada", "gone"))
	w.purge(key("ada", "gone"))
	w.wait(r)
	w.wait(v)
	w.expect(views, keys...)
	before := dump(t, views)
	stop()
	stopRunner()
	s.Shutdown()
	s.WaitForShutdown()

	w, views = onServer(t, serve(t, dir))
	same(t, dump(t, views), before)
	v, x = w.views(views), w.index(views, "team")
	r, _ = w.runner(v, x)
	w.background(v.Run)
	w.wait(r)
	if n := x.Len(); n != 20 {
		t.Errorf("%d sessions in the index", n)
	}
	w.n = 1000
	w.do(keys[3], &domain.Pause{})
	w.wait(r)
	w.wait(v)
	untilSwept(t, v)
	if p := v.Progress(); p.Puts-p.Healed != 1 {
		t.Errorf("%d puts after a restart, %d of them healed", p.Puts, p.Healed)
	}
	before = dump(t, views)
	if err := v.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, dump(t, views), before)
}
