package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
	"reprise/eventstore"
)

// told is the answer to an operator's request, in all its messages.
type told struct {
	plan     *contract.CleanupPlan
	progress int
	results  []contract.CleanupResult
	report   *contract.CleanupReport
	rejected *contract.Error
}

// operate sends an operator's request and reads the answer to its end. While no
// engine is the holder it asks again.
func (h *house) operate(name string, request any) told {
	h.t.Helper()
	var all told
	until(h.t, "an engine answers "+name, func() bool {
		all = h.operateOnce(name, request)
		return all.rejected == nil || all.rejected.Code != domain.CodeUnavailable
	})
	return all
}

func (h *house) operateOnce(name string, request any) told {
	h.t.Helper()
	body, err := domain.Marshal(request)
	if err != nil {
		h.t.Fatal(err)
	}
	inbox := nats.NewInbox()
	sub, err := h.nc.SubscribeSync(inbox)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := h.nc.PublishRequest(contract.Default().Admin("olga", name), inbox, body); err != nil {
		h.t.Fatal(err)
	}
	var all told
	for all.report == nil && all.rejected == nil {
		m, err := sub.NextMsg(testPatience)
		if err != nil {
			h.t.Fatalf("%s: %v", name, err)
		}
		all.take(h.t, m)
	}
	return all
}

func (a *told) take(t testing.TB, m *nats.Msg) {
	t.Helper()
	if m.Header.Get(contract.HeaderError) != "" {
		a.rejected = &contract.Error{}
		if err := json.Unmarshal(m.Data, a.rejected); err != nil {
			t.Fatal(err)
		}
		return
	}
	var part contract.CleanupMessage
	if err := json.Unmarshal(m.Data, &part); err != nil {
		t.Fatalf("%v in %s", err, m.Data)
	}
	if part.Progress != nil {
		a.progress++
	}
	if part.Plan != nil {
		a.plan = part.Plan
	}
	if len(part.Items) > 0 {
		a.plan.Items = append(a.plan.Items, part.Items...)
	}
	a.results = append(a.results, part.Results...)
	a.report = part.Report
}

// atOnce is a filter for whatever has ended.
func atOnce(states ...domain.State) contract.CleanupFilter {
	now := domain.Duration(0)
	return contract.CleanupFilter{OlderThan: &now, States: states}
}

// cancelled makes sessions that have ended.
func (h *house) cancelled(n int) {
	h.t.Helper()
	for i := range n {
		id := fmt.Sprintf("old%d", i)
		h.command(id, domain.VerbCreate, housePlan)
		h.command(id, domain.VerbStart, nil)
		h.command(id, domain.VerbCancel, nil)
	}
}

// events returns the messages and bytes of the event stream.
func (h *house) events() (uint64, uint64) {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	if err != nil {
		h.t.Fatal(err)
	}
	stream, err := js.Stream(h.t.Context(), contract.Default().EventsStream())
	if err != nil {
		h.t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs, stream.CachedInfo().State.Bytes
}

func TestCleanupOverNATS(t *testing.T) {
	h := newHouse(t)
	stop := h.start()
	const old = 12
	h.cancelled(old)
	h.command("alive", domain.VerbCreate, housePlan)

	scanned := h.operate(contract.AdminScan, contract.CleanupRequest{Filter: atOnce(domain.StateCancelled)})
	if scanned.rejected != nil || len(scanned.plan.Items) != old || scanned.report.Stale != old || scanned.report.By != "olga" {
		t.Fatalf("the scan: %+v %+v", scanned, scanned.report)
	}
	h.command("old0", domain.VerbMetadataSet, domain.SetMetadata{Set: map[string]string{"a": "b"}})
	before, bytesBefore := h.events()
	dry := h.operate(contract.AdminPurge, contract.CleanupRequest{Plan: scanned.plan, DryRun: true})
	if now, _ := h.events(); now != before || dry.report.Purged != old-1 {
		t.Errorf("the dry run: %+v", dry.report)
	}
	purged := h.operate(contract.AdminPurge, contract.CleanupRequest{Plan: scanned.plan})
	r := purged.report
	if r == nil || r.Purged != old-1 || r.Skipped[contract.OutcomeChanged] != 1 || len(purged.results) != old || r.Warning != "" {
		t.Fatalf("the purge: %+v", r)
	}
	after, bytesAfter := h.events()
	if after != before-r.Commits+uint64(r.Purged) || bytesAfter <= bytesBefore-r.Bytes {
		t.Errorf("%d commits were there, %d were removed for %d tombstones, %d are left", before, r.Commits, r.Purged, after)
	}
	if _, rejected := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: "old1"}); rejected == nil || rejected.Code != domain.CodeGone {
		t.Errorf("a purged session: %+v", rejected)
	}
	h.checkStatus(r.ID)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	h.start()
	if rejected := h.ask(contract.Default().Command("ann", "old1", domain.VerbCreate), housePlan, &contract.Reply{}); rejected == nil || rejected.Code != domain.CodeGone {
		t.Errorf("a purged id after a restart: %+v", rejected)
	}
	if again := h.operate(contract.AdminPurge, contract.CleanupRequest{}); again.report.Purged != 0 || again.report.Orphaned != 0 {
		t.Errorf("a purge of nothing: %+v", again.report)
	}
}

func (h *house) checkStatus(purge string) {
	h.t.Helper()
	var status contract.CleanupStatus
	if rejected := h.ask(contract.Default().Admin("olga", contract.AdminStatus), nil, &status); rejected != nil {
		h.t.Fatal(rejected.Message)
	}
	if status.Policy.Name != "default" || status.Purge == nil || status.Purge.ID != purge || status.Scan == nil || status.Running != nil {
		h.t.Errorf("the status is %+v", status)
	}
}

func TestOperatorsAreToldWhatIsWrong(t *testing.T) {
	h := newHouse(t)
	h.start()
	for says, request := range map[string]struct {
		name string
		body any
	}{
		`no field "all"`:         {contract.AdminScan, map[string]any{"all": true}},
		`no field "force"`:       {contract.AdminPurge, map[string]any{"force": true}},
		`no field "yes"`:         {contract.AdminRepair, map[string]any{"yes": true}},
		`no field "id"`:          {contract.AdminStop, map[string]any{"id": "x"}},
		"no directory for archi": {contract.AdminPurge, contract.CleanupRequest{Archive: "/somewhere"}},
		"nothing is going on":    {contract.AdminStop, nil},
		"is of event stream":     {contract.AdminPurge, contract.CleanupRequest{Plan: &contract.CleanupPlan{ID: "p"}}},
		"no subject for operato": {"cleanup.all", nil},
	} {
		got := h.operate(request.name, request.body)
		if got.rejected == nil || !strings.Contains(got.rejected.Message, says) {
			t.Errorf("%s: %+v", request.name, got.rejected)
		}
	}
	if rejected := h.ask("reprise.adm.a$b.cleanup.scan", nil, nil); rejected == nil || rejected.Code != domain.CodeInvalid {
		t.Errorf("an operator without a name: %+v", rejected)
	}
}

// gate is an archive that holds every purge until it is opened.
type gate struct {
	waiting chan eventstore.Key
	open    chan struct{}
}

func (g *gate) Archive(ctx context.Context, key eventstore.Key, _ eventstore.Aggregate) (string, error) {
	select {
	case g.waiting <- key:
	default:
	}
	select {
	case <-g.open:
		return "kept/" + key.Session, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func withGate(g *gate) func(*Config) {
	return func(c *Config) {
		c.Cleanup.open = func(target string) (cleanup.Archiver, error) {
			if target != "here" {
				return nil, errors.New("there is only here")
			}
			return g, nil
		}
	}
}

// TestOneRunAtATime stops a run in its middle, and goes on with another.
func TestOneRunAtATime(t *testing.T) {
	h := newHouse(t)
	g := &gate{waiting: make(chan eventstore.Key, 1), open: make(chan struct{})}
	h.start(withGate(g))
	h.start(withGate(g)) // one of them answers
	const old = 10
	h.cancelled(old)
	request := contract.CleanupRequest{Filter: atOnce(domain.StateCancelled), Archive: "here", Concurrency: 2}
	first := make(chan told, 1)
	go func() { first <- h.operate(contract.AdminPurge, request) }()
	<-g.waiting
	if second := h.operate(contract.AdminPurge, request); second.rejected == nil || second.rejected.Code != domain.CodeBusy || !strings.Contains(second.rejected.Message, "olga") {
		t.Errorf("a second run: %+v", second.rejected)
	}
	var status contract.CleanupStatus
	if rejected := h.ask(contract.Default().Admin("otto", contract.AdminStatus), nil, &status); rejected != nil || status.Running == nil {
		t.Errorf("the status: %+v %+v", status, rejected)
	}
	if rejected := h.ask(contract.Default().Admin("otto", contract.AdminStop), contract.StopRequest{Run: "another"}, nil); rejected == nil || rejected.Code != domain.CodeNotFound {
		t.Errorf("stopping another run: %+v", rejected)
	}
	var was contract.CleanupProgress
	if rejected := h.ask(contract.Default().Admin("otto", contract.AdminStop), nil, &was); rejected != nil {
		t.Fatal(rejected.Message)
	}
	close(g.open)
	ended := <-first
	if r := ended.report; r == nil || !r.Stopped || r.Purged == 0 || r.Purged > 2 {
		t.Fatalf("the stopped run: %+v %+v", r, ended.rejected)
	}
	rest := h.operate(contract.AdminPurge, request)
	if r := rest.report; r == nil || r.Stopped || r.Purged != old-ended.report.Purged || !slices.ContainsFunc(rest.results, func(r contract.CleanupResult) bool { return strings.HasPrefix(r.Archive, "kept/") }) {
		t.Errorf("the rest: %+v %+v", r, rest.rejected)
	}
}

// TestStoppingEngineEndsItsRun: what is purged is reported before the engine ends.
func TestStoppingEngineEndsItsRun(t *testing.T) {
	h := newHouse(t)
	g := &gate{waiting: make(chan eventstore.Key, 1), open: make(chan struct{})}
	stop := h.start(withGate(g))
	h.cancelled(8)
	first := make(chan told, 1)
	go func() {
		first <- h.operate(contract.AdminPurge, contract.CleanupRequest{Filter: atOnce(domain.StateCancelled), Archive: "here", Concurrency: 1})
	}()
	<-g.waiting
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	close(g.open)
	if r := (<-first).report; r == nil || r.Purged+r.Failed == 0 || r.Purged == 8 && r.Stopped {
		t.Errorf("the report is %+v", r)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestScheduledCleanup(t *testing.T) {
	h := newHouse(t)
	policy := cleanup.DefaultPolicy()
	policy.Name, policy.Retention[domain.StateCancelled] = "at-once", 0
	var mu sync.Mutex
	kept := map[eventstore.Key]bool{} // one that could not be purged is archived again
	h.start(func(c *Config) {
		c.Cleanup = CleanupConfig{Policy: &policy, Every: 20 * time.Millisecond, Archive: "there", open: func(string) (cleanup.Archiver, error) {
			return archiverFunc(func(key eventstore.Key) { mu.Lock(); defer mu.Unlock(); kept[key] = true }), nil
		}}
	})
	h.cancelled(3)
	h.command("alive", domain.VerbCreate, housePlan)
	for i := range 3 {
		id := fmt.Sprintf("old%d", i)
		until(t, id+" is gone", func() bool {
			_, rejected := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: id})
			return rejected != nil && rejected.Code == domain.CodeGone
		})
	}
	if _, rejected := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: "alive"}); rejected != nil {
		t.Errorf("alive: %s", rejected.Message)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(kept) != 3 {
		t.Errorf("archived: %v", kept)
	}
}

type archiverFunc func(eventstore.Key)

func (f archiverFunc) Archive(_ context.Context, key eventstore.Key, _ eventstore.Aggregate) (string, error) {
	f(key)
	return "there/" + key.Session, nil
}

func TestCleanupConfigIsChecked(t *testing.T) {
	for says, c := range map[string]CleanupConfig{
		"positive": {Every: -1},
		"policy":   {Policy: &contract.CleanupPolicy{}},
	} {
		if _, err := New(Config{Cleanup: c}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// TestArchives purges into a directory and into an object store.
func TestArchives(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	h.start(func(c *Config) { c.Cleanup.Archive = dir })
	js, err := jetstream.New(h.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "old"}); err != nil {
		t.Fatal(err)
	}
	h.cancelled(2)
	for says, target := range map[string]string{"alone": "/elsewhere", "can't be opened": "bucket:none"} {
		if got := h.operate(contract.AdminPurge, contract.CleanupRequest{Archive: target}); got.rejected == nil || !strings.Contains(got.rejected.Message, says) {
			t.Errorf("%s: %+v", target, got.rejected)
		}
	}
	for session, target := range map[string]string{"old0": dir, "old1": "bucket:old"} {
		filter := atOnce()
		filter.Sessions = []string{session}
		got := h.operate(contract.AdminPurge, contract.CleanupRequest{Archive: target, Filter: filter})
		if got.report == nil || got.report.Purged != 1 || got.results[0].Archive == "" {
			t.Errorf("%s: %+v %+v", target, got.report, got.rejected)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "ann", "*"))
	if err != nil || len(files) != 1 {
		t.Errorf("files %v, error %v", files, err)
	}
}
