package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reprise/domain"
	"reprise/worker"
	"reprise/worker/workertest"
)

// commands returns the distinct command ids of calls.
func commands(calls []workertest.Call) map[string]int {
	ids := map[string]int{}
	for _, c := range calls {
		ids[c.Command]++
	}
	return ids
}

func TestLostAnswersDoubleNothing(t *testing.T) {
	tests := []struct {
		name   string
		faults []workertest.Fault
		verb   domain.Verb
	}{
		{"lost claim", []workertest.Fault{{Verb: domain.VerbClaim, Times: 2, Lose: true}}, domain.VerbClaim},
		{"lost answer to a claim", []workertest.Fault{{Verb: domain.VerbClaim, Times: 2, LoseAnswer: true}}, domain.VerbClaim},
		{"claim in doubt, then busy", []workertest.Fault{
			{Verb: domain.VerbClaim, Times: 1, LoseAnswer: true}, {Verb: domain.VerbClaim, Times: 1, Code: domain.CodeBusy},
		}, domain.VerbClaim},
		{"unreadable answer to a claim", []workertest.Fault{{Verb: domain.VerbClaim, Times: 1, Garbage: true}}, domain.VerbClaim},
		{"lost result", []workertest.Fault{{Verb: domain.VerbSucceed, Times: 2, Lose: true}}, domain.VerbSucceed},
		{"lost answer to a result", []workertest.Fault{{Verb: domain.VerbSucceed, Times: 2, LoseAnswer: true}}, domain.VerbSucceed},
		{"busy at the result", []workertest.Fault{{Verb: domain.VerbSucceed, Times: 2, Code: domain.CodeBusy, RetryAfter: time.Millisecond}}, domain.VerbSucceed},
		{"unavailable at the result", []workertest.Fault{{Verb: domain.VerbSucceed, Times: 2, Code: domain.CodeUnavailable}}, domain.VerbSucceed},
		{"outcome unknown at the result", []workertest.Fault{{Verb: domain.VerbSucceed, Times: 2, Code: domain.CodeUnknownOutcome}}, domain.VerbSucceed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			w := s.worker(curt())
			c := newCounter()
			w.Handle("build", c.handle)
			for _, f := range test.faults {
				s.Inject(f)
			}
			s.Create("ann", "s", `{"chains":[{"id":"c","steps":[{"id":"a","action":"build"},{"id":"b","action":"build"}]}]}`)
			s.run()
			s.UntilState("ann", "s", domain.StateCompleted)
			s.drained()
			for _, key := range []string{"s/c/a", "s/c/b"} {
				if n := c.times(t, key); n != 1 {
					t.Errorf("%s ran %d times", key, n)
				}
			}
			calls := s.Calls(test.verb)
			if len(calls) <= len(commands(calls)) {
				t.Errorf("%d calls with %d ids: nothing was repeated", len(calls), len(commands(calls)))
			}
			if want := map[domain.Verb]int{domain.VerbClaim: 1, domain.VerbSucceed: 2}[test.verb]; len(commands(calls)) != want {
				t.Errorf("%d ids, want %d", len(commands(calls)), want)
			}
		})
	}
}

func TestBusyClaimGoesBackToTheStream(t *testing.T) {
	for _, code := range []domain.Code{domain.CodeBusy, domain.CodeUnavailable} {
		t.Run(string(code), func(t *testing.T) {
			s := newSite(t)
			s.worker(brisk()).Handle("build", newCounter().handle)
			s.Inject(workertest.Fault{Verb: domain.VerbClaim, Times: 1, Code: code, RetryAfter: time.Second})
			s.Create("ann", "s", one)
			s.run()
			s.UntilState("ann", "s", domain.StateCompleted)
			if n := len(commands(s.Calls(domain.VerbClaim))); n != 2 {
				t.Errorf("%d claims, want 2", n)
			}
		})
	}
}

func TestDuplicateDeliveries(t *testing.T) {
	s := newSite(t)
	s.AckWait = 10 * time.Millisecond // the server offers again while claims take longer
	w := s.worker(curt())
	c := newCounter()
	w.Handle("build", c.handle)
	s.Inject(workertest.Fault{Verb: domain.VerbClaim, Times: 8, LoseAnswer: true})
	for i := range 10 {
		s.Create("ann", fmt.Sprintf("s%d", i), one)
	}
	s.run()
	for i := range 10 {
		id := fmt.Sprintf("s%d", i)
		s.UntilState("ann", id, domain.StateCompleted)
		if n := c.times(t, id+"/c/s"); n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	s.drained()
}

func TestTakenAway(t *testing.T) {
	tests := []struct {
		name string
		do   func(*site)
		want error
	}{
		{"cancel", func(s *site) { s.Command("ann", "s", domain.VerbCancel, "") }, worker.ErrCancelled},
		{"delete", func(s *site) { s.Command("ann", "s", domain.VerbDelete, `{"force":true}`) }, worker.ErrCancelled},
		{"interrupt", func(s *site) { s.Command("ann", "s", domain.VerbPause, `{"mode":"interrupt"}`) }, worker.ErrInterrupted},
		{"lease", func(s *site) { s.Expire("ann", "s", "c", "s") }, worker.ErrLeaseLost},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			h := newHanging()
			s.worker(brisk()).Handle("build", h.handle)
			s.Create("ann", "s", one)
			s.run()
			task := receive(t, h.started)
			test.do(s)
			task.Progress("go and see")
			if cause := receive(t, h.causes); !errors.Is(cause, test.want) {
				t.Errorf("cause %v, want %v", cause, test.want)
			}
			s.drained()
			for _, verb := range []domain.Verb{domain.VerbSucceed, domain.VerbFail, domain.VerbRelease} {
				if calls := s.Calls(verb); len(calls) > 0 {
					t.Errorf("%s was reported", verb)
				}
			}
		})
	}
}

func TestLateReportChangesNothing(t *testing.T) {
	s := newSite(t)
	started, finish := make(chan struct{}), make(chan struct{})
	s.worker(brisk()).Handle("build", func(context.Context, *worker.Task) (any, error) {
		close(started)
		receive(t, finish)
		return "late", nil
	})
	s.Create("ann", "s", one)
	s.run()
	receive(t, started)
	s.Expire("ann", "s", "c", "s")
	close(finish)
	calls := s.UntilCalls(domain.VerbSucceed, 1)
	s.drained()
	if calls[0].Code != domain.CodeStaleAttempt {
		t.Errorf("code %q", calls[0].Code)
	}
	if st := s.Step("ann", "s", "c", "s"); st.Status != domain.StepStatusTimeout || st.Output != nil {
		t.Errorf("step %+v", st)
	}
}

func TestSilentEngineLosesTheLease(t *testing.T) {
	s := newSite(t)
	h := newHanging()
	cfg := curt()
	cfg.Lease = 3 * time.Second
	s.worker(cfg).Handle("build", h.handle)
	s.Create("ann", "s", one)
	s.Inject(workertest.Fault{Verb: domain.VerbHeartbeat, Lose: true})
	s.run()
	receive(t, h.started)
	if cause := receive(t, h.causes); !errors.Is(cause, worker.ErrLeaseLost) {
		t.Errorf("cause %v", cause)
	}
	s.UntilCalls(domain.VerbRelease, 1)
	s.Mend()
	s.Until("ann", "s", "a second attempt", func(s *domain.Session) bool { return s.Step("c", "s").Attempt >= 2 })
}

func TestEngineGoesAwayAndComesBack(t *testing.T) {
	s := newSite(t)
	started, finish := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	s.worker(curt()).Handle("build", func(context.Context, *worker.Task) (any, error) {
		if !once.Swap(true) {
			close(started)
			receive(t, finish)
		}
		return "done", nil
	})
	s.Create("ann", "s", `{"chains":[{"id":"c","steps":[{"id":"a","action":"build"},{"id":"b","action":"build"}]}]}`)
	s.run()
	receive(t, started)
	s.Stop()
	close(finish)
	s.Resume()
	s.UntilState("ann", "s", domain.StateCompleted)
	s.drained()
}

func TestWorkerWaitsForTheEngine(t *testing.T) {
	s := newSite(t)
	s.Stop()
	s.Create("ann", "s", one)
	s.worker(curt()).Handle("build", newCounter().handle)
	s.run()
	s.Resume()
	s.UntilState("ann", "s", domain.StateCompleted)
}

func TestConsumerIsMadeAnew(t *testing.T) {
	s := newSite(t)
	s.worker(brisk()).Handle("build", newCounter().handle)
	s.Create("ann", "s1", one)
	s.run()
	s.UntilState("ann", "s1", domain.StateCompleted)
	s.DropConsumer("build")
	s.UntilCalls(workertest.VerbServe, 2)
	s.Create("ann", "s2", one)
	s.UntilState("ann", "s2", domain.StateCompleted)
}

func TestForeignTasksAreDropped(t *testing.T) {
	s := newSite(t)
	s.worker(brisk()).Handle("build", newCounter().handle)
	s.Offer("reprise.work.build.ann.s.c")
	s.Offer("reprise.work.build.ann.none.c.s")
	s.run()
	s.UntilCalls(domain.VerbClaim, 1)
	s.Create("ann", "s", one)
	s.UntilState("ann", "s", domain.StateCompleted)
	s.drained()
	s.UntilNoTasks()
}

func TestActionThatMayNotBeServed(t *testing.T) {
	s := newSite(t)
	s.Inject(workertest.Fault{Verb: workertest.VerbServe, Code: domain.CodeNotAllowed})
	s.worker(brisk()).Handle("build", newCounter().handle)
	s.run()
	if err := s.ended(); err == nil || !strings.Contains(err.Error(), `"build" can't be served`) {
		t.Errorf("Run: %v", err)
	}
}

func TestClosedConnectionEndsRun(t *testing.T) {
	s := newSite(t)
	nc := workertest.Connect(t, s.url)
	w, err := worker.New(nc, brisk())
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("build", newCounter().handle)
	nc.Close()
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "can't be served") {
		t.Errorf("Run: %v", err)
	}
}

func TestOutputThatTheEngineRefuses(t *testing.T) {
	s := newSite(t)
	s.worker(brisk()).Handle("build", newCounter().handle)
	s.Inject(workertest.Fault{Verb: domain.VerbSucceed, Code: domain.CodeInvalid})
	s.Create("ann", "s", one)
	s.run()
	if f := s.UntilState("ann", "s", domain.StateFailed).Error; f.Code != "result_refused" {
		t.Errorf("failure %+v", f)
	}
}

func TestDeadline(t *testing.T) {
	s := newSite(t)
	h := newHanging()
	s.worker(brisk()).Handle("build", h.handle)
	s.Create("ann", "s", `{"chains":[{"id":"c","steps":[{"id":"s","action":"build","timeout":"2s"}]}]}`)
	s.run()
	receive(t, h.started)
	if cause := receive(t, h.causes); !errors.Is(cause, worker.ErrDeadline) {
		t.Errorf("cause %v", cause)
	}
	s.drained()
	if calls := s.Calls(domain.VerbFail); len(calls) > 0 {
		t.Error("a timeout is the engine's to record")
	}
	s.Expire("ann", "s", "c", "s")
	if st := s.Step("ann", "s", "c", "s"); st.Status != domain.StepStatusTimeout {
		t.Errorf("step is %s", st.Status)
	}
}

func TestUnservedNextStepIsLeft(t *testing.T) {
	s := newSite(t)
	s.worker(brisk()).Handle("build", newCounter().handle, worker.Concurrency(1))
	s.Create("ann", "s", `{"chains":[{"id":"c","steps":[{"id":"a","action":"build"},{"id":"b","action":"other"}]}]}`)
	s.run()
	s.Until("ann", "s", "success", stepIs("c", "a", domain.StepStatusSuccess))
	s.drained()
	if st := s.Step("ann", "s", "c", "b"); st.Status != domain.StepStatusPending {
		t.Errorf("b is %s", st.Status)
	}
}

// TestBusyWorkerLetsOthersHaveIt: a task that was pulled for a slot that is
// taken meanwhile goes back at once.
func TestBusyWorkerLetsOthersHaveIt(t *testing.T) {
	s := newSite(t)
	h := newHanging()
	cfg := brisk()
	cfg.Concurrency = 1
	w := s.worker(cfg)
	w.Handle("build", h.handle)
	w.Handle("deploy", h.handle)
	s.run()
	s.UntilCalls(workertest.VerbServe, 2)
	s.Create("ann", "s", `{"chains":[{"id":"a","steps":[{"id":"s","action":"build"}]},{"id":"b","steps":[{"id":"s","action":"deploy"}]}]}`)
	first := receive(t, h.started)
	other := newSiteWorker(s, "beryl")
	other.w.Handle("build", h.handle)
	other.w.Handle("deploy", h.handle)
	other.run()
	second := receive(t, h.started)
	if first.Action == second.Action {
		t.Errorf("%s ran twice", first.Action)
	}
	workers := map[string]bool{s.Step("ann", "s", "a", "s").Worker: true, s.Step("ann", "s", "b", "s").Worker: true}
	if !workers["amber"] || !workers["beryl"] {
		t.Errorf("workers %v", workers)
	}
}

// newSiteWorker is another worker for the same engine.
func newSiteWorker(s *site, id string) *site {
	other := &site{Engine: s.Engine, t: s.t, url: s.url}
	cfg := brisk()
	cfg.ID = id
	other.worker(cfg)
	return other
}

// TestWorkerStopsWhileTasksCome: what the server still sends after the end is given
// back for others.
func TestWorkerStopsWhileTasksCome(t *testing.T) {
	s := newSite(t)
	s.worker(brisk()).Handle("build", newCounter().handle)
	s.run()
	s.UntilCalls(workertest.VerbServe, 1)
	go func() {
		for i := range 100 {
			s.Create("ann", fmt.Sprintf("s%d", i), one)
		}
	}()
	s.UntilState("ann", "s5", domain.StateCompleted)
	s.drained()
	other := newSiteWorker(s, "beryl")
	other.w.Handle("build", newCounter().handle)
	other.run()
	for i := range 100 {
		s.UntilState("ann", fmt.Sprintf("s%d", i), domain.StateCompleted)
	}
}
