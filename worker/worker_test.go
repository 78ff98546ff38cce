package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/worker"
	"reprise/worker/workertest"
)

func TestWorkerRunsAStep(t *testing.T) {
	s := newSite(t)
	w := s.worker(brisk())
	w.Handle("build", func(_ context.Context, task *worker.Task) (any, error) {
		var in struct{ Target string }
		if err := task.Decode(&in); err != nil {
			return nil, err
		}
		return map[string]string{"built": in.Target, "key": task.IdempotencyKey, "user": task.User}, nil
	})
	s.Create("ann@example.org", "s1", `{"chains":[{"id":"c","steps":[{"id":"s","action":"build","input":{"target":"all"}}]}]}`)
	s.run()
	done := s.UntilState("ann@example.org", "s1", domain.StateCompleted)
	want := `{"built":"all","key":"s1/c/s/1","user":"ann@example.org"}`
	if got := string(done.Step("c", "s").Output); got != want {
		t.Errorf("output %s, want %s", got, want)
	}
	if got := done.Step("c", "s").Worker; got != "amber" {
		t.Errorf("worker %q", got)
	}
	s.drained()
}

func TestWorkerFollowsAChainWithOneCommandAStep(t *testing.T) {
	s := newSite(t)
	w := s.worker(brisk())
	c := newCounter()
	w.Handle("build", c.handle)
	w.Handle("test", func(ctx context.Context, task *worker.Task) (any, error) {
		var previous string
		if err := task.Output("s1", &previous); err != nil {
			return nil, err
		}
		if previous != "s1" || task.Skipped("s1") {
			return nil, fmt.Errorf("output %q, skipped %v", previous, task.Skipped("s1"))
		}
		return c.handle(ctx, task)
	})
	s.run()
	s.UntilCalls(workertest.VerbServe, 2)
	s.Create("ann", "s", `{"chains":[{"id":"c","steps":[
		{"id":"s1","action":"build"},{"id":"s2","action":"test"},{"id":"s3","action":"build"}]}]}`)
	s.UntilState("ann", "s", domain.StateCompleted)
	s.drained()
	if claims, results := len(commands(s.Calls(domain.VerbClaim))), len(commands(s.Calls(domain.VerbSucceed))); claims != 1 || results != 3 {
		t.Errorf("%d claims and %d results; want 1 and 3", claims, results)
	}
	s.UntilNoTasks()
}

func TestWorkerKeepsItsBounds(t *testing.T) {
	s := newSite(t)
	cfg := brisk()
	cfg.Concurrency = 3
	w := s.worker(cfg)
	all, narrow := newCounter(), newCounter()
	w.Handle("build", all.handle)
	w.Handle("deploy", func(ctx context.Context, task *worker.Task) (any, error) {
		narrow.enter(task)
		defer narrow.leave(task)
		return all.handle(ctx, task)
	}, worker.Concurrency(1), worker.Lease(5*time.Second))
	var chains []string
	for i := range 40 {
		chains = append(chains, fmt.Sprintf(`{"id":"c%d","steps":[{"id":"a","action":"build"},{"id":"b","action":"deploy"},{"id":"c","action":"deploy"},{"id":"d","action":"build"}]}`, i))
	}
	s.Create("ann", "s", `{"chains":[`+strings.Join(chains, ",")+`]}`)
	s.run()
	s.UntilState("ann", "s", domain.StateCompleted)
	s.drained()
	if all.most > 3 || narrow.most != 1 {
		t.Errorf("%d at once, %d of the narrow action; want at most 3 and 1", all.most, narrow.most)
	}
	for i := range 40 {
		for _, step := range []string{"a", "b", "c", "d"} {
			if n := all.times(t, fmt.Sprintf("s/c%d/%s", i, step)); n != 1 {
				t.Errorf("c%d/%s ran %d times", i, step, n)
			}
		}
	}
}

func TestFailures(t *testing.T) {
	wrapped := errors.New("the disk is gone")
	cyclic := map[string]any{}
	cyclic["self"] = cyclic
	tests := []struct {
		name    string
		handle  worker.Handler
		code    string
		message string
		stack   string
		output  string
		// final says that the retry policy was not asked.
		final bool
	}{
		{"plain", func(context.Context, *worker.Task) (any, error) { return nil, errors.New("no luck") }, "", "no luck", "", "", false},
		{"empty", func(context.Context, *worker.Task) (any, error) { return nil, errors.New("") }, "", "without a message", "", "", false},
		{"permanent", func(context.Context, *worker.Task) (any, error) { return nil, worker.Permanent(wrapped) }, "", "the disk is gone", "", "", true},
		{"detailed", func(context.Context, *worker.Task) (any, error) {
			return nil, fmt.Errorf("while building: %w", &worker.Error{Code: "exit_status", Message: "exit 2", Stack: "line 1", Output: 7})
		}, "exit_status", "while building: exit 2", "line 1", "7", false},
		{"permanent and detailed", func(context.Context, *worker.Task) (any, error) {
			return nil, worker.Permanent(&worker.Error{Code: "bad", Err: wrapped, Output: cyclic})
		}, "bad", "the disk is gone", "", "", true},
		{"bad code", func(context.Context, *worker.Task) (any, error) { return nil, &worker.Error{Code: "no such"} }, "", "no such: no such", "", "", false},
		{"huge", func(context.Context, *worker.Task) (any, error) {
			return nil, &worker.Error{Message: strings.Repeat("é", 9000), Stack: strings.Repeat("\xff", 1<<20)}
		}, "", "ééé", "\uFFFD", "", false},
		{"panic", func(context.Context, *worker.Task) (any, error) { panic("oh no") }, "panic", "panic: oh no", "TestFailures", "", false},
		{"error panic", func(context.Context, *worker.Task) (any, error) { panic(wrapped) }, "panic", "panic: the disk is gone", "goroutine", "", false},
		{"too large", func(context.Context, *worker.Task) (any, error) { return strings.Repeat("x", 1<<20), nil }, "output_too_large", "store it elsewhere", "", "", true},
		{"not JSON", func(context.Context, *worker.Task) (any, error) { return make(chan int), nil }, "bad_output", "not JSON", "", "", true},
		{"panic in JSON", func(context.Context, *worker.Task) (any, error) { return explosive{}, nil }, "panic", "boom in JSON", "goroutine", "", false},
		{"input does not fit", func(_ context.Context, task *worker.Task) (any, error) { return nil, task.Decode(new(int)) }, "invalid_input", "does not fit", "", "", true},
		{"no such output", func(_ context.Context, task *worker.Task) (any, error) { return nil, task.Output("x", nil) }, "", "no output", "", "", true},
	}
	s := newSite(t)
	w := s.worker(brisk())
	for i, test := range tests {
		w.Handle(fmt.Sprintf("a%d", i), test.handle)
	}
	s.run()
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := fmt.Sprintf("s%d", i)
			s.Create("ann", id, fmt.Sprintf(`{"chains":[{"id":"c","steps":[{"id":"s","action":"a%d","input":{"a":1},"retry":{"maxAttempts":2,"backoff":"1ms"}}]}]}`, i))
			st := s.UntilState("ann", id, domain.StateFailed).Step("c", "s")
			f := st.Error
			if f.Code != test.code || !strings.Contains(f.Message, test.message) || !strings.Contains(f.Stack, test.stack) && f.StackRef == nil {
				t.Errorf("failure %q %.200q %.200q", f.Code, f.Message, f.Stack)
			}
			if string(st.Output) != test.output {
				t.Errorf("output %s, want %s", st.Output, test.output)
			}
			if want := map[bool]int{true: 1, false: 2}[test.final]; st.Attempt != want {
				t.Errorf("%d attempts, want %d", st.Attempt, want)
			}
		})
	}
}

// A step that failed may be offered again at once, and the offer is refused while
// its old task is there. One that succeeded is not, and need not wait.
func TestOnlyWhatMayBeOfferedAgainWaitsForItsTaskToBeGone(t *testing.T) {
	tests := []struct {
		name string
		err  error
		end  domain.State
		want []bool // of each acknowledgement, whether the worker waits for it
	}{
		{"succeeded", nil, domain.StateCompleted, []bool{false}},
		{"failed", worker.Permanent(errors.New("no luck")), domain.StateFailed, []bool{false, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			acks := make(chan bool, 16)
			nc := workertest.Connect(t, s.url)
			if _, err := nc.Subscribe("$JS.ACK.>", func(m *nats.Msg) { acks <- m.Reply != "" }); err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			s.worker(brisk()).Handle("build", func(context.Context, *worker.Task) (any, error) { return nil, test.err })
			s.Create("ann", "s", one)
			s.run()
			for i, want := range test.want {
				if got := receive(t, acks); got != want {
					t.Errorf("acknowledgement %d is waited for: %v, want %v", i+1, got, want)
				}
			}
			s.UntilState("ann", "s", test.end)
			s.drained()
			if len(acks) > 0 {
				t.Errorf("%d acknowledgements more", len(acks))
			}
		})
	}
}

type explosive struct{}

func (explosive) MarshalJSON() ([]byte, error) { panic("boom in JSON") }

func TestHandlerEndsItsGoroutine(t *testing.T) {
	s := newSite(t)
	w := s.worker(brisk())
	w.Handle("build", func(context.Context, *worker.Task) (any, error) {
		t.SkipNow() // runtime.Goexit
		return "done", nil
	})
	s.Create("ann", "s", one)
	s.run()
	if f := s.UntilState("ann", "s", domain.StateFailed).Error; f.Code != "no_result" {
		t.Errorf("failure %+v", f)
	}
}

func TestProgressAndState(t *testing.T) {
	s := newSite(t)
	w := s.worker(brisk())
	paused := make(chan struct{})
	w.Handle("build", func(ctx context.Context, task *worker.Task) (any, error) {
		task.PartialOutput(func() any { return []string{"so far"} })
		task.Progress("compiling\xff")
		task.Percent(140)
		receive(t, paused)
		for task.State() != domain.StatePaused && ctx.Err() == nil {
			task.Percent(50)
		}
		task.PartialOutput(func() any { panic("nothing so far") })
		return nil, ctx.Err()
	})
	s.Create("ann", "s", one)
	s.run()
	s.UntilProgress("s", "c", "s", func(p contract.Progress) bool {
		return p.Line == "compiling\uFFFD" && p.Percent == 100 && string(p.Output) == `["so far"]`
	})
	s.Command("ann", "s", domain.VerbPause, "")
	close(paused)
	s.Until("ann", "s", "success", stepIs("c", "s", domain.StepStatusSuccess))
	s.drained()
}

func TestConfigIsChecked(t *testing.T) {
	nc := workertest.Connect(t, workertest.Server(t))
	if _, err := worker.New(nil, worker.Config{}); err == nil {
		t.Error("a worker without a connection")
	}
	_, err := worker.New(nc, worker.Config{ID: "a b", Concurrency: -1, Lease: -1})
	for _, words := range []string{"a b", "-1 steps", "less than 0"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v lacks %q", err, words)
		}
	}
	handle := newCounter().handle
	tests := []struct {
		name  string
		setUp func(*worker.Worker)
		words string
	}{
		{"no handler", func(*worker.Worker) {}, "there is no handler"},
		{"bad action", func(w *worker.Worker) { w.Handle("a.b", handle) }, "1-64"},
		{"nil handler", func(w *worker.Worker) { w.Handle("a", nil) }, "nil"},
		{"twice", func(w *worker.Worker) { w.Handle("a", handle); w.Handle("a", handle) }, "already"},
		{"no room", func(w *worker.Worker) { w.Handle("a", handle, worker.Concurrency(-2)) }, "concurrency"},
		{"bad lease", func(w *worker.Worker) { w.Handle("a", handle, worker.Lease(-1)) }, "lease"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, err := worker.New(nc, worker.Config{})
			if err != nil || !contract.ValidToken(w.ID()) {
				t.Fatalf("New: %v, id %q", err, w.ID())
			}
			test.setUp(w)
			if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v lacks %q", err, test.words)
			}
			if err := w.Run(t.Context()); !errors.Is(err, worker.ErrUsed) {
				t.Errorf("second Run: %v", err)
			}
		})
	}
}

func TestErrorTexts(t *testing.T) {
	below := errors.New("below")
	for want, err := range map[string]*worker.Error{
		"said": {Message: "said", Code: "c", Err: below}, "below": {Err: below, Code: "c"},
		"c": {Code: "c"}, "failed without a message": {},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err.Error(), want)
		}
	}
	if worker.Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
	if !errors.Is(worker.Permanent(below), below) {
		t.Error("Permanent hides what is below")
	}
}

func TestTaskWithoutInput(t *testing.T) {
	task := worker.NewTask("ann", "s", contract.Assignment{
		Chain: "c", Step: "b", Attempt: 3, Timeout: domain.Duration(time.Minute),
		Outputs: map[string]contract.StepOutput{"a": {Skipped: true}, "x": {Output: []byte(`"text"`)}},
	})
	v := 7
	if err := errors.Join(task.Decode(&v), task.Output("a", &v)); err != nil || v != 7 {
		t.Errorf("%v, %d", err, v)
	}
	if err := task.Output("x", &v); err == nil {
		t.Error("a string was read into an int")
	}
	if !task.Skipped("a") || task.IdempotencyKey != "s/c/b/3" || time.Until(task.Deadline) < time.Second {
		t.Errorf("%v %q %s", task.Skipped("a"), task.IdempotencyKey, task.Deadline)
	}
	task.PartialOutput(func() any { return make(chan int) })
	if p := task.Snapshot(); p.Output != nil {
		t.Errorf("output %s", p.Output)
	}
}

// TestAClockAnHourOff gives a worker deadlines of an engine whose clock is an hour
// ahead of its own, or behind: what counts is how much time is left.
func TestAClockAnHourOff(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		task := worker.NewTask("ann", "s", contract.Assignment{
			Chain: "c", Step: "b", Attempt: 1, Deadline: time.Now().Add(off + time.Minute), Timeout: domain.Duration(time.Minute),
		})
		if left := time.Until(task.Deadline); left < 50*time.Second || left > time.Minute {
			t.Errorf("with a clock that is off by %s there are %s left, not a minute", off, left)
		}
	}
}
