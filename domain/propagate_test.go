package domain_test

import (
	"strings"
	"testing"

	"reprise/domain"
)

// act runs one word of a script: "claim a/1", "ok a/1", "fail a/1", "release
// a/1", "skip a/1", "retry a/1", "done a/1", "remove a", "close a", or a verb
// of the session.
func (h *story) act(word string) string {
	h.t.Helper()
	verb, target, _ := strings.Cut(word, " ")
	chain, step, _ := strings.Cut(target, "/")
	switch verb {
	case "claim":
		return h.do(claim(chain, step))
	case "ok":
		return h.succeed(chain, step)
	case "next":
		return h.do(&domain.Succeed{Chain: chain, Step: step, Attempt: h.attempt(chain, step), Worker: "w1", Action: "work", ClaimNext: true})
	case "fail":
		return h.fail(chain, step)
	case "give-up":
		no, c := false, h.failure(chain, step)
		c.Error.Retryable = &no
		return h.do(c)
	case "release":
		return h.do(&domain.Release{Chain: chain, Step: step, Attempt: h.attempt(chain, step), Worker: "w1", Action: "work"})
	case "lost":
		return h.do(&domain.TimeoutStep{Chain: chain, Step: step, Attempt: h.attempt(chain, step), Lease: true})
	case "skip":
		return h.do(&domain.SkipStep{Chain: chain, Step: step})
	case "retry":
		return h.do(&domain.RetryStep{Chain: chain, Step: step})
	case "done":
		return h.do(&domain.SucceedManual{Chain: chain, Step: step})
	case "remove":
		return h.do(&domain.RemoveChain{Chain: chain})
	case "close":
		return h.do(&domain.CloseChain{Chain: chain})
	case "interrupt":
		return h.do(&domain.Pause{Mode: domain.PauseInterrupt})
	}
	return h.do(decode(h.t, domain.Verb(verb), ""))
}

const (
	oneStep   = `{"chains":[{"id":"a","steps":[{"action":"work"}]}]}`
	twoSteps  = `{"chains":[{"id":"a","steps":[{"action":"work"},{"action":"work"}]}]}`
	parallel  = `{"chains":[{"id":"a","steps":[{"action":"work"},{"action":"work","waitsFor":[]},{"action":"work","waitsFor":["1","2"]}]}]}`
	sideways  = `{"chains":[{"id":"a","steps":[{"action":"work"}]},{"id":"b","steps":[{"action":"work"}]}]}`
	onward    = `{"onFailure":"continue","chains":[{"id":"a","steps":[{"action":"work"}]},{"id":"b","steps":[{"action":"work"}]},{"id":"c","waitsFor":["a"],"steps":[{"action":"work"}]},{"id":"d","waitsFor":["c"],"steps":[{"action":"work"}]}]}`
	waiting   = `{"chains":[{"id":"a","steps":[{"action":"work"}]},{"id":"b","waitsFor":["a"],"steps":[{"action":"work"}]}]}`
	retrying  = `{"chains":[{"id":"a","steps":[{"action":"work","retry":{"maxAttempts":2}},{"action":"work","waitsFor":[]}]}]}`
	openChain = `{"chains":[{"id":"a","open":true,"steps":[{"action":"work"}]}]}`
	emptyOpen = `{"chains":[{"id":"a","steps":[{"action":"work"}]},{"id":"b","open":true}]}`
	kept      = `{"keepOpen":true,"chains":[{"id":"a","steps":[{"action":"work"}]}]}`
)

// TestPropagation runs scripts on a RUNNING session and compares the events of
// the last command and the state after it.
func TestPropagation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, definition, script, events, status string
	}{
		{
			"the last step completes chain and session", oneStep, "claim a/1; ok a/1",
			"step.succeeded a/1, chain.completed a, session.completed", "COMPLETED a:COMPLETED(1:SUCCESS)",
		},
		{
			"a step that is not the last one", twoSteps, "claim a/1; ok a/1",
			"step.succeeded a/1", "RUNNING a:RUNNING(1:SUCCESS 2:PENDING)",
		},
		{
			"claimNext takes the next step", twoSteps, "claim a/1; next a/1",
			"step.succeeded a/1, step.started a/2", "RUNNING a:RUNNING(1:SUCCESS 2:RUNNING)",
		},
		{
			"claimNext of the last step", oneStep, "claim a/1; next a/1",
			"step.succeeded a/1, chain.completed a, session.completed", "COMPLETED a:COMPLETED(1:SUCCESS)",
		},
		{
			"claimNext while PAUSED takes nothing", twoSteps, "claim a/1; pause; next a/1",
			"step.succeeded a/1, session.quiesced", "PAUSED a:RUNNING(1:SUCCESS 2:PENDING)",
		},
		{
			"claimNext takes nothing of a FAILED chain", parallel, "claim a/1; claim a/2; fail a/2; next a/1",
			"step.succeeded a/1", "FAILED a:FAILED(1:SUCCESS 2:FAILED 3:PENDING)",
		},
		{
			"chains that were waited for", waiting, "claim a/1; ok a/1",
			"step.succeeded a/1, chain.completed a", "RUNNING a:COMPLETED(1:SUCCESS) b:PENDING(1:PENDING)",
		},
		{
			"a skipped chain completes when what it waits for does", waiting, "skip b/1; claim a/1; ok a/1",
			"step.succeeded a/1, chain.completed a, chain.completed b, session.completed", "COMPLETED a:COMPLETED(1:SUCCESS) b:COMPLETED(1:SKIPPED)",
		},
		{
			"a skipped chain waits for its turn", waiting, "skip b/1",
			"step.skipped b/1", "RUNNING a:PENDING(1:PENDING) b:PENDING(1:SKIPPED)",
		},
		{
			"stop: the first failure ends the session", sideways, "claim a/1; fail a/1",
			"step.failed a/1, chain.failed a, session.failed", "FAILED a:FAILED(1:FAILED) b:PENDING(1:PENDING)",
		},
		{
			"stop: what is in flight is recorded", sideways, "claim a/1; claim b/1; fail a/1; ok b/1",
			"step.succeeded b/1, chain.completed b", "FAILED a:FAILED(1:FAILED) b:COMPLETED(1:SUCCESS)",
		},
		{
			"stop: a second failure changes no outcome", sideways, "claim a/1; claim b/1; fail a/1; fail b/1",
			"step.failed b/1, chain.failed b", "FAILED a:FAILED(1:FAILED) b:FAILED(1:FAILED)",
		},
		{
			"stop: tries left in a FAILED session", retrying, "claim a/1; claim a/2; fail a/2; fail a/1",
			"step.failed a/1", "FAILED a:FAILED(1:PENDING 2:FAILED)",
		},
		{
			"tries left", retrying, "claim a/1; fail a/1",
			"step.failed a/1", "RUNNING a:RUNNING(1:PENDING 2:PENDING)",
		},
		{
			"retryable false ends the tries", retrying, "claim a/1; give-up a/1",
			"step.failed a/1, chain.failed a, session.failed", "FAILED a:FAILED(1:FAILED 2:PENDING)",
		},
		{
			"a lost lease counts as a try", retrying, "claim a/1; lost a/1",
			"step.timedout a/1", "RUNNING a:RUNNING(1:PENDING 2:PENDING)",
		},
		{
			"a lost lease without a policy", oneStep, "claim a/1; lost a/1",
			"step.timedout a/1, chain.failed a, session.failed", "FAILED a:FAILED(1:TIMEOUT)",
		},
		{
			"continue: other chains go on", onward, "claim a/1; fail a/1",
			"step.failed a/1, chain.failed a", "RUNNING a:FAILED(1:FAILED) b:PENDING(1:PENDING) c:PENDING(1:PENDING) d:PENDING(1:PENDING)",
		},
		{
			"continue: FAILED when only blocked chains are left", onward, "claim a/1; fail a/1; claim b/1; ok b/1",
			"step.succeeded b/1, chain.completed b, session.failed", "FAILED a:FAILED(1:FAILED) b:COMPLETED(1:SUCCESS) c:PENDING(1:PENDING) d:PENDING(1:PENDING)",
		},
		{
			"continue: not FAILED while something is in flight", onward, "claim b/1; claim a/1; fail a/1",
			"step.failed a/1, chain.failed a", "RUNNING a:FAILED(1:FAILED) b:RUNNING(1:RUNNING) c:PENDING(1:PENDING) d:PENDING(1:PENDING)",
		},
		{
			"continue: removing the last chain that could move", onward, "claim a/1; fail a/1; remove b",
			"chain.removed b, session.failed", "FAILED a:FAILED(1:FAILED) c:PENDING(1:PENDING) d:PENDING(1:PENDING)",
		},
		{
			"continue: skipping the last chain that could move", onward, "claim a/1; fail a/1; skip b/1",
			"step.skipped b/1, chain.completed b, session.failed", "FAILED a:FAILED(1:FAILED) b:COMPLETED(1:SKIPPED) c:PENDING(1:PENDING) d:PENDING(1:PENDING)",
		},
		{
			"continue: a skip unblocks", onward, "claim a/1; fail a/1; skip a/1",
			"step.skipped a/1, chain.completed a", "RUNNING a:COMPLETED(1:SKIPPED) b:PENDING(1:PENDING) c:PENDING(1:PENDING) d:PENDING(1:PENDING)",
		},
		{
			"a parallel step of a FAILED chain reports", parallel, "claim a/1; claim a/2; fail a/1; ok a/2",
			"step.succeeded a/2", "FAILED a:FAILED(1:FAILED 2:SUCCESS 3:PENDING)",
		},
		{
			"a join waits for both", parallel, "claim a/1; claim a/2; ok a/1; next a/2",
			"step.succeeded a/2, step.started a/3", "RUNNING a:RUNNING(1:SUCCESS 2:SUCCESS 3:RUNNING)",
		},
		{
			"retry with another failure in the chain", parallel, "claim a/1; claim a/2; fail a/1; fail a/2; retry a/1",
			"step.retried a/1, chain.started a, session.resumed", "RUNNING a:RUNNING(1:PENDING 2:FAILED 3:PENDING)",
		},
		{
			"the retried step is done, the other failure remains", parallel, "claim a/1; claim a/2; fail a/1; fail a/2; retry a/1; claim a/1; ok a/1",
			"step.succeeded a/1, chain.failed a, session.failed", "FAILED a:FAILED(1:SUCCESS 2:FAILED 3:PENDING)",
		},
		{
			"retry with a failure in another chain", sideways, "claim a/1; claim b/1; fail a/1; fail b/1; retry b/1; claim b/1; ok b/1",
			"step.succeeded b/1, chain.completed b, session.failed", "FAILED a:FAILED(1:FAILED) b:COMPLETED(1:SUCCESS)",
		},
		{
			"retry fails again", oneStep, "claim a/1; fail a/1; retry a/1; claim a/1; fail a/1",
			"step.failed a/1, chain.failed a, session.failed", "FAILED a:FAILED(1:FAILED)",
		},
		{
			"retry while PAUSED takes the outcome back", oneStep, "claim a/1; pause; fail a/1; retry a/1; resume",
			"session.resumed", "RUNNING a:RUNNING(1:PENDING)",
		},
		{
			"skip of the failed step of two", twoSteps, "claim a/1; fail a/1; skip a/1",
			"step.skipped a/1, chain.started a, session.resumed", "RUNNING a:RUNNING(1:SKIPPED 2:PENDING)",
		},
		{
			"skip of the last failed step", oneStep, "claim a/1; fail a/1; skip a/1",
			"step.skipped a/1, chain.completed a, session.completed", "COMPLETED a:COMPLETED(1:SKIPPED)",
		},
		{
			"skip with another failure remaining", sideways, "claim a/1; claim b/1; fail a/1; fail b/1; skip a/1",
			"step.skipped a/1, chain.completed a", "FAILED a:COMPLETED(1:SKIPPED) b:FAILED(1:FAILED)",
		},
		{
			"removing the failed chain", sideways, "claim a/1; fail a/1; remove a",
			"chain.removed a, session.resumed", "RUNNING b:PENDING(1:PENDING)",
		},
		{
			"removing the only unfinished chain", sideways, "claim a/1; ok a/1; remove b",
			"chain.removed b, session.completed", "COMPLETED a:COMPLETED(1:SUCCESS)",
		},
		{
			"pause with everything done meanwhile", oneStep, "claim a/1; pause; ok a/1; resume",
			"session.resumed, session.completed", "COMPLETED a:COMPLETED(1:SUCCESS)",
		},
		{
			"pause with a failure meanwhile", sideways, "claim a/1; pause; fail a/1; resume",
			"session.resumed, session.failed", "FAILED a:FAILED(1:FAILED) b:PENDING(1:PENDING)",
		},
		{
			"continue: pause with the last failure meanwhile", onward, "skip b/1; claim a/1; pause; fail a/1; resume",
			"session.resumed, session.failed", "FAILED a:FAILED(1:FAILED) b:COMPLETED(1:SKIPPED) c:PENDING(1:PENDING) d:PENDING(1:PENDING)",
		},
		{
			"quiesced follows the last attempt", sideways, "claim a/1; claim b/1; pause; ok a/1",
			"step.succeeded a/1, chain.completed a", "PAUSED a:COMPLETED(1:SUCCESS) b:RUNNING(1:RUNNING)",
		},
		{
			"quiesced by a release", sideways, "claim a/1; pause; release a/1",
			"step.released a/1, session.quiesced", "PAUSED a:RUNNING(1:PENDING) b:PENDING(1:PENDING)",
		},
		{
			"interrupt takes everything back", sideways, "claim a/1; claim b/1; interrupt",
			"session.paused, step.released a/1, step.released b/1, session.quiesced", "PAUSED a:RUNNING(1:PENDING) b:RUNNING(1:PENDING)",
		},
		{
			"an open chain waits for more", openChain, "claim a/1; ok a/1",
			"step.succeeded a/1", "RUNNING a:RUNNING(1:SUCCESS)",
		},
		{
			"closing it completes", openChain, "claim a/1; ok a/1; close a",
			"chain.closed a, chain.completed a, session.completed", "COMPLETED a:COMPLETED(1:SUCCESS)",
		},
		{
			"closing an empty chain completes it at once", emptyOpen, "close b",
			"chain.closed b, chain.completed b", "RUNNING a:PENDING(1:PENDING) b:COMPLETED()",
		},
		{
			"keepOpen waits for complete", kept, "claim a/1; ok a/1",
			"step.succeeded a/1, chain.completed a", "RUNNING a:COMPLETED(1:SUCCESS)",
		},
		{"complete", kept, "claim a/1; ok a/1; complete", "session.completed", "COMPLETED a:COMPLETED(1:SUCCESS)"},
		{"keepOpen may lose its last chain", kept, "remove a", "chain.removed a", "RUNNING"},
		{"keepOpen fails too", kept, "claim a/1; fail a/1", "step.failed a/1, chain.failed a, session.failed", "FAILED a:FAILED(1:FAILED)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := running(t, test.definition)
			events := ""
			for word := range strings.SplitSeq(test.script, "; ") {
				events = h.act(word)
			}
			if events != test.events {
				t.Errorf("events\n got %s\nwant %s", events, test.events)
			}
			h.wantStatus(test.status)
		})
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	h := begin(t, `{"chains":[{"id":"a","open":true}]}`)
	h.refuse(&domain.Start{}, domain.CodeIllegalTransition, "start needs at least one step, or keepOpen")
	h = begin(t, `{"keepOpen":true}`)
	h.want(&domain.Start{}, "session.started")
	h = begin(t, sideways)
	h.act("skip a/1")
	h.act("skip b/1")
	h.want(&domain.Start{}, "session.started, chain.completed a, chain.completed b, session.completed")
}

func TestErrorIsTheFirstThatDecided(t *testing.T) {
	t.Parallel()
	h := running(t, sideways)
	for _, word := range []string{"claim a/1", "claim b/1", "fail b/1", "fail a/1"} {
		h.act(word)
	}
	e := h.s.Error
	if e == nil || e.Chain != "b" || e.Step != "1" || e.Attempt != 1 || e.Worker != "w1" || e.Code != "boom" ||
		e.Message != "1 broke" || e.Stack != "main.go:1" || !e.Time.Equal(epoch) {
		t.Fatalf("the session's error is %+v", e)
	}
	if got := h.step("a", "1").Error; got == nil || got.Chain != "a" {
		t.Fatalf("the later failure is %+v", got)
	}
	h.act("retry b/1")
	if h.s.Error != nil || h.step("b", "1").Error == nil {
		t.Fatalf("after a retry the session's error is %+v, the step's %+v", h.s.Error, h.step("b", "1").Error)
	}
	h.act("claim b/1")
	h.act("ok b/1")
	if h.s.Error == nil || h.s.Error.Chain != "a" || h.step("b", "1").Error != nil {
		t.Fatalf("after the retry succeeded the session's error is %+v", h.s.Error)
	}
}

func TestSkipKeepsErrorAndTakesOutput(t *testing.T) {
	t.Parallel()
	h := running(t, twoSteps)
	h.act("claim a/1")
	h.act("fail a/1")
	h.do(decode(t, domain.VerbStepSkip, `{"chain":"a","step":"1","output":{"n": 1},"reason":"by hand"}`))
	if st := h.step("a", "1"); st.Error == nil || string(st.Output) != `{"n":1}` {
		t.Fatalf("skipped step: %+v", st)
	}
}

func TestAttemptsAndTries(t *testing.T) {
	t.Parallel()
	h := running(t, retrying)
	check := func(attempt, tries int) {
		t.Helper()
		if st := h.step("a", "1"); st.Attempt != attempt || st.Tries != tries {
			t.Fatalf("attempt %d, tries %d; want %d and %d", st.Attempt, st.Tries, attempt, tries)
		}
	}
	h.act("claim a/1")
	h.act("release a/1")
	check(1, 0)
	h.act("claim a/1")
	h.act("fail a/1")
	check(2, 1)
	h.pass(domain.DefaultBackoff.Std())
	h.act("claim a/1")
	h.act("fail a/1")
	check(3, 2)
	h.wantStatus("FAILED a:FAILED(1:FAILED 2:PENDING)")
	h.act("retry a/1")
	check(3, 0)
	h.act("claim a/1")
	h.act("interrupt")
	check(4, 0)
	h.refuse(&domain.Succeed{Chain: "a", Step: "1", Attempt: 4, Worker: "w1", Action: "work"}, domain.CodeStaleAttempt, "the step is PENDING; stop working on it")
}

func TestClaimNextServesItsActions(t *testing.T) {
	t.Parallel()
	plan := `{"chains":[{"id":"a","steps":[{"action":"work"},{"action":"other","waitsFor":["1"]},{"action":"third","waitsFor":["1"]}]}]}`
	h := running(t, plan)
	h.act("claim a/1")
	h.want(&domain.Succeed{
		Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work",
		ClaimNext: true, Actions: []string{"third"}, Lease: domain.Duration(5e9),
	}, "step.succeeded a/1, step.started a/3")
	if got := h.last.Claimed; got == nil || *got != (domain.StepRef{Chain: "a", Step: "3"}) {
		t.Fatalf("claimed %v", got)
	}
	if st := h.step("a", "3"); st.Lease.String() != "5s" || st.Worker != "w1" || st.Attempt != 1 {
		t.Fatalf("the next step is %+v", st)
	}
}

func TestWorkersReportOnTheirOwn(t *testing.T) {
	t.Parallel()
	h := running(t, `{"chains":[{"id":"a","steps":[{"action":"work"},{"manual":true,"waitsFor":[]}]}]}`)
	h.refuse(&domain.Claim{Chain: "a", Step: "1", Worker: "w1", Action: "other"}, domain.CodeNotAllowed, `its action is "work", not "other"`)
	h.refuse(claim("a", "2"), domain.CodeIllegalTransition, "it is manual")
	h.refuse(claim("a", "9"), domain.CodeNotFound, `chain "a" of session "s1" has no step "9"`)
	h.refuse(claim("b", "1"), domain.CodeNotFound, `session "s1" has no chain "b"`)
	h.refuse(claim("a", ""), domain.CodeInvalid, "which step?")
	h.refuse(claim("", "1"), domain.CodeInvalid, "which chain?")
	h.refuse(&domain.Claim{Chain: "a", Step: "1", Action: "work", Lease: -1}, domain.CodeInvalid, "lease: ")
	h.do(claim("a", "1"))
	if got := h.step("a", "1").Lease.String(); got != "30s" {
		t.Fatalf("the default lease is %s", got)
	}
	stale := func(c domain.Command, words string) { t.Helper(); h.refuse(c, domain.CodeStaleAttempt, words) }
	stale(&domain.Succeed{Chain: "a", Step: "1", Attempt: 1, Worker: "w2", Action: "work"}, "another worker has it")
	stale(&domain.Succeed{Chain: "a", Step: "1", Attempt: 2, Worker: "w1", Action: "work"}, "attempt 1 is in flight")
	stale(&domain.Fail{Chain: "x", Step: "1", Attempt: 1, Worker: "w1", Action: "work"}, "there is no such step")
	h.refuse(&domain.Release{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "other"}, domain.CodeNotAllowed, "report under its own action")
	h.refuse(&domain.Succeed{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work", Output: []byte("{")}, domain.CodeInvalid, "output: it is not JSON")
	h.refuse(&domain.Succeed{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work", Lease: -1}, domain.CodeInvalid, "lease: ")
	h.want(&domain.Heartbeat{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work"}, "")
	for _, e := range []struct {
		report domain.ReportError
		words  string
	}{
		{domain.ReportError{}, "error.message: say what went wrong"},
		{domain.ReportError{Message: strings.Repeat("x", domain.MaxErrorMessage+1)}, "error.message: 4097 bytes are too many"},
		{domain.ReportError{Message: "x", Stack: strings.Repeat("x", domain.MaxErrorStack+1)}, "error.stack: 65537 bytes are too many"},
		{domain.ReportError{Message: "x", Code: "a b"}, `error.code: "a b" is no id`},
	} {
		h.refuse(&domain.Fail{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work", Error: e.report}, domain.CodeInvalid, e.words)
		h.refuse(&domain.FailManual{Chain: "a", Step: "2", Error: e.report}, domain.CodeInvalid, e.words)
	}
	h.refuse(&domain.Fail{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work", Error: domain.ReportError{Message: "x"}, Output: []byte("\"\xff\"")}, domain.CodeInvalid, "output: it is not JSON")
	h.refuse(&domain.SucceedManual{Chain: "a", Step: "2", Output: []byte("x")}, domain.CodeInvalid, "output: it is not JSON")
}
