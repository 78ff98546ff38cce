package projections

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// running makes the entry of a RUNNING session that waits for something.
func running(user string, n int, w Waits) Entry {
	e := entry(user, n, domain.StateRunning)
	e.Waits, e.Shape = &w, entryShape
	return e
}

// at makes the index know what is served at a time.
func (x *Index) at(now time.Time, serving ...string) *Index {
	p := Present{Now: now, Known: true, Serving: map[string]bool{}}
	for _, action := range serving {
		p.Serving[action] = true
	}
	x.cfg.Present = func() Present { return p }
	return x
}

// awaiting is a user's sessions, one for each thing to wait for.
func awaiting(t *testing.T) *Index {
	t.Helper()
	return filled(t,
		entry("ada", 1, domain.StatePending),
		entry("ada", 2, domain.StatePaused),
		running("ada", 3, Waits{Ready: []ReadyAction{{Action: "deploy", Steps: 2}, {Action: "exec", Steps: 1}}}),
		running("ada", 4, Waits{Ready: []ReadyAction{{Action: "exec", Steps: 1}}}),
		running("ada", 5, Waits{Ready: []ReadyAction{{Action: "exec", Steps: 1, First: after(60), Last: after(60)}}}),
		running("ada", 6, Waits{Person: true, InFlight: []string{"exec"}}),
		running("ada", 7, Waits{Plan: true}),
		entry("ada", 8, domain.StateRunning),
		entry("ada", 9, domain.StateFailed),
	)
}

func TestListSaysWhatEachSessionWaitsFor(t *testing.T) {
	x := awaiting(t).at(after(0), "exec")
	reply, err := x.List("ada", contract.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"[start] []", "[paused] []", "[no_worker worker] [deploy]", "[worker] []", "[backoff] []", "[person] []", "[plan] []", "[] []", "[] []"}
	for i, row := range reply.Sessions {
		if got := fmt.Sprint(row.Waiting, " ", row.Unserved); got != want[i] {
			t.Errorf("session %s waits for %s; want %s", row.ID, got, want[i])
		}
	}
}

func TestListFiltersByWhatIsWaitedFor(t *testing.T) {
	x := awaiting(t)
	for _, c := range []struct {
		wanted  []contract.Waiting
		now     int
		serving []string
		want    string
	}{
		{[]contract.Waiting{contract.WaitingNoWorker}, 0, []string{"exec"}, "3R"},
		{[]contract.Waiting{contract.WaitingNoWorker}, 0, []string{"exec", "deploy"}, ""},
		// A step of exec is in flight in session 6: a worker is there, if busy.
		{[]contract.Waiting{contract.WaitingNoWorker}, 0, nil, "3R"},
		{[]contract.Waiting{contract.WaitingWorker}, 0, []string{"exec"}, "3R 4R"},
		{[]contract.Waiting{contract.WaitingWorker}, 60, []string{"exec"}, "3R 4R 5R"},
		{[]contract.Waiting{contract.WaitingBackoff}, 59, nil, "5R"},
		{[]contract.Waiting{contract.WaitingBackoff}, 60, nil, ""},
		{[]contract.Waiting{contract.WaitingStart, contract.WaitingPerson}, 0, nil, "1P 6R"},
		{[]contract.Waiting{contract.WaitingPaused, contract.WaitingPlan}, 0, nil, "2P 7R"},
	} {
		req := contract.ListRequest{Filter: contract.Filter{Waiting: c.wanted}}
		reply, err := x.at(after(c.now), c.serving...).List("ada", req)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(reply.Sessions); got != c.want {
			t.Errorf("waiting for %v at %d s with %v served: %q; want %q", c.wanted, c.now, c.serving, got, c.want)
		}
		count, err := x.Count("ada", contract.CountRequest{Filter: req.Filter})
		if err != nil || count.Total != len(reply.Sessions) {
			t.Errorf("waiting for %v: %d counted, %d listed, %v", c.wanted, count.Total, len(reply.Sessions), err)
		}
	}
}

func TestWithoutAWordOfTheServerNothingCountsAsUnserved(t *testing.T) {
	x := awaiting(t)
	x.cfg.Present = func() Present { return Present{Now: after(0)} }
	reply, err := x.List("ada", contract.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.Sessions[2]; fmt.Sprint(got.Waiting) != "[worker]" || len(got.Unserved) > 0 {
		t.Errorf("%v %v", got.Waiting, got.Unserved)
	}
	var rejected *domain.Rejection
	_, err = x.List("ada", contract.ListRequest{Filter: contract.Filter{Waiting: []contract.Waiting{contract.WaitingNoWorker}}})
	if !errors.As(err, &rejected) || rejected.Code != domain.CodeUnavailable {
		t.Errorf("a filter that can't be answered gives %v", err)
	}
	if _, err = x.List("ada", contract.ListRequest{Filter: contract.Filter{Waiting: []contract.Waiting{contract.WaitingPerson}}}); err != nil {
		t.Errorf("a filter that needs no server gives %v", err)
	}
	_, err = x.List("ada", contract.ListRequest{Filter: contract.Filter{Waiting: []contract.Waiting{"godot"}}})
	if !errors.As(err, &rejected) || rejected.Code != domain.CodeInvalid || !strings.Contains(rejected.Message, "no_worker") {
		t.Errorf("an unknown kind gives %v", err)
	}
}

func TestActionsAreCountedOverAllUsers(t *testing.T) {
	x := awaiting(t).at(after(0))
	x.put(key("bob", "s1"), newRow(running("bob", 1, Waits{Ready: []ReadyAction{{Action: "deploy", Steps: 3}}})), true)
	if got, known := x.Unserved(); !known || fmt.Sprint(got) != "map[deploy:5]" {
		t.Errorf("unserved are %v, known %v", got, known)
	}
	if got := fmt.Sprint(x.Actions()["exec"]); got != "{3 1}" {
		t.Errorf("exec has %s; want 3 ready steps, and one session with some in flight", got)
	}
	for _, k := range []eventstore.Key{key("bob", "s1"), key("ada", "s000003")} {
		x.drop(k, 1000)
	}
	if got, _ := x.Unserved(); len(got) != 0 {
		t.Errorf("with the sessions gone there still are %v", got)
	}
	if _, there := x.Actions()["deploy"]; there {
		t.Error("an action is remembered of which nothing is left")
	}
}

func TestWaitsFollowTheSession(t *testing.T) {
	w := newWorld(t)
	k := key("ada", "s1")
	w.do(k, &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{
		{ID: "a", Steps: []domain.StepDef{
			{ID: "1", Action: "x", Retry: &domain.RetryPolicy{MaxAttempts: 2, Backoff: domain.Duration(time.Hour)}},
			{ID: "2", Manual: true},
		}},
		{ID: "b", Open: true},
	}}})
	check := func(a eventstore.Aggregate, want string) {
		t.Helper()
		x := w.index(nil).at(after(w.n))
		x.Replace(a)
		kinds, _ := x.Waiting(a.Session)
		e, _ := x.Get(k)
		listed, _ := x.explain(x.cfg.Present(), stateIndex(e.State), e.Waits, 1)
		if fmt.Sprint(kinds) != want || fmt.Sprint(listed) != want {
			t.Errorf("version %d waits for %v, and in lists for %v; want %s", a.Session.Version, kinds, listed, want)
		}
	}
	check(w.do(k, &domain.Start{}), "[no_worker plan]")
	check(w.do(k, &domain.Claim{Chain: "a", Step: "1", Worker: "w", Action: "x"}), "[plan]")
	check(w.do(k, &domain.Fail{Chain: "a", Step: "1", Attempt: 1, Worker: "w", Action: "x", Error: domain.ReportError{Message: "no"}}), "[backoff plan]")
	check(w.do(k, &domain.Pause{}), "[paused]")
	check(w.do(k, &domain.Resume{}), "[backoff plan]")
	check(w.do(k, &domain.SkipStep{Chain: "a", Step: "1"}), "[person plan]")
	check(w.do(k, &domain.CloseChain{Chain: "b"}), "[person]")
	check(w.do(k, &domain.Cancel{}), "[]")
}

func TestAHeaderThatLacksWaitsIsNotUsed(t *testing.T) {
	var many Waits
	for i := range maxHeaderActions + 1 {
		many.ready(domain.Ready{Action: fmt.Sprintf("a%03d", i)})
	}
	cut := running("ada", 1, *many.bounded())
	if len(cut.Waits.Ready) != maxHeaderActions || !cut.Waits.Cut || len(many.Ready) != maxHeaderActions+1 {
		t.Errorf("%d actions in the header of %d", len(cut.Waits.Ready), len(many.Ready))
	}
	old := entry("ada", 1, domain.StateRunning)
	fresh := running("ada", 1, Waits{Plan: true})
	for _, c := range []struct {
		e    Entry
		want bool
	}{{cut, false}, {old, false}, {fresh, true}, {entry("ada", 1, domain.StateCompleted), true}} {
		if c.e.whole() != c.want {
			t.Errorf("%+v: whole is %v", c.e, !c.want)
		}
	}
}
