package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// bench is a commander over a store in memory, with a clock that stands still
// unless it is moved.
type bench struct {
	t      *testing.T
	driver *eventstore.Memory
	store  *eventstore.Store
	cmd    *commander

	mu  sync.Mutex
	now time.Time
	ids int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, driver: eventstore.NewMemory(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b.store, b.cmd = b.another()
	return b
}

// another opens one more store and commander over the same events, as another
// engine does.
func (b *bench) another() (*eventstore.Store, *commander) {
	b.t.Helper()
	store, err := eventstore.Open(b.t.Context(), eventstore.Config{Driver: b.driver})
	if err != nil {
		b.t.Fatal(err)
	}
	return store, newCommander(commanderConfig{Store: store, Clock: b.clock, Jitter: func() float64 { return 0.5 }})
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// ask makes a request of user ann to a session from a body.
func (b *bench) ask(session string, verb domain.Verb, body string, more ...func(*Request)) Request {
	b.t.Helper()
	b.ids++
	r := Request{Key: eventstore.Key{User: "ann", Session: session}, Verb: verb, ID: fmt.Sprintf("cmd-%d", b.ids), Actor: "ann"}
	if err := r.readBody(address{worker: "amber", action: "build"}, []byte(body)); err != nil {
		b.t.Fatalf("%s %s: %v", verb, body, err)
	}
	for _, set := range more {
		set(&r)
	}
	return r
}

func withID(id string) func(*Request) { return func(r *Request) { r.ID = id } }

func expecting(version uint64) func(*Request) { return func(r *Request) { r.Expect = &version } }

func dry(r *Request) { r.DryRun = true }

func queuedAt(seq uint64) func(*Request) { return func(r *Request) { r.QueueSeq = seq } }

// do carries a request out that has to be accepted.
func (b *bench) do(r Request) contract.Reply {
	b.t.Helper()
	reply, err := b.cmd.Do(b.t.Context(), r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", r.Verb, r.Key, err)
	}
	return reply
}

// refuse carries a request out that has to be rejected with a code and changes
// nothing.
func (b *bench) refuse(r Request, code domain.Code) contract.Error {
	b.t.Helper()
	before := b.messages()
	_, err := b.cmd.Do(b.t.Context(), r)
	if err == nil {
		b.t.Fatalf("%s %s was accepted; want %s", r.Verb, r.Key, code)
	}
	e := problem(err, r.ID)
	if e.Code != code {
		b.t.Fatalf("%s %s: %s (%s); want %s", r.Verb, r.Key, e.Code, e.Message, code)
	}
	if after := b.messages(); after != before {
		b.t.Fatalf("%s %s: a rejection stored %d messages", r.Verb, r.Key, after-before)
	}
	return e
}

func (b *bench) messages() uint64 {
	b.t.Helper()
	info, err := b.driver.Info(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return info.Last
}

func (b *bench) session(id string) *domain.Session {
	b.t.Helper()
	a, err := b.store.Load(b.t.Context(), eventstore.Key{User: "ann", Session: id})
	if err == nil {
		a, err = b.store.Confirm(b.t.Context(), a)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return a.Session
}

const (
	onePlan    = `{"chains":[{"id":"c","steps":[{"id":"s","action":"build","input":{"n":1}}]}]}`
	manualPlan = `{"chains":[{"id":"c","steps":[{"id":"s","manual":true},{"id":"u","manual":true}]}]}`
	chainPlan  = `{"chains":[{"id":"c","steps":[{"id":"a","action":"build","input":1},{"id":"b","action":"build","input":2}]}]}`
	openPlan   = `{"keepOpen":true,"chains":[{"id":"c","open":true,"steps":[{"id":"s","manual":true}]}]}`
)

// running makes and starts a session.
func (b *bench) running(id, plan string) {
	b.t.Helper()
	b.do(b.ask(id, domain.VerbCreate, plan))
	b.do(b.ask(id, domain.VerbStart, ``))
}

func TestEveryVerbIsCarriedOut(t *testing.T) {
	b := newBench(t)
	steps := []struct {
		verb  domain.Verb
		body  string
		state domain.State
		types string
	}{
		{domain.VerbCreate, openPlan, domain.StatePending, "session.created"},
		{domain.VerbStart, ``, domain.StateRunning, "session.started"},
		{domain.VerbPause, `{"reason":"tea"}`, domain.StatePaused, "session.paused session.quiesced"},
		{domain.VerbResume, ``, domain.StateRunning, "session.resumed"},
		{domain.VerbMetadataSet, `{"set":{"k":"v"}}`, domain.StateRunning, "metadata.set"},
		{domain.VerbChainAdd, `{"id":"d","steps":[{"id":"x","manual":true}]}`, domain.StateRunning, "chain.added"},
		{domain.VerbStepAdd, `{"chain":"c","step":{"id":"u","manual":true}}`, domain.StateRunning, "step.added"},
		{domain.VerbStepSucceed, `{"chain":"c","step":"s","output":1}`, domain.StateRunning, "chain.started step.succeeded"},
		{domain.VerbStepFail, `{"chain":"c","step":"u","error":{"message":"no"}}`, domain.StateFailed, "step.failed chain.failed session.failed"},
		{domain.VerbStepRetry, `{"chain":"c","step":"u"}`, domain.StateRunning, "step.retried chain.started session.resumed"},
		{domain.VerbStepSkip, `{"chain":"c","step":"u"}`, domain.StateRunning, "step.skipped"},
		{domain.VerbChainClose, `{"chain":"c"}`, domain.StateRunning, "chain.closed chain.completed"},
		{domain.VerbChainMove, `{"chain":"d","position":0}`, domain.StateRunning, "chain.moved"},
		{domain.VerbChainRemove, `{"chain":"d"}`, domain.StateRunning, "chain.removed"},
		{domain.VerbHold, ``, domain.StateRunning, "session.held"},
		{domain.VerbUnhold, ``, domain.StateRunning, "session.unheld"},
		{domain.VerbComplete, ``, domain.StateCompleted, "session.completed"},
		{domain.VerbDelete, `{"reason":"done"}`, domain.StateCompleted, "session.deleted session.purged"},
	}
	version := uint64(0)
	for _, s := range steps {
		before := b.messages()
		preview := b.do(b.ask("s1", s.verb, s.body, dry))
		if !preview.DryRun || len(preview.Events) == 0 || len(preview.Events[0].Data) == 0 || b.messages() != before {
			t.Fatalf("%s: dry run %+v", s.verb, preview)
		}
		reply := b.do(b.ask("s1", s.verb, s.body))
		version += uint64(len(reply.Events))
		if got := types(reply); got != s.types || reply.State != s.state || reply.Version != version || preview.Version != version || types(preview) != got {
			t.Errorf("%s: %s, state %s, version %d; want %s, %s, %d", s.verb, got, reply.State, reply.Version, s.types, s.state, version)
		}
		if reply.Position.Seq == 0 || reply.Position.Incarnation == "" || reply.Duplicate {
			t.Errorf("%s: %+v", s.verb, reply)
		}
	}
	b.refuse(b.ask("s1", domain.VerbStart, ``), domain.CodeGone)
}

func types(r contract.Reply) string {
	names := make([]string, len(r.Events))
	for i, e := range r.Events {
		names[i] = string(e.Type)
	}
	return strings.Join(names, " ")
}

func TestRepeatGetsTheFirstAnswer(t *testing.T) {
	b := newBench(t)
	create := b.ask("s1", domain.VerbCreate, onePlan)
	first := b.do(create)
	start := b.ask("s1", domain.VerbStart, ``)
	b.do(start)
	b.do(b.ask("s1", domain.VerbPause, ``))
	again := b.do(create)
	if !again.Duplicate || again.State != domain.StatePending || again.Version != first.Version || again.Position != first.Position {
		t.Errorf("the repeat was answered with %+v; first %+v", again, first)
	}
	if again := b.do(start); !again.Duplicate || again.State != domain.StateRunning {
		t.Errorf("the repeat of start was answered with %+v", again)
	}
	other := b.ask("s1", domain.VerbStart, ``, withID(create.ID))
	b.refuse(other, domain.CodeIDReused)
	stranger := b.ask("s1", domain.VerbCreate, onePlan, withID(create.ID), func(r *Request) { r.Actor = "bob" })
	b.refuse(stranger, domain.CodeIDReused)
}

func TestSameDefinitionAgain(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	again := b.do(b.ask("s1", domain.VerbCreate, onePlan))
	if !again.Duplicate || again.Version != 1 || len(again.Events) != 0 {
		t.Errorf("create again: %+v", again)
	}
	b.refuse(b.ask("s1", domain.VerbCreate, manualPlan), domain.CodeExists)
}

func TestDeleteIsRepeatedFromTheTombstone(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	remove := b.ask("s1", domain.VerbDelete, `{"reason":"old"}`)
	first := b.do(remove)
	if info, err := b.driver.Info(t.Context()); err != nil || info.Messages != 1 {
		t.Errorf("after the delete %d messages are left (%v)", info.Messages, err)
	}
	_, b.cmd = b.another()
	again := b.do(remove)
	if !again.Duplicate || again.Version != first.Version || types(again) != types(first) {
		t.Errorf("the repeat: %+v; first %+v", again, first)
	}
	b.refuse(b.ask("s1", domain.VerbCreate, onePlan), domain.CodeGone)
	b.refuse(b.ask("s1", domain.VerbBatch, `{"mode":"each","commands":[{"verb":"start"}]}`), domain.CodeGone)
}

func TestExpectedVersion(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan, expecting(0)))
	if e := b.refuse(b.ask("s1", domain.VerbStart, ``, expecting(7)), domain.CodeVersionConflict); e.Version != 1 {
		t.Errorf("the conflict names version %d; want 1", e.Version)
	}
	b.do(b.ask("s1", domain.VerbStart, ``, expecting(1)))
	b.refuse(b.ask("none", domain.VerbStart, ``, expecting(1)), domain.CodeNotFound)
	b.refuse(b.ask("none", domain.VerbStart, ``), domain.CodeNotFound)
}

func TestBatch(t *testing.T) {
	b := newBench(t)
	all := b.do(b.ask("s1", domain.VerbBatch, `{"commands":[{"verb":"create","body":`+manualPlan+`},{"verb":"start"},{"verb":"pause"}]}`))
	if all.State != domain.StatePaused || len(all.Results) != 3 || b.messages() != 1 {
		t.Fatalf("batch: %+v in %d messages", all, b.messages())
	}
	e := b.refuse(b.ask("s1", domain.VerbBatch, `{"commands":[{"verb":"resume"},{"verb":"complete"}]}`), domain.CodeIllegalTransition)
	if !strings.Contains(e.Message, "commands[1]") {
		t.Errorf("the sentence does not name the command: %s", e.Message)
	}
	each := b.ask("s1", domain.VerbBatch, `{"mode":"each","commands":[{"verb":"complete"},{"verb":"resume"}]}`)
	reply := b.do(each)
	if reply.State != domain.StateRunning || reply.Results[0].Code != domain.CodeIllegalTransition || reply.Results[1].Code != "" {
		t.Errorf("each: %+v", reply)
	}
	if again := b.do(each); !again.Duplicate || len(again.Results) != 2 || again.Results[0].Code != domain.CodeIllegalTransition {
		t.Errorf("each again: %+v", again)
	}
	before := b.messages()
	none := b.do(b.ask("s1", domain.VerbBatch, `{"mode":"each","commands":[{"verb":"resume"},{"verb":"complete"}]}`))
	if len(none.Events) != 0 || len(none.Results) != 2 || b.messages() != before {
		t.Errorf("each with nothing accepted: %+v", none)
	}
}

func TestFork(t *testing.T) {
	b := newBench(t)
	big := strings.Repeat("x", domain.MaxInlinePayload+1)
	b.running("s1", manualPlan)
	b.do(b.ask("s1", domain.VerbStepSucceed, `{"chain":"c","step":"s","output":"`+big+`"}`))
	at := b.session("s1").Version
	b.pass(time.Second)
	b.do(b.ask("s1", domain.VerbStepSucceed, `{"chain":"c","step":"u"}`))
	parent := b.session("s1")

	fork := b.ask("s1", domain.VerbFork, fmt.Sprintf(`{"version":%d,"metadata":{"why":"again"}}`, at))
	reply := b.do(fork)
	child := b.session(reply.Session)
	if child.Parent == nil || child.Parent.Version != at || child.State != domain.StatePending || child.Metadata["why"] != "again" {
		t.Fatalf("the fork is %+v", child)
	}
	if done, rest := child.Step("c", "s"), child.Step("c", "u"); done.Status != domain.StepStatusSuccess || done.OutputRef == nil || rest.Status != domain.StepStatusPending {
		t.Errorf("steps of the fork: %+v, %+v", done, rest)
	}
	if again := b.do(fork); !again.Duplicate || again.Session != reply.Session {
		t.Errorf("the repeat: %+v", again)
	}
	if now := b.session("s1"); now.Version != parent.Version {
		t.Errorf("the parent went from version %d to %d", parent.Version, now.Version)
	}
	if named := b.do(b.ask("s1", domain.VerbFork, `{"id":"s2"}`)); named.Session != "s2" || b.session("s2").Step("c", "u").Status != domain.StepStatusSuccess {
		t.Errorf("fork with an id, now: %+v", named)
	}
	if preview := b.do(b.ask("s1", domain.VerbFork, `{"id":"s3"}`, dry)); !preview.DryRun || b.session("s3").Exists() {
		t.Errorf("dry run: %+v", preview)
	}
	early := b.clock().Add(-time.Hour).Format(time.RFC3339)
	b.refuse(b.ask("s1", domain.VerbFork, `{"id":"s2"}`), domain.CodeExists)
	b.refuse(b.ask("s1", domain.VerbFork, `{"id":"new"}`), domain.CodeInvalid)
	b.refuse(b.ask("s1", domain.VerbFork, `{"id":"a.b"}`), domain.CodeInvalid)
	b.refuse(b.ask("s1", domain.VerbFork, `{"time":"`+early+`"}`), domain.CodeNotFound)
	b.refuse(b.ask("s1", domain.VerbFork, `{"version":1,"time":"`+early+`"}`), domain.CodeInvalid)
	b.refuse(b.ask("s1", domain.VerbFork, ``, expecting(1)), domain.CodeVersionConflict)
	b.refuse(b.ask("none", domain.VerbFork, ``), domain.CodeNotFound)
	b.do(b.ask("s1", domain.VerbDelete, ``))
	b.refuse(b.ask("s1", domain.VerbFork, ``), domain.CodeGone)
}

func TestMoveToAnotherSession(t *testing.T) {
	b := newBench(t)
	two := `{"keepOpen":true,"chains":[{"id":"m","steps":[{"id":"s","manual":true},{"id":"u","manual":true}]},{"id":"k","open":true}]}`
	b.running("from", two)
	b.running("to", openPlan)
	big := strings.Repeat("y", domain.MaxInlinePayload+1)
	b.do(b.ask("from", domain.VerbStepSucceed, `{"chain":"m","step":"s","output":"`+big+`"}`))

	b.refuse(b.ask("from", domain.VerbChainMove, `{"chain":"m","to":"none"}`), domain.CodeNotFound)
	b.refuse(b.ask("from", domain.VerbChainMove, `{"chain":"m","to":"a b"}`), domain.CodeInvalid)
	b.refuse(b.ask("none", domain.VerbChainMove, `{"chain":"m","to":"to"}`), domain.CodeNotFound)
	b.refuse(b.ask("from", domain.VerbChainMove, `{"chain":"m","to":"to"}`, expecting(1)), domain.CodeVersionConflict)
	if preview := b.do(b.ask("from", domain.VerbChainMove, `{"chain":"m","to":"to"}`, dry)); !preview.DryRun || b.session("from").Chain("m") == nil {
		t.Errorf("dry run: %+v", preview)
	}
	move := b.ask("from", domain.VerbChainMove, `{"chain":"m","to":"to"}`)
	first := b.do(move)
	moved := b.session("to").Step("m", "s")
	if b.session("from").Chain("m") != nil || moved == nil || moved.Status != domain.StepStatusSuccess || moved.OutputRef == nil {
		t.Fatalf("after the move: %+v", moved)
	}
	if first.Position.Seq != b.messages() {
		t.Errorf("the answer is at %d, the later commit at %d", first.Position.Seq, b.messages())
	}
	if again := b.do(move); !again.Duplicate || again.Position != first.Position || again.Version != first.Version || again.Session != "from" {
		t.Errorf("the repeat: %+v; first %+v", again, first)
	}
	b.do(b.ask("from", domain.VerbDelete, `{"force":true}`))
	if again := b.do(move); !again.Duplicate || again.Session != "to" {
		t.Errorf("the repeat after one side is gone: %+v", again)
	}
	reused := b.ask("to", domain.VerbPause, ``, withID(move.ID))
	b.refuse(reused, domain.CodeIDReused)
}

func TestMoveFailsWhole(t *testing.T) {
	b := newBench(t)
	two := `{"keepOpen":true,"chains":[{"id":"m","steps":[{"id":"s","manual":true}]},{"id":"k","open":true}]}`
	b.running("from", two)
	b.running("to", openPlan)
	_, other := b.another()
	if _, err := other.Do(t.Context(), b.ask("to", domain.VerbPause, ``)); err != nil {
		t.Fatal(err)
	}
	b.do(b.ask("from", domain.VerbChainMove, `{"chain":"m","to":"to"}`)) // "to" is stale here
	if to := b.session("to"); to.State != domain.StatePaused || to.Chain("m") == nil {
		t.Errorf("after the move: %s, %+v", to.State, to.Chain("m"))
	}
}

func TestWorkerVerbs(t *testing.T) {
	b := newBench(t)
	big := `"` + strings.Repeat("z", domain.MaxInlinePayload+1) + `"`
	b.running("s1", `{"chains":[{"id":"c","steps":[{"id":"a","action":"build","input":`+big+`,"timeout":"1m"},{"id":"b","action":"build"}]}]}`)
	claim := b.ask("s1", domain.VerbClaim, `{"chain":"c","step":"a","lease":"5s"}`)
	got := b.do(claim).Claimed
	if got == nil || got.Attempt != 1 || string(got.Input) != big || got.IdempotencyKey != "s1/c/a/1" || got.Timeout.Std() != time.Minute || got.Lease.Std() != 5*time.Second {
		t.Fatalf("claimed %+v", got)
	}
	if again := b.do(claim); !again.Duplicate || again.Claimed == nil || again.Claimed.Attempt != 1 {
		t.Errorf("claim again: %+v", again)
	}
	before := b.messages()
	if beat := b.do(b.ask("s1", domain.VerbHeartbeat, `{"chain":"c","step":"a","attempt":1}`)); beat.State != domain.StateRunning || b.messages() != before {
		t.Errorf("heartbeat: %+v", beat)
	}
	b.refuse(b.ask("s1", domain.VerbSucceed, `{"chain":"c","step":"a","attempt":2}`), domain.CodeStaleAttempt)
	b.do(b.ask("s1", domain.VerbRelease, `{"chain":"c","step":"a","attempt":1}`))
	b.do(b.ask("s1", domain.VerbClaim, `{"chain":"c","step":"a"}`))
	if again := b.do(claim); !again.Duplicate || again.Claimed == nil || again.Claimed.Attempt != 1 {
		t.Errorf("claim again after a later attempt: %+v", again.Claimed)
	}
	next := b.do(b.ask("s1", domain.VerbSucceed, `{"chain":"c","step":"a","attempt":2,"output":`+big+`,"claimNext":true}`)).Claimed
	if next == nil || next.Step != "b" || string(next.Outputs["a"].Output) != big {
		t.Fatalf("claimNext: %+v", next)
	}
	b.do(b.ask("s1", domain.VerbFail, `{"chain":"c","step":"b","attempt":1,"error":{"message":"no"}}`))
	if s := b.session("s1"); s.State != domain.StateFailed {
		t.Errorf("after the failure: %s", s.State)
	}
}

func TestQueuedCommandsDoNotComeLate(t *testing.T) {
	b := newBench(t)
	b.running("s1", manualPlan)
	pausing := b.ask("s1", domain.VerbPause, ``, queuedAt(10))
	resuming := b.ask("s1", domain.VerbResume, ``, queuedAt(11))
	b.do(pausing)
	b.do(resuming)
	if again := b.do(pausing); !again.Duplicate {
		t.Errorf("the repeat: %+v", again)
	}
	_, err := b.cmd.Do(t.Context(), b.ask("s1", domain.VerbPause, ``, queuedAt(9)))
	if !errors.Is(err, errLate) || b.session("s1").State != domain.StateRunning {
		t.Errorf("a late command: %v, %s", err, b.session("s1").State)
	}
	b.running("s2", openPlan)
	_, err = b.cmd.Do(t.Context(), b.ask("s1", domain.VerbChainMove, `{"chain":"c","to":"s2"}`, queuedAt(9)))
	if !errors.Is(err, errLate) {
		t.Errorf("a late move: %v", err)
	}
}

func TestStaleCacheDecidesAgain(t *testing.T) {
	b := newBench(t)
	b.running("s1", manualPlan)
	_, other := b.another()
	if _, err := other.Do(t.Context(), b.ask("s1", domain.VerbPause, ``)); err != nil {
		t.Fatal(err)
	}
	// This cache says RUNNING: the rejection must come from the newest state.
	b.do(b.ask("s1", domain.VerbResume, ``))
	if _, err := other.Do(t.Context(), b.ask("s1", domain.VerbCancel, ``)); err != nil {
		t.Fatal(err)
	}
	e := b.refuse(b.ask("s1", domain.VerbPause, ``), domain.CodeIllegalTransition)
	if e.State != domain.StateCancelled {
		t.Errorf("the rejection is from state %s", e.State)
	}
}

func TestLostAcknowledgement(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.driver.SetFaults(eventstore.Faults{AfterAppend: func(context.Context, []eventstore.Record, []uint64) error {
		return eventstore.ErrUnknownOutcome
	}})
	start := b.ask("s1", domain.VerbStart, ``)
	if reply := b.do(start); reply.State != domain.StateRunning || reply.Duplicate {
		t.Errorf("a commit that is there was answered with %+v", reply)
	}
	b.driver.SetFaults(eventstore.Faults{})
	if again := b.do(start); !again.Duplicate || b.messages() != 2 {
		t.Errorf("again: %+v, %d messages", again, b.messages())
	}
}

func TestUnknownOutcome(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
		return eventstore.ErrUnknownOutcome
	}})
	start := b.ask("s1", domain.VerbStart, ``)
	if e := b.refuse(start, domain.CodeUnknownOutcome); !strings.Contains(e.Message, start.ID) || e.RetryAfter == 0 {
		t.Errorf("the answer does not say how to ask again: %+v", e)
	}
	b.driver.SetFaults(eventstore.Faults{})
	if again := b.do(start); again.Duplicate || b.messages() != 2 {
		t.Errorf("again: %+v, %d messages", again, b.messages())
	}
}

func TestStoreFailures(t *testing.T) {
	full := fmt.Errorf("%w: no space left on device", eventstore.ErrUnavailable)
	b := newBench(t)
	b.running("s1", manualPlan)
	appends := eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { return full }}
	b.driver.SetFaults(appends)
	if e := b.refuse(b.ask("s1", domain.VerbPause, ``), domain.CodeUnavailable); !strings.Contains(e.Message, "no space left") {
		t.Errorf("the sentence hides the cause: %s", e.Message)
	}
	reads := eventstore.Faults{BeforeRead: func(context.Context) error { return full }}
	b.driver.SetFaults(reads)
	b.refuse(b.ask("s1", domain.VerbResume, ``), domain.CodeUnavailable) // a rejection is never given unconfirmed
	b.refuse(b.ask("s9", domain.VerbFork, ``), domain.CodeUnavailable)
	b.refuse(b.ask("s9", domain.VerbChainMove, `{"chain":"c","to":"s1"}`), domain.CodeUnavailable)
	b.driver.SetFaults(eventstore.Faults{})
	b.do(b.ask("s1", domain.VerbPause, ``))
}

func TestTooLarge(t *testing.T) {
	b := newBench(t)
	store, err := eventstore.Open(t.Context(), eventstore.Config{Driver: b.driver, MaxMessage: 2048})
	if err != nil {
		t.Fatal(err)
	}
	b.cmd = newCommander(commanderConfig{Store: store})
	body := `{"chains":[{"steps":[{"manual":true,"input":"` + strings.Repeat("x", 4000) + `"}]}]}`
	if e := b.refuse(b.ask("s1", domain.VerbCreate, body), domain.CodeInvalid); !strings.Contains(e.Message, "2048") {
		t.Errorf("the sentence does not name the limit: %s", e.Message)
	}
}

func TestCorruptHistoryHurtsItsSessionOnly(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("bad", domain.VerbCreate, onePlan))
	b.do(b.ask("good", domain.VerbCreate, onePlan))
	key := eventstore.Key{User: "ann", Session: "bad"}
	record := eventstore.Record{Key: key, Guard: eventstore.ExpectLast(1), Body: []byte(`{"v":1,`)}
	if _, err := b.driver.Append(t.Context(), []eventstore.Record{record}); err != nil {
		t.Fatal(err)
	}
	_, b.cmd = b.another()
	if e := b.refuse(b.ask("bad", domain.VerbStart, ``), domain.CodeUnavailable); !strings.Contains(e.Message, "bad") || !strings.Contains(e.Message, "3") {
		t.Errorf("the sentence names neither session nor sequence: %s", e.Message)
	}
	b.do(b.ask("good", domain.VerbStart, ``))
}

func TestClockSetBack(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	created := b.session("s1").UpdatedAt
	b.pass(-time.Hour)
	b.do(b.ask("s1", domain.VerbStart, ``))
	if s := b.session("s1"); s.UpdatedAt.Before(created) {
		t.Errorf("time ran backwards from %s to %s", created, s.UpdatedAt)
	}
}

func TestOneSessionUnderTwoCommanders(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, openPlan))
	_, other := b.another()
	commanders := []*commander{b.cmd, other}
	const clients, each = 64, 4
	var wg sync.WaitGroup
	for n := range clients {
		requests := make([]Request, each)
		for i := range requests {
			requests[i] = b.ask("s1", domain.VerbMetadataSet, fmt.Sprintf(`{"set":{"k%d":"%d-%d"}}`, n%60, n, i))
		}
		wg.Go(func() {
			for i, r := range requests {
				for try := 0; ; try++ { // the same id again, now here, now there
					_, err := commanders[(n+i+try)%2].Do(context.Background(), r)
					if err == nil {
						break
					}
					if code := problem(err, r.ID).Code; code != domain.CodeBusy {
						t.Errorf("client %d: %v", n, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if s := b.session("s1"); s.Commits != 1+clients*each || b.messages() != 1+clients*each {
		t.Errorf("%d commits in %d messages; want %d", s.Commits, b.messages(), 1+clients*each)
	}
}

func TestConflictsAreBounded(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
		return eventstore.ErrConflict
	}})
	b.refuse(b.ask("s1", domain.VerbStart, ``), domain.CodeBusy)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.cmd.Do(ctx, b.ask("s1", domain.VerbStart, ``)); err == nil {
		t.Error("a command went on after its context ended")
	}
}

func TestCompactionIsHealed(t *testing.T) {
	b := newBench(t)
	failing := true
	var mu sync.Mutex
	broken := &brokenCompaction{Store: b.store, fail: func() bool { mu.Lock(); defer mu.Unlock(); return failing }}
	b.cmd = newCommander(commanderConfig{Store: broken, Clock: b.clock})
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.do(b.ask("s1", domain.VerbDelete, ``))
	if b.cmd.sweep.left() != 1 {
		t.Fatalf("%d sessions wait to be compacted; want 1", b.cmd.sweep.left())
	}
	// Another engine, which knows nothing of it, finds the tombstone.
	_, b.cmd = b.another()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.cmd.sweep.run(ctx) }()
	b.refuse(b.ask("s1", domain.VerbStart, ``), domain.CodeGone)
	until(t, "the session is compacted", func() bool {
		info, err := b.driver.Info(t.Context())
		return err == nil && info.Messages == 1
	})
	b.refuse(b.ask("s1", domain.VerbStart, ``), domain.CodeGone)
	if left := b.cmd.sweep.left(); left != 0 {
		t.Errorf("%d sessions wait after that", left)
	}
	cancel()
	<-done
}

// brokenCompaction is a store whose compaction fails.
type brokenCompaction struct {
	*eventstore.Store
	fail func() bool
}

func (s *brokenCompaction) Compact(ctx context.Context, a eventstore.Aggregate) error {
	if s.fail() {
		return eventstore.ErrUnavailable
	}
	return s.Store.Compact(ctx, a)
}

// until polls for a condition with a deadline.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		pause(t.Context(), time.Millisecond)
	}
}

func TestDerivedIDs(t *testing.T) {
	v7 := "0190a8c4-5d3e-7abc-8def-0123456789ab"
	id := derivedID("create", "ann", v7)
	if !strings.HasPrefix(id, "0190a8c4-5d3e-7") || id == v7 || id != derivedID("create", "ann", v7) {
		t.Errorf("derived from a UUIDv7: %s", id)
	}
	if other := derivedID("create", "bob", v7); other == id {
		t.Error("two users share an id")
	}
	if plain := derivedID("create", "ann", "order-7"); !domain.ValidID(plain) || plain[14] != '8' {
		t.Errorf("derived from a word: %s", plain)
	}
	if made := newCommandID(time.Now()); !domain.ValidID(made) || made[14] != '7' {
		t.Errorf("made: %s", made)
	}
}

func decodeReply(t testing.TB, data []byte) contract.Reply {
	t.Helper()
	var reply contract.Reply
	if err := json.Unmarshal(data, &reply); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return reply
}
