package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// strict says that the machine does nothing else: then deadlines are held to
// 250 ms. `make timing` sets it.
var strict = os.Getenv("REPRISE_TIMING") == "strict"

// unpunctual is by how much the machine itself may be late: beside all other
// tests and under the race detector it is.
var unpunctual = byMachine(0, testPatience)

// punctual is how late a timeout may be.
var punctual = 250*time.Millisecond + unpunctual

func byMachine(quiet, busy time.Duration) time.Duration {
	if strict {
		return quiet
	}
	return busy
}

// brief is a time in which a test has to have sent its next command.
func brief(d time.Duration) time.Duration { return byMachine(d, 15*d) }

// lateness waits until a step of user ann has a status and returns how long
// after its time that was decided, by the engine's own clock.
func (w *workshop) lateness(id, step string, want domain.StepStatus, due time.Time) time.Duration {
	w.t.Helper()
	var st *domain.Step
	until(w.t, fmt.Sprintf("step %s of %s is %s", step, id, want), func() bool {
		st = w.session(id).Step("a", step)
		return st.Status == want
	})
	return st.EndedAt.Sub(due)
}

func (w *workshop) onTime(what string, late time.Duration) {
	w.t.Helper()
	if late < 0 || late > punctual {
		w.t.Errorf("%s: %s after its time; it may be 0 to %s", what, late, punctual)
	}
}

func TestSilentWorkerLosesItsLease(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", `{"chains":[{"id":"a","steps":[{"id":"x","action":"build","retry":{"maxAttempts":2,"backoff":"1ms"}}]}]}`)
	lease := brief(600 * time.Millisecond)
	w.must("amber", "build", "s1", domain.VerbClaim, fmt.Sprintf(`{"chain":"a","step":"x","lease":"%dms"}`, lease.Milliseconds()))
	claimed := w.session("s1").Step("a", "x").StartedAt
	beating := time.Now()
	w.must("amber", "build", "s1", domain.VerbHeartbeat, `{"chain":"a","step":"x","attempt":1,"progress":{"line":"halfway","output":{"n":7}}}`)
	var lost contract.CommitEntry
	until(t, "the attempt is over", func() bool {
		commits := w.commits("s1")
		lost = commits[len(commits)-1]
		return lost.Cause == domain.VerbStepTimeout
	})
	if lost.Actor != "engine" || lost.Time.Sub(claimed) < lease {
		t.Errorf("ended by %s %s after the claim", lost.Actor, lost.Time.Sub(claimed))
	}
	w.onTime("the lease", lost.Time.Sub(beating)-lease)
	st := w.session("s1").Step("a", "x")
	if st.Error == nil || st.Error.Code != "lease_expired" || string(st.Output) != `{"n":7}` {
		t.Errorf("%+v, output %s", st.Error, st.Output)
	}
	_, rejected := w.as("amber", "build", "s1", domain.VerbHeartbeat, `{"chain":"a","step":"x","attempt":1}`)
	if rejected == nil || rejected.Code != domain.CodeStaleAttempt {
		t.Errorf("a heartbeat without a lease: %+v", rejected)
	}
	if _, rejected := w.as("amber", "build", "s1", domain.VerbSucceed, `{"chain":"a","step":"x","attempt":1}`); rejected == nil || rejected.Code != domain.CodeStaleAttempt {
		t.Errorf("a result without a lease: %+v", rejected)
	}
	until(t, "the step is offered again", func() bool { return w.tasks()["s1/a/x"] == 2 })
}

func TestHeartbeatsKeepALease(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"}]}]}`)
	lease := brief(400 * time.Millisecond)
	w.must("amber", "build", "s1", domain.VerbClaim, fmt.Sprintf(`{"chain":"a","step":"x","lease":"%dms"}`, lease.Milliseconds()))
	beat := `{"chain":"a","step":"x","attempt":1,"progress":{"line":"working"}}`
	for end := time.Now().Add(2 * lease); time.Now().Before(end); pause(t.Context(), lease/8) {
		if r := w.must("amber", "build", "s1", domain.VerbHeartbeat, beat); r.State != domain.StateRunning {
			t.Errorf("the answer says %s", r.State)
		}
	}
	w.send("ann", "s1", domain.VerbPause, "")
	if r := w.must("amber", "build", "s1", domain.VerbHeartbeat, beat); r.State != domain.StatePaused {
		t.Errorf("the answer to a heartbeat of a paused session says %s", r.State)
	}
	w.must("amber", "build", "s1", domain.VerbSucceed, `{"chain":"a","step":"x","attempt":1}`)
	if s := w.session("s1"); s.Step("a", "x").Status != domain.StepStatusSuccess {
		t.Errorf("the step is %s", s.Step("a", "x").Status)
	}
	stream, err := w.js.Stream(t.Context(), contract.Default().LeaseStream())
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	if state.Msgs != 1 || state.LastSeq > 20 {
		t.Errorf("%d leases are kept, %d were written", state.Msgs, state.LastSeq)
	}
}

func TestWorkerLearnsOfCancel(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	for id, end := range map[string]domain.Verb{"s1": domain.VerbCancel, "s2": domain.VerbDelete} {
		w.begin("ann", id, `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"}]}]}`)
		w.must("amber", "build", id, domain.VerbClaim, `{"chain":"a","step":"x"}`)
		body := ""
		if end == domain.VerbDelete {
			body = `{"force":true}`
		}
		w.send("ann", id, end, body)
		_, rejected := w.as("amber", "build", id, domain.VerbHeartbeat, `{"chain":"a","step":"x","attempt":1}`)
		if rejected == nil || rejected.Code != domain.CodeStaleAttempt && rejected.Code != domain.CodeGone {
			t.Errorf("%s: %+v", end, rejected)
		}
	}
}

func TestLargeProgressIsCut(t *testing.T) {
	long := contract.Progress{Line: strings.Repeat("x", 2*maxProgress), Percent: 7, Output: json.RawMessage(`"` + strings.Repeat("y", maxProgress) + `"`)}
	raw, err := domain.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	cut := bounded(raw)
	var p contract.Progress
	if err := json.Unmarshal(cut, &p); err != nil || len(cut) > 2*maxSentence || p.Percent != 7 || p.Output != nil {
		t.Errorf("%d bytes of %d are kept: %v", len(cut), len(raw), err)
	}
}

func TestDeadlinesAreKept(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	timeout := fmt.Sprintf(`"timeout":"%dms"`, brief(500*time.Millisecond).Milliseconds())
	w.begin("ann", "attempt", fmt.Sprintf(buildOne, ","+timeout))
	w.must("amber", "build", "attempt", domain.VerbClaim, `{"chain":"a","step":"x"}`)
	w.must("amber", "build", "attempt", domain.VerbHeartbeat, `{"chain":"a","step":"x","attempt":1,"progress":{"line":"halfway"}}`)
	w.begin("ann", "manual", `{"chains":[{"id":"a","steps":[{"id":"x","manual":true,`+timeout+`,"retry":{"maxAttempts":2,"backoff":"100ms"}}]}]}`)
	w.begin("ann", "session", `{`+timeout+`,"chains":[{"id":"a","steps":[{"id":"x","action":"build"}]}]}`)
	w.must("amber", "build", "session", domain.VerbClaim, `{"chain":"a","step":"x"}`)
	due := map[string]time.Time{
		"attempt": w.session("attempt").Step("a", "x").Deadline,
		"session": w.session("session").Deadline,
	}
	for id, at := range due {
		w.onTime(id, w.lateness(id, "x", domain.StepStatusTimeout, at))
		if s := w.untilState(id, domain.StateFailed); s.Error == nil {
			t.Errorf("%s has no error", id)
		}
	}
	if st := w.session("attempt").Step("a", "x"); string(st.Output) != `"halfway"` || st.Error.Code != "timeout" {
		t.Errorf("output %s, error %+v", st.Output, st.Error)
	}
	s := w.untilState("manual", domain.StateFailed)
	if st := s.Step("a", "x"); st.Tries != 2 || st.Status != domain.StepStatusTimeout {
		t.Errorf("the manual step was tried %d times and is %s", st.Tries, st.Status)
	}
	// The clock of a session starts anew with a retry.
	w.send("ann", "session", domain.VerbStepRetry, `{"chain":"a","step":"x"}`)
	again := w.session("session").Deadline
	w.onTime("session, retried", w.untilFailedAgain("session").Sub(again))
}

// untilFailedAgain waits for the second session.failed and returns its time.
func (w *workshop) untilFailedAgain(id string) time.Time {
	w.t.Helper()
	var at time.Time
	until(w.t, id+" has failed again", func() bool {
		n := 0
		for _, c := range w.commits(id) {
			if c.State == domain.StateFailed && c.Cause == domain.VerbSessionTimeout {
				n, at = n+1, c.Time
			}
		}
		return n == 2
	})
	return at
}

// TestManyDeadlinesUnderLoad has many attempts time out while commands are
// answered.
func TestManyDeadlinesUnderLoad(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	const sessions = 200
	w.employ(4, "load")
	for i := range sessions {
		id := fmt.Sprintf("d%d", i)
		w.begin("ann", id, `{"chains":[{"id":"a","steps":[{"id":"x","action":"build","timeout":"700ms"}]}]}`)
		w.must("amber", "build", id, domain.VerbClaim, `{"chain":"a","step":"x"}`)
		w.begin("bob", id, `{"chains":[{"id":"a","steps":[{"action":"load"},{"action":"load"}]}]}`)
	}
	for i := range sessions {
		id := fmt.Sprintf("d%d", i)
		s := w.untilState(id, domain.StateFailed)
		w.onTime(id, s.EndedAt.Sub(s.Step("a", "x").StartedAt)-700*time.Millisecond)
	}
}

// TestEarlyHeartbeats are those that come before the claim was seen: they count
// for the attempt once, and however many come, few are remembered.
func TestEarlyHeartbeats(t *testing.T) {
	var early earlyBeats
	first := attemptID{key: eventstore.Key{User: "ann", Session: "s1"}, step: domain.StepRef{Chain: "a", Step: "x"}, attempt: 1}
	if beat := early.take(first); beat != "" {
		t.Errorf("before any: %q", beat)
	}
	early.note(first, "b1")
	early.note(first, "b2")
	if beat := early.take(first); beat != "b2" {
		t.Errorf("the last one is %q", beat)
	}
	if beat := early.take(first); beat != "" {
		t.Errorf("taken twice: %q", beat)
	}
	for n := range 3 * maxEarly {
		first.attempt = n
		early.note(first, "b")
	}
	if n := len(early.last); n > maxEarly {
		t.Errorf("%d are remembered", n)
	}
}

// TestAHeartbeatBeforeItsClaimIsKnown is one that the dispatcher hears first: once
// the claim is seen, it is not taken for one that another engine heard.
func TestAHeartbeatBeforeItsClaimIsKnown(t *testing.T) {
	d := newDispatcher(dispatchConfig{Clock: time.Now})
	d.work = newWorklist(0, 0)
	key, ref := eventstore.Key{User: "ann", Session: "s1"}, domain.StepRef{Chain: "a", Step: "x"}
	d.heard(attemptID{key, ref, 2}, "early", time.Now())
	session := &tracked{key: key, index: -1, flights: map[domain.StepRef]*flight{}}
	d.fly(session, ref, &domain.Step{ID: "x", Action: "build", Attempt: 2}, time.Now())
	if f := session.flights[ref]; f == nil || f.attempt != 2 || f.beat != "early" {
		t.Errorf("the flight is %+v", f)
	}
}
