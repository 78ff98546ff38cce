package domain_test

import (
	"testing"
	"time"

	"reprise/domain"
)

func wantTime(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if !got.Equal(want) {
		t.Fatalf("%s is %s, want %s", what, got, want)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		policy string
		jitter float64
		tries  int
		want   time.Duration
	}{
		{`{"maxAttempts":9}`, 0, 1, time.Second},
		{`{"maxAttempts":9}`, 0, 2, 2 * time.Second},
		{`{"maxAttempts":9}`, 0, 6, 32 * time.Second},
		{`{"maxAttempts":9}`, 0, 7, time.Minute},
		{`{"maxAttempts":9}`, 0.5, 1, 1100 * time.Millisecond},
		{`{"maxAttempts":9}`, 0.999, 7, 72*time.Second - 12*time.Millisecond},
		{`{"maxAttempts":9,"backoff":"10s","factor":3}`, 0, 2, 30 * time.Second},
		{`{"maxAttempts":9,"backoff":"10s","factor":1}`, 0, 5, 10 * time.Second},
		{`{"maxAttempts":9,"backoff":"10s","factor":1.5}`, 0, 3, 22500 * time.Millisecond},
		{`{"maxAttempts":9,"backoff":"10s","maxBackoff":"15s"}`, 0, 2, 15 * time.Second},
		{`{"maxAttempts":9,"backoff":"5m"}`, 0, 3, 5 * time.Minute},
		{`{"maxAttempts":1000,"factor":100,"maxBackoff":"3650d"}`, 0, 9, domain.MaxDuration},
	}
	for _, test := range tests {
		h := running(t, `{"chains":[{"id":"a","steps":[{"action":"work","retry":`+test.policy+`}]}]}`)
		h.jitter = test.jitter
		for range test.tries - 1 {
			h.act("claim a/1")
			h.act("fail a/1")
			h.pass(h.step("a", "1").NotBefore.Sub(h.now))
		}
		h.act("claim a/1")
		h.act("fail a/1")
		if got := h.step("a", "1").NotBefore.Sub(h.now); got != test.want {
			t.Errorf("%s, try %d, jitter %v: due after %s, want %s", test.policy, test.tries, test.jitter, got, test.want)
		}
		h.refuse(claim("a", "1"), domain.CodeIllegalTransition, "it is due at ")
		h.pass(test.want - 1)
		h.refuse(claim("a", "1"), domain.CodeIllegalTransition, "it is due at ")
		h.pass(1)
		h.act("claim a/1")
	}
}

func TestStepDeadline(t *testing.T) {
	t.Parallel()
	h := running(t, `{"chains":[{"id":"a","steps":[{"action":"work","timeout":"10s"}]}]}`)
	h.act("claim a/1")
	wantTime(t, "deadline", h.step("a", "1").Deadline, epoch.Add(10*time.Second))
	late := &domain.TimeoutStep{Chain: "a", Step: "1", Attempt: 1, Output: []byte(`{"half":1}`)}
	h.pass(10*time.Second - 1)
	h.refuse(late, domain.CodeIllegalTransition, "its deadline has not passed")
	h.act("pause")
	h.pass(1)
	h.want(late, "step.timedout a/1, chain.failed a, session.quiesced")
	st := h.step("a", "1")
	if st.Status != domain.StepStatusTimeout || st.Error.Code != "timeout" || string(st.Output) != `{"half":1}` ||
		st.Error.Message != "the step ran past its timeout of 10s" {
		t.Fatalf("the step is %+v, its error %+v", st, st.Error)
	}
	h.refuse(late, domain.CodeStaleAttempt, "attempt 1 of step")
	h.refuse(&domain.TimeoutStep{Chain: "a", Step: "9"}, domain.CodeNotFound, "no step")
}

func TestLostLeaseAndBadOutput(t *testing.T) {
	t.Parallel()
	h := running(t, oneStep)
	h.act("claim a/1")
	h.do(&domain.TimeoutStep{Chain: "a", Step: "1", Attempt: 1, Lease: true, Output: []byte("{")})
	st := h.step("a", "1")
	if st.Error.Code != "lease_expired" || st.Output != nil || st.Error.Message != `worker "w1" was silent for longer than its lease of 30s` {
		t.Fatalf("the step is %+v, its error %+v", st, st.Error)
	}
}

func TestSessionTimeoutStandsStill(t *testing.T) {
	t.Parallel()
	h := running(t, `{"timeout":"1m","chains":[{"id":"a","steps":[{"action":"work"},{"action":"work","waitsFor":[]}]}]}`)
	wantTime(t, "deadline", h.s.Deadline, epoch.Add(time.Minute))
	h.refuse(&domain.TimeoutSession{}, domain.CodeIllegalTransition, "its timeout has not passed")
	h.pass(20*time.Second + 300*time.Microsecond)
	h.act("pause")
	if h.s.Remaining.String() != "40s" || !h.s.Deadline.IsZero() { // rounded up to a millisecond
		t.Fatalf("%s left, deadline %s", h.s.Remaining, h.s.Deadline)
	}
	h.pass(time.Hour)
	h.act("resume")
	wantTime(t, "deadline after the pause", h.s.Deadline, h.now.Add(40*time.Second))
	h.act("claim a/1")
	h.pass(40 * time.Second)
	h.want(&domain.TimeoutSession{}, "step.timedout a/1, chain.failed a, session.failed")
	h.wantStatus("FAILED a:FAILED(1:TIMEOUT 2:PENDING)")
	if e := h.s.Error; e.Code != "session_timeout" || e.Chain != "" || e.Message != "the session ran past its timeout of 1m" {
		t.Fatalf("the session's error is %+v", e)
	}
	h.want(&domain.RetryStep{Chain: "a", Step: "1"}, "step.retried a/1, chain.started a, session.resumed")
	wantTime(t, "deadline after a timeout and a retry", h.s.Deadline, h.now.Add(time.Minute))
}

func TestPauseIsNoWayRoundATimeout(t *testing.T) {
	t.Parallel()
	h := running(t, `{"timeout":"1m","chains":[{"id":"a","steps":[{"action":"work"}]}]}`)
	h.pass(2 * time.Minute)
	h.act("pause")
	h.act("resume")
	wantTime(t, "deadline", h.s.Deadline, h.now.Add(time.Millisecond))
}

func TestFailedSessionKeepsWhatWasLeft(t *testing.T) {
	t.Parallel()
	h := running(t, `{"timeout":"1m","chains":[{"id":"a","steps":[{"action":"work"}]}]}`)
	h.act("claim a/1")
	h.pass(10 * time.Second)
	h.act("fail a/1")
	h.pass(time.Hour)
	h.act("skip a/1")
	h.wantStatus("COMPLETED a:COMPLETED(1:SKIPPED)")
	if h.s.Remaining.String() != "50s" || !h.s.Deadline.IsZero() {
		t.Fatalf("%s left, deadline %s", h.s.Remaining, h.s.Deadline)
	}
}

func TestSkipAfterSessionTimeout(t *testing.T) {
	t.Parallel()
	h := running(t, `{"timeout":"1m","chains":[{"id":"a","steps":[{"action":"work"},{"action":"work"}]}]}`)
	h.pass(time.Minute)
	h.want(&domain.TimeoutSession{}, "session.failed")
	h.want(&domain.SkipStep{Chain: "a", Step: "1"}, "step.skipped a/1, session.resumed")
}

func TestBackoffStandsStill(t *testing.T) {
	t.Parallel()
	plan := `{"chains":[{"id":"a","steps":[{"action":"work","retry":{"maxAttempts":9,"backoff":"10s","factor":1}},{"action":"work","waitsFor":[],"retry":{"maxAttempts":9,"backoff":"10s","factor":1}}]}]}`
	h := running(t, plan)
	h.act("claim a/1")
	h.act("claim a/2")
	h.act("fail a/1")
	h.pass(4 * time.Second)
	h.act("pause")
	h.pass(time.Hour)
	h.act("fail a/2") // while PAUSED: the whole backoff is left
	h.pass(time.Hour)
	h.act("resume")
	wantTime(t, "step 1", h.step("a", "1").NotBefore, h.now.Add(6*time.Second))
	wantTime(t, "step 2", h.step("a", "2").NotBefore, h.now.Add(10*time.Second))
	ready := h.s.Ready()
	if len(ready) != 2 || ready[0].Attempt != 2 || !ready[0].NotBefore.Equal(h.now.Add(6*time.Second)) || ready[0].Action != "work" {
		t.Fatalf("ready: %+v", ready)
	}
}

func TestManualStep(t *testing.T) {
	t.Parallel()
	h := begin(t, `{"chains":[{"id":"a","steps":[{"action":"work"},{"manual":true,"timeout":"10s"}]}]}`)
	h.refuse(&domain.SucceedManual{Chain: "a", Step: "2"}, domain.CodeIllegalTransition, "start it first")
	h.act("start")
	h.refuse(&domain.SucceedManual{Chain: "a", Step: "2"}, domain.CodeIllegalTransition, "it waits for step 1; step.succeed needs a manual step that is ready")
	h.refuse(&domain.SucceedManual{Chain: "a", Step: "1"}, domain.CodeIllegalTransition, "it is not manual")
	h.act("claim a/1")
	h.pass(time.Second)
	h.act("ok a/1")
	if len(h.s.Ready()) != 0 {
		t.Fatalf("a manual step is offered to workers: %v", h.s.Ready())
	}
	wantTime(t, "ready", h.step("a", "2").ReadyAt, epoch.Add(time.Second))
	wantTime(t, "deadline", h.step("a", "2").Deadline, epoch.Add(11*time.Second))
	h.want(decode(t, domain.VerbStepSucceed, `{"chain":"a","step":"2","output":"yes"}`), "step.succeeded a/2, chain.completed a, session.completed")
	if st := h.step("a", "2"); st.Attempt != 1 || string(st.Output) != `"yes"` || !st.Deadline.IsZero() {
		t.Fatalf("the step is %+v", st)
	}
}

func TestManualClock(t *testing.T) {
	t.Parallel()
	h := running(t, `{"chains":[{"id":"a","steps":[{"manual":true,"timeout":"10s","retry":{"maxAttempts":2,"backoff":"3s"}},{"action":"work","waitsFor":[]}]}]}`)
	h.pass(4 * time.Second)
	h.act("pause")
	late := &domain.TimeoutStep{Chain: "a", Step: "1"}
	h.pass(time.Hour)
	h.refuse(late, domain.CodeStaleAttempt, "attempt 0 of step")
	h.act("resume")
	wantTime(t, "deadline after the pause", h.step("a", "1").Deadline, h.now.Add(6*time.Second))
	h.refuse(late, domain.CodeIllegalTransition, "its deadline has not passed")
	h.pass(6 * time.Second)
	h.want(late, "chain.started a, step.timedout a/1")
	if e := h.step("a", "1").Error; e.Message != "nobody completed the step within its timeout of 10s" || e.Attempt != 1 {
		t.Fatalf("the error is %+v", e)
	}
	wantTime(t, "ready after the backoff", h.step("a", "1").ReadyAt, h.now.Add(3*time.Second))
	wantTime(t, "deadline after the backoff", h.step("a", "1").Deadline, h.now.Add(13*time.Second))
	h.refuse(&domain.SucceedManual{Chain: "a", Step: "1"}, domain.CodeIllegalTransition, "it is due at")
	h.act("pause")
	h.pass(time.Hour)
	h.refuse(&domain.SucceedManual{Chain: "a", Step: "1"}, domain.CodeIllegalTransition, "it is due at")
	h.act("resume")
	wantTime(t, "ready after backoff and pause", h.step("a", "1").ReadyAt, h.now.Add(3*time.Second))
	h.pass(3 * time.Second)
	h.act("claim a/2")
	h.act("fail a/2")
	if st := h.step("a", "1"); !st.Deadline.IsZero() || len(h.s.Timers()) != 0 {
		t.Fatalf("the clock of a step in a FAILED session runs: %+v", st)
	}
	h.pass(time.Hour)
	h.act("retry a/2")
	wantTime(t, "deadline after the retry", h.step("a", "1").Deadline, h.now.Add(10*time.Second))
	h.want(&domain.FailManual{Chain: "a", Step: "1", Error: domain.ReportError{Message: "no"}}, "step.failed a/1, chain.failed a, session.failed")
}

func TestTimers(t *testing.T) {
	t.Parallel()
	h := running(t, `{"timeout":"1h","chains":[{"id":"a","steps":[{"manual":true,"timeout":"10s"},{"action":"work","waitsFor":[],"timeout":"20s"},{"action":"work","waitsFor":[]}]}]}`)
	h.act("claim a/2")
	want := []domain.Timer{
		{At: epoch.Add(time.Hour)},
		{At: epoch.Add(10 * time.Second), Step: domain.StepRef{Chain: "a", Step: "1"}},
		{At: epoch.Add(20 * time.Second), Step: domain.StepRef{Chain: "a", Step: "2"}, Attempt: 1},
	}
	got := h.s.Timers()
	if len(got) != len(want) {
		t.Fatalf("timers: %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("timer %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	h.act("pause")
	if got := h.s.Timers(); len(got) != 1 || got[0] != want[2] {
		t.Fatalf("timers while PAUSED: %+v", got)
	}
}

func TestTimeNeverRunsBackwards(t *testing.T) {
	t.Parallel()
	h := running(t, oneStep)
	h.now = epoch.Add(-time.Hour).In(time.FixedZone("east", 3600))
	h.act("claim a/1")
	wantTime(t, "the commit", h.commits[2].Time, epoch)
	if got := h.commits[2].Time.Location(); got != time.UTC {
		t.Fatalf("the commit's time is in %s", got)
	}
}

func TestBlocker(t *testing.T) {
	t.Parallel()
	h := begin(t, waiting)
	check := func(chain, step, want string) {
		t.Helper()
		if got := h.s.Blocker(chain, step, h.now); got != want {
			t.Fatalf("blocker %q, want %q", got, want)
		}
	}
	check("a", "1", "the session is PENDING")
	h.act("start")
	check("a", "1", "")
	check("b", "1", "its chain waits for chain a")
	check("x", "1", `there is no chain "x"`)
	check("a", "9", `there is no step "9" in chain "a"`)
	h.act("pause")
	check("a", "1", "the session is PAUSED")
	h.act("resume")
	h.act("claim a/1")
	check("a", "1", "the step is RUNNING")
	h.act("fail a/1")
	check("b", "1", "the session is FAILED")
	h = running(t, `{"onFailure":"continue","chains":[{"id":"a","steps":[{"action":"work"},{"action":"work","waitsFor":[]}]},{"id":"b","steps":[{"action":"work"}]},{"id":"c","waitsFor":["a","b"],"steps":[{"action":"work"}]}]}`)
	h.act("claim a/1")
	h.act("fail a/1")
	check("a", "2", "its chain is FAILED")
	check("c", "1", "its chain waits for chains a, b")
}
