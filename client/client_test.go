package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

func TestNewJoinsWhatIsWrong(t *testing.T) {
	nc := connect(t)
	_, err := client.New(nc, client.Config{Operator: "a b", Timeout: -1})
	for _, want := range []string{"Config.User", "Config.Operator", "not negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if _, err := client.New(nil, client.Config{User: "ada"}); err == nil {
		t.Error("a client without a connection was made")
	}
	c, err := client.New(nc, client.Config{User: "ada@example.org"})
	if err != nil || c.User() != "ada@example.org" || c.Names().Prefix() != "reprise" {
		t.Errorf("client %v, error %v", c, err)
	}
}

// TestCommandsOnTheWire pins subject and body of every typed method.
func TestCommandsOnTheWire(t *testing.T) {
	position := 1
	no := false
	ctx := t.Context()
	tests := []struct {
		subject, body string
		send          func(*client.Client) (*contract.Reply, error)
	}{
		{"cmd.ada.new.create", `{"keepOpen":true}`, func(c *client.Client) (*contract.Reply, error) {
			return c.Create(ctx, "", domain.Definition{KeepOpen: true})
		}},
		{"cmd.ada.s1.create", `{"timeout":"90s"}`, func(c *client.Client) (*contract.Reply, error) {
			return c.Create(ctx, "s1", domain.Definition{Timeout: domain.Duration(90 * time.Second)})
		}},
		{"cmd.ada.s1.start", `{}`, func(c *client.Client) (*contract.Reply, error) { return c.Start(ctx, "s1") }},
		{"cmd.ada.s1.pause", `{"mode":"interrupt","reason":"a < b"}`, func(c *client.Client) (*contract.Reply, error) {
			return c.Pause(ctx, "s1", domain.Pause{Mode: domain.PauseInterrupt, Reason: "a < b"})
		}},
		{"cmd.ada.s1.resume", `{}`, func(c *client.Client) (*contract.Reply, error) { return c.Resume(ctx, "s1") }},
		{"cmd.ada.s1.cancel", `{"reason":"late"}`, func(c *client.Client) (*contract.Reply, error) { return c.Cancel(ctx, "s1", "late") }},
		{"cmd.ada.s1.complete", `{}`, func(c *client.Client) (*contract.Reply, error) { return c.Complete(ctx, "s1") }},
		{"cmd.ada.s1.delete", `{"force":true}`, func(c *client.Client) (*contract.Reply, error) {
			return c.Delete(ctx, "s1", domain.Delete{Force: true})
		}},
		{"cmd.ada.s1.fork", `{"id":"s2","version":4}`, func(c *client.Client) (*contract.Reply, error) {
			return c.Fork(ctx, "s1", domain.Fork{ID: "s2", Version: 4})
		}},
		{"cmd.ada.s1.metadata.set", `{"set":{"k":"v"},"remove":["x"]}`, func(c *client.Client) (*contract.Reply, error) {
			return c.SetMetadata(ctx, "s1", domain.SetMetadata{Set: map[string]string{"k": "v"}, Remove: []string{"x"}})
		}},
		{"cmd.ada.s1.chain.add", `{"id":"c","open":true,"position":1}`, func(c *client.Client) (*contract.Reply, error) {
			return c.AddChain(ctx, "s1", domain.AddChain{ChainDef: domain.ChainDef{ID: "c", Open: true}, Position: &position})
		}},
		{"cmd.ada.s1.chain.close", `{"chain":"c"}`, func(c *client.Client) (*contract.Reply, error) { return c.CloseChain(ctx, "s1", "c") }},
		{"cmd.ada.s1.chain.remove", `{"chain":"c"}`, func(c *client.Client) (*contract.Reply, error) {
			return c.RemoveChain(ctx, "s1", domain.RemoveChain{Chain: "c"})
		}},
		{"cmd.ada.s1.chain.move", `{"chain":"c","to":"s2"}`, func(c *client.Client) (*contract.Reply, error) {
			return c.MoveChain(ctx, "s1", domain.MoveChain{Chain: "c", To: "s2"})
		}},
		{"cmd.ada.s1.step.add", `{"chain":"c","step":{"action":"exec"}}`, func(c *client.Client) (*contract.Reply, error) {
			return c.AddStep(ctx, "s1", domain.AddStep{Chain: "c", Step: domain.StepDef{Action: "exec"}})
		}},
		{"cmd.ada.s1.step.retry", `{"chain":"c","step":"1","input":{"n":2}}`, func(c *client.Client) (*contract.Reply, error) {
			return c.RetryStep(ctx, "s1", domain.RetryStep{Chain: "c", Step: "1", Input: json.RawMessage(`{"n":2}`)})
		}},
		{"cmd.ada.s1.step.skip", `{"chain":"c","step":"1","reason":"flaky"}`, func(c *client.Client) (*contract.Reply, error) {
			return c.SkipStep(ctx, "s1", domain.SkipStep{Chain: "c", Step: "1", Reason: "flaky"})
		}},
		{"cmd.ada.s1.step.succeed", `{"chain":"c","step":"1","output":"yes"}`, func(c *client.Client) (*contract.Reply, error) {
			return c.SucceedStep(ctx, "s1", domain.SucceedManual{Chain: "c", Step: "1", Output: json.RawMessage(`"yes"`)})
		}},
		{"cmd.ada.s1.step.fail", `{"chain":"c","step":"1","error":{"message":"no","retryable":false}}`, func(c *client.Client) (*contract.Reply, error) {
			return c.FailStep(ctx, "s1", domain.FailManual{Chain: "c", Step: "1", Error: domain.ReportError{Message: "no", Retryable: &no}})
		}},
		{"adm.root.cmd.ada.s1.hold", `{"reason":"audit"}`, func(c *client.Client) (*contract.Reply, error) { return c.Hold(ctx, "s1", "audit") }},
		{"adm.root.cmd.ada.s1.unhold", `{}`, func(c *client.Client) (*contract.Reply, error) { return c.Unhold(ctx, "s1", "") }},
		{"adm.root.cmd.ada.s1.cancel", `{}`, func(c *client.Client) (*contract.Reply, error) {
			return c.Cancel(ctx, "s1", "", client.AsOperator())
		}},
	}
	nc := connect(t)
	engine := serve(t, nc, ok(contract.Reply{Session: "s1", State: domain.StateRunning, Version: 3}))
	c := patient(t, nc)
	for i, tt := range tests {
		reply, err := tt.send(c)
		if err != nil || reply.Version != 3 {
			t.Errorf("%s: reply %v, error %v", tt.subject, reply, err)
			continue
		}
		got := engine.seen()[i]
		if got.Subject != "reprise."+tt.subject || string(got.Data) != tt.body {
			t.Errorf("sent %s %s, want %s %s", got.Subject, got.Data, tt.subject, tt.body)
		}
	}
}

// TestBatchDecodes checks the body of a batch against the domain's own decoder.
func TestBatchDecodes(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc, ok(contract.Reply{}))
	batch := domain.Batch{Mode: domain.BatchEach, Commands: []domain.Command{
		&domain.Create{Definition: domain.Definition{KeepOpen: true}}, &domain.Start{}, &domain.SkipStep{Chain: "c", Step: "1"},
	}}
	if _, err := patient(t, nc).Batch(t.Context(), "s1", batch); err != nil {
		t.Fatal(err)
	}
	sent := engine.seen()[0]
	command, err := domain.DecodeCommand(domain.VerbBatch, sent.Data)
	if err != nil {
		t.Fatalf("%s: %v", sent.Data, err)
	}
	got := command.(*domain.Batch)
	if got.Mode != domain.BatchEach || len(got.Commands) != 3 || got.Commands[2].(*domain.SkipStep).Step != "1" {
		t.Errorf("decoded %+v", got)
	}
}

func TestOptionsBecomeHeaders(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc, ok(contract.Reply{}), ok(contract.GetReply{}))
	c := patient(t, nc)
	_, err := c.Start(t.Context(), "s1", client.WithCommandID("mine"), client.ExpectVersion(7), client.DryRun(), client.WithTraceParent("00-1"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), "s1", client.MinPosition(contract.Position{Incarnation: "i", Seq: 9}))
	if err != nil {
		t.Fatal(err)
	}
	command, query := engine.seen()[0].Header, engine.seen()[1].Header
	for header, want := range map[string]string{
		contract.HeaderCommandID: "mine", contract.HeaderExpectVersion: "7", contract.HeaderDryRun: "true", contract.HeaderTraceParent: "00-1",
	} {
		if got := command.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if got := query.Get(contract.HeaderMinPosition); got != "i:9" {
		t.Errorf("min position is %q", got)
	}
}

func TestRefusedBeforeSending(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc, ok(contract.Reply{}))
	c := patient(t, nc)
	plain, err := client.New(nc, client.Config{User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func() error{
		"session": func() error { _, err := c.Start(t.Context(), "a.b"); return err },
		"commandId": func() error {
			_, err := c.Start(t.Context(), "s1", client.WithCommandID("a b"))
			return err
		},
		"operator": func() error { _, err := plain.Hold(t.Context(), "s1", ""); return err },
	}
	for field, send := range tests {
		var e *client.Error
		if err := send(); !errors.As(err, &e) || e.Code != domain.CodeInvalid || e.Field != field {
			t.Errorf("%s: error %v", field, err)
		}
	}
	if n := len(engine.seen()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestRejection(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc, reject(contract.Error{
		Code: domain.CodeVersionConflict, Message: "it is at version 9", State: domain.StatePaused, Field: "f", Version: 9,
	}))
	_, err := patient(t, nc).Resume(t.Context(), "s1", client.WithCommandID("c1"))
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.State != domain.StatePaused || e.Version != 9 || e.Field != "f" || e.CommandID != "c1" || err.Error() != "it is at version 9" {
		t.Errorf("error %+v", e)
	}
	if !errors.Is(err, &domain.Rejection{Code: domain.CodeVersionConflict}) || !errors.Is(err, &client.Error{Code: domain.CodeVersionConflict}) {
		t.Error("errors.Is does not find the code")
	}
	if errors.Is(err, &domain.Rejection{Code: domain.CodeGone}) || errors.Is(err, context.Canceled) {
		t.Error("errors.Is finds another code")
	}
	if client.CodeOf(err) != domain.CodeVersionConflict || client.CodeOf(domain.Invalid("", "x")) != domain.CodeInvalid || client.CodeOf(errors.New("x")) != "" {
		t.Error("CodeOf is wrong")
	}
	if n := len(engine.seen()); n != 1 {
		t.Errorf("a final rejection was sent %d times", n)
	}
}

func TestForeignServiceError(t *testing.T) {
	nc := connect(t)
	serve(t, nc, func(msg *nats.Msg) {
		_ = msg.RespondMsg(&nats.Msg{Header: nats.Header{contract.HeaderError: {"boom"}, contract.HeaderErrorCode: {"500"}}})
	})
	_, err := patient(t, nc).Start(t.Context(), "s1")
	if err == nil || err.Error() != "the service answered 500: boom" {
		t.Errorf("error %v", err)
	}
}

// TestSentAgainWithTheSameID: silence, busy and an unknown outcome are followed
// by the same bytes under the same id.
func TestSentAgainWithTheSameID(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc, silence,
		reject(contract.Error{Code: domain.CodeBusy, Message: "busy", RetryAfter: domain.Duration(2 * time.Millisecond)}),
		reject(contract.Error{Code: domain.CodeUnknownOutcome, Message: "unknown"}),
		ok(contract.Reply{Version: 2, Duplicate: true}))
	reply, err := waiting(t, nc, 5*time.Second).Start(t.Context(), "s1")
	if err != nil || !reply.Duplicate {
		t.Fatalf("reply %v, error %v", reply, err)
	}
	requests := engine.seen()
	if len(requests) != 4 {
		t.Fatalf("sent %d times", len(requests))
	}
	first := requests[0].Header.Get(contract.HeaderCommandID)
	for _, r := range requests {
		if got := r.Header.Get(contract.HeaderCommandID); got != first || got == "" {
			t.Errorf("command id %q, first %q", got, first)
		}
	}
}

// TestWarmingIsWaitedFor: more often than Attempts, but not for ever.
func TestWarmingIsWaitedFor(t *testing.T) {
	nc := connect(t)
	warming := reject(contract.Error{Code: domain.CodeWarming, Message: "warming", RetryAfter: domain.Duration(time.Hour)})
	serve(t, nc, warming, warming, warming, warming, warming, ok(contract.CountReply{Total: 1}))
	if reply, err := patient(t, nc).Count(t.Context(), contract.Filter{}); err != nil || reply.Total != 1 {
		t.Errorf("reply %v, error %v", reply, err)
	}
	other := connect(t)
	serve(t, other, reject(contract.Error{Code: domain.CodeWarming, Message: "warming", RetryAfter: domain.Duration(time.Millisecond)}))
	if _, err := waiting(t, other, 2*time.Second).Count(t.Context(), contract.Filter{}); client.CodeOf(err) != domain.CodeWarming {
		t.Errorf("error %v", err)
	}
}

func TestOutcomeUnknown(t *testing.T) {
	nc := connect(t)
	serve(t, nc, silence)
	c := waiting(t, nc, 100*time.Millisecond)
	_, err := c.Start(t.Context(), "s1", client.WithCommandID("c1"))
	var e *client.Error
	if !errors.As(err, &e) || e.Code != domain.CodeUnknownOutcome || e.CommandID != "c1" || !strings.Contains(e.Message, "command id c1") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Start(ctx, "s1"); client.CodeOf(err) != domain.CodeUnknownOutcome || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the caller's deadline: %v", err)
	}
	if _, err := c.Get(t.Context(), "s1"); client.CodeOf(err) != domain.CodeUnavailable {
		t.Errorf("a query without an answer: %v", err)
	}
}

// TestEngineSaysUnknown: the engine's own sentence survives.
func TestEngineSaysUnknown(t *testing.T) {
	nc := connect(t)
	serve(t, nc, reject(contract.Error{Code: domain.CodeUnknownOutcome, Message: "the store did not answer"}))
	if _, err := patient(t, nc).Start(t.Context(), "s1"); err == nil || err.Error() != "the store did not answer" {
		t.Errorf("error %v", err)
	}
}

func TestNoEngine(t *testing.T) {
	nc := connect(t)
	_, err := patient(t, nc).Start(t.Context(), "s1")
	if !errors.Is(err, client.ErrNoEngine) || err.Error() != "no engine answers on reprise.cmd.ada.s1.start" {
		t.Errorf("error %v", err)
	}
	if client.CodeOf(err) != domain.CodeUnavailable {
		t.Errorf("code %q", client.CodeOf(err))
	}
}

func TestNotSentIsNotUnknown(t *testing.T) {
	nc := connect(t)
	c := patient(t, nc)
	big := json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`)
	if _, err := c.SkipStep(t.Context(), "s1", domain.SkipStep{Output: big}); client.CodeOf(err) != domain.CodeInvalid {
		t.Errorf("a request over the server's limit: %v", err)
	}
	if _, err := c.SkipStep(t.Context(), "s1", domain.SkipStep{Output: json.RawMessage(`{`)}); client.CodeOf(err) != domain.CodeInvalid {
		t.Errorf("an output that is no JSON: %v", err)
	}
	if _, err := c.Batch(t.Context(), "s1", domain.Batch{Commands: []domain.Command{&domain.SkipStep{Output: json.RawMessage(`{`)}}}); client.CodeOf(err) != domain.CodeInvalid {
		t.Errorf("a batch with an output that is no JSON: %v", err)
	}
	nc.Close()
	if _, err := c.Start(t.Context(), "s1"); client.CodeOf(err) != domain.CodeUnavailable {
		t.Errorf("a closed connection: %v", err)
	}
}

func TestUnreadableAnswer(t *testing.T) {
	nc := connect(t)
	serve(t, nc, func(msg *nats.Msg) { _ = msg.Respond([]byte("hello")) })
	if _, err := patient(t, nc).Start(t.Context(), "s1"); err == nil || !strings.Contains(err.Error(), "can't be read") {
		t.Errorf("error %v", err)
	}
}

func TestNewCommandID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := client.NewCommandID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func TestEnqueue(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc,
		silence,
		ok(map[string]any{"stream": "REPRISE_QUEUE", "seq": 5}),
		ok(map[string]any{"error": map[string]any{"code": 400, "description": "maximum bytes exceeded"}}),
		ok(map[string]any{"x": 1}))
	c := waiting(t, nc, 5*time.Second)
	queued, err := c.Enqueue(t.Context(), "s1", &domain.Start{}, client.WithCommandID("c1"))
	if err != nil || queued != (client.Queued{CommandID: "c1", Stream: "REPRISE_QUEUE", Seq: 5}) {
		t.Errorf("queued %+v, error %v", queued, err)
	}
	if got := engine.seen()[1].Subject; got != "reprise.queue.ada.s1.start" {
		t.Errorf("subject %s", got)
	}
	for _, want := range []string{"maximum bytes exceeded", "not an acknowledgement"} {
		if _, err := c.Enqueue(t.Context(), "s1", &domain.Start{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if _, err := c.Enqueue(t.Context(), "s1", &domain.Start{}, client.DryRun()); client.CodeOf(err) != domain.CodeInvalid {
		t.Errorf("a dry run was queued: %v", err)
	}
	if _, err := c.Enqueue(t.Context(), "a b", &domain.Start{}); client.CodeOf(err) != domain.CodeInvalid {
		t.Errorf("an illegal id was queued: %v", err)
	}
}

func TestEnqueueWithoutStream(t *testing.T) {
	_, err := patient(t, connect(t)).Enqueue(t.Context(), "s1", &domain.Start{})
	if !errors.Is(err, client.ErrNoEngine) || !strings.HasPrefix(err.Error(), "no queue takes reprise.queue.ada.s1.start") {
		t.Errorf("error %v", err)
	}
}
