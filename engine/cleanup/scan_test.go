package cleanup

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/projections"
)

func TestScanFindsWhatIsStale(t *testing.T) {
	w := newWorld(t)
	for _, s := range []struct {
		state domain.State
		keep  float64
	}{
		{domain.StateCompleted, 30},
		{domain.StateFailed, 90},
		{domain.StateCancelled, 7},
		{domain.StatePending, 7},
		{domain.StatePaused, 30},
		{domain.StateRunning, 30},
	} {
		w.lead(strings.ToLower(string(s.state))+"-old", s.state, s.keep)
		w.lead(strings.ToLower(string(s.state))+"-new", s.state, s.keep-0.01)
	}
	plan, report := w.scan(contract.CleanupRequest{})
	want := map[string]contract.CleanupReason{
		"completed-old": contract.ReasonCompleted, "failed-old": contract.ReasonFailed, "cancelled-old": contract.ReasonCancelled,
		"pending-old": contract.ReasonNeverStarted, "paused-old": contract.ReasonIdle, "running-old": contract.ReasonIdle,
	}
	if got := found(plan); !maps.Equal(got, want) {
		t.Errorf("the scan found %v", got)
	}
	if report.Scanned != 12 || report.Stale != 6 || report.Orphaned != 0 || report.Reasons[contract.ReasonIdle] != 2 || !report.DryRun {
		t.Errorf("the report is %+v", report)
	}
	if len(w.audited["cleanup.scan"]) != 1 {
		t.Errorf("audited: %v", w.audited)
	}
}

func TestScanOfNothing(t *testing.T) {
	w := newWorld(t)
	plan, report := w.scan(contract.CleanupRequest{})
	if len(plan.Items) != 0 || plan.Items == nil || report.Scanned != 0 {
		t.Errorf("plan %+v, report %+v", plan, report)
	}
	w.lead("fresh", domain.StateCompleted, 1)
	if plan, _ := w.scan(contract.CleanupRequest{}); len(plan.Items) != 0 || plan.Scanned != 1 {
		t.Errorf("plan %+v", plan)
	}
}

func TestScanFilters(t *testing.T) {
	w := newWorld(t)
	w.lead("one", domain.StateCompleted, 100)
	w.lead("two", domain.StateFailed, 200)
	w.lead("new", domain.StateCompleted, 2)
	hour, young := domain.Duration(time.Hour), domain.Duration(0)
	for name, test := range map[string]struct {
		request contract.CleanupRequest
		want    string
	}{
		"everything":  {contract.CleanupRequest{}, "two one"},
		"a user":      {contract.CleanupRequest{Filter: contract.CleanupFilter{Users: []string{"ada"}}}, "two one"},
		"another":     {contract.CleanupRequest{Filter: contract.CleanupFilter{Users: []string{"bob"}}}, ""},
		"a state":     {contract.CleanupRequest{Filter: contract.CleanupFilter{States: []domain.State{domain.StateFailed}}}, "two"},
		"ids":         {contract.CleanupRequest{Filter: contract.CleanupFilter{Sessions: []string{"one", "new"}}}, "one"},
		"metadata":    {contract.CleanupRequest{Filter: contract.CleanupFilter{Metadata: map[string]string{"team": "one"}}}, "one"},
		"older than":  {contract.CleanupRequest{Filter: contract.CleanupFilter{OlderThan: &hour}}, "two one new"},
		"at once":     {contract.CleanupRequest{Filter: contract.CleanupFilter{OlderThan: &young, Sessions: []string{"new"}}}, "new"},
		"a limit":     {contract.CleanupRequest{Limit: 1}, "two"},
		"kept states": {contract.CleanupRequest{Policy: keeping(domain.StateFailed)}, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, _ := w.scan(test.request)
			var got []string
			for _, item := range plan.Items {
				got = append(got, item.Session)
			}
			if strings.Join(got, " ") != test.want || plan.Truncated != (test.request.Limit > 0) {
				t.Errorf("found %v, truncated %v", got, plan.Truncated)
			}
		})
	}
}

func keeping(states ...domain.State) *contract.CleanupPolicy {
	p := DefaultPolicy()
	p.Keep = states
	return &p
}

func TestScanIsExact(t *testing.T) {
	w := newWorld(t)
	w.lead("one", domain.StateCompleted, 100)
	w.lead("fresh", domain.StateCompleted, 1)
	w.driver.Inject(eventstore.Key{User: "ada", Session: "one"}, nil, []byte("a foreign message"))
	plan, report := w.scan(contract.CleanupRequest{})
	var commits, bytes uint64
	err := w.store.Raw(t.Context(), eventstore.Filter{Session: "one"}, func(m eventstore.Message) error {
		commits++
		bytes += m.Size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Items) != 1 || plan.Items[0].Commits != commits || plan.Items[0].Bytes != bytes || report.Bytes != bytes || report.Commits != commits {
		t.Errorf("the plan is %+v, the store has %d commits and %d bytes", plan, commits, bytes)
	}
	if item := plan.Items[0]; item.Version != 6 || item.FirstSeq != 1 || item.Seq != 3 || !item.LastActivity.Equal(ago(100)) {
		t.Errorf("the item is %+v", item)
	}
}

// TestScanLeavesTheBusyAlone: an index that is behind the events names sessions
// that are just being used.
func TestScanLeavesTheBusyAlone(t *testing.T) {
	w := newWorld(t)
	w.lead("busy", domain.StatePaused, 100)
	stale, err := w.cleaner().current(t.Context(), w.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	w.do("busy", 0, &domain.Resume{})
	w.config.Index = fixedIndex{projections.NewEntry(stale, nil)}
	if plan, _ := w.scan(contract.CleanupRequest{}); len(plan.Items) != 0 {
		t.Errorf("found %+v", plan.Items)
	}
}

type fixedIndex struct{ entry projections.Entry }

func (f fixedIndex) Each(fn func(projections.Entry) bool) error {
	fn(f.entry)
	return nil
}

func TestScanFindsOrphans(t *testing.T) {
	w := newWorld(t)
	fillOrphans(w)
	plan, report := w.scan(contract.CleanupRequest{})
	want := map[string]contract.CleanupReason{
		"unfinished": contract.ReasonUnfinished, "ancient": contract.ReasonTombstone, "headless": contract.ReasonHeadless,
		"ghost": contract.ReasonDeadView, "taskless": contract.ReasonTask, "buried": contract.ReasonDeadLetter,
	}
	if got := found(plan); !maps.Equal(got, want) {
		t.Errorf("the scan found %v", got)
	}
	if report.Orphaned != 5 || report.Stale != 1 {
		t.Errorf("the report is %+v", report)
	}
	for name, filter := range map[string]contract.CleanupFilter{
		"by state": {States: []domain.State{domain.StateFailed}}, "by id": {Sessions: []string{"alive"}}, "by user": {Users: []string{"bob"}},
	} {
		if plan, _ := w.scan(contract.CleanupRequest{Filter: filter}); len(plan.Items) != 0 {
			t.Errorf("%s: found %v", name, found(plan))
		}
	}
}

// fillOrphans leaves one orphan of every kind, and what looks like one.
func fillOrphans(w *world) {
	w.lead("alive", domain.StateRunning, 1)
	w.lead("unfinished", domain.StateCompleted, 100)
	w.do("unfinished", 50, &domain.Purge{}) // and nothing compacted it
	for session, days := range map[string]float64{"ancient": 90, "buried": 10} {
		w.lead(session, domain.StateCompleted, 100)
		a := w.do(session, days, &domain.Purge{})
		if err := w.store.Compact(w.t.Context(), a); err != nil {
			w.t.Fatal(err)
		}
	}
	w.driver.Inject(eventstore.Key{User: "ada", Session: "headless"}, map[string]string{"ce-time": ago(8).Format(time.RFC3339Nano)}, []byte("what is this"))
	w.driver.Inject(eventstore.Key{User: "ada", Session: "arriving"}, nil, []byte("a moment ago"))
	key := func(session string) eventstore.Key { return eventstore.Key{User: "ada", Session: session} }
	w.views.findings = []projections.Finding{
		{Key: key("ghost"), Fault: projections.FaultDead}, {Key: key("alive"), Fault: projections.FaultWrong}, {Key: key("unseen"), Fault: projections.FaultMissing},
	}
	w.traces.there = []Trace{
		{Reason: contract.ReasonTask, Key: key("taskless"), Subject: "task"},
		{Reason: contract.ReasonTask, Key: key("alive"), Subject: "task of the living"},
		{Reason: contract.ReasonDeadLetter, Key: key("buried"), Subject: "letter", Seq: 5, Time: ago(8)},
		{Reason: contract.ReasonDeadLetter, Key: key("buried"), Subject: "young letter", Seq: 6, Time: ago(6)},
		{Reason: contract.ReasonDeadLetter, Key: key("never"), Subject: "letter of nobody", Seq: 7, Time: ago(8)},
	}
}

func TestRequestsThatAreWrong(t *testing.T) {
	w := newWorld(t)
	w.lead("one", domain.StateCompleted, 100)
	plan, _ := w.scan(contract.CleanupRequest{})
	change := func(fn func(*contract.CleanupPlan)) *contract.CleanupPlan {
		p := *plan
		fn(&p)
		return &p
	}
	for says, r := range map[string]contract.CleanupRequest{
		"no state":           {Filter: contract.CleanupFilter{States: []domain.State{"DONE"}}},
		"negative":           {Limit: -1},
		"says nothing of":    {Policy: &contract.CleanupPolicy{Name: "x", Tombstones: keepTombstones}},
		"outside 1 to":       {Concurrency: 100},
		"no id of a plan":    {Plan: change(func(p *contract.CleanupPlan) { p.ID = "" })},
		"is of event stream": {Plan: change(func(p *contract.CleanupPlan) { p.Position.Incarnation = "elsewhere" })},
		"over the bound":     {Plan: change(func(p *contract.CleanupPlan) { p.Items = make([]contract.CleanupItem, contract.MaxPlanItems+1) })},
		"is no session":      {Plan: change(func(p *contract.CleanupPlan) { p.Items = []contract.CleanupItem{{User: "ada", Session: ">"}} })},
	} {
		_, err := w.cleaner().Purge(t.Context(), r, Options{By: "olga", Concurrency: r.Concurrency}, Watch{})
		if !errors.Is(err, &domain.Rejection{Code: domain.CodeInvalid}) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a Cleaner was made of nothing")
	}
}

func TestPolicies(t *testing.T) {
	p, err := ParsePolicy([]byte("name: short\nretention: {COMPLETED: 1h, FAILED: 2d}\nkeep: [PAUSED]\npurgeIdle: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "short" || p.Retention[domain.StateCompleted].String() != "1h" || p.Retention[domain.StateCancelled] != keepCancelled || !p.PurgeIdle || p.Tombstones != keepTombstones {
		t.Errorf("the policy is %+v", p)
	}
	for text, says := range map[string]string{
		"a: [":                             "neither YAML nor JSON",
		"retentions: {}":                   "retentions",
		"retention: {COMPLETED: soon}":     "soon",
		"retention: {DONE: 1d}":            "no state",
		"keep: [DONE]":                     "no state",
		"tombstones: 1d":                   "at least 30d",
		`{"name": ""}`:                     "its name",
		"name: " + strings.Repeat("x", 65): "its name",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if p, err := ParsePolicy([]byte("{}")); err != nil || p.Name != "custom" {
		t.Errorf("the empty policy: %+v, %v", p, err)
	}
}
