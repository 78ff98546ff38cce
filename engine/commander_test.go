package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
)

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

// TestCreateThatPresumesWrongly has another engine, which knows nothing of a
// session, make it again: what is stored counts, not what it presumed.
func TestCreateThatPresumesWrongly(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s", domain.VerbCreate, onePlan, withID("first")))
	for _, ask := range []struct {
		what      string
		request   Request
		duplicate bool
		code      domain.Code
	}{
		{"the same command", b.ask("s", domain.VerbCreate, onePlan, withID("first")), true, ""},
		{"the same definition", b.ask("s", domain.VerbCreate, onePlan), true, ""},
		{"another definition", b.ask("s", domain.VerbCreate, chainPlan), false, domain.CodeExists},
		{"the same, tried", b.ask("s", domain.VerbCreate, chainPlan, dry), false, domain.CodeExists},
	} {
		_, b.cmd = b.another()
		b.pass(time.Second)
		if ask.code != "" {
			b.refuse(ask.request, ask.code)
			continue
		}
		if reply := b.do(ask.request); reply.Duplicate != ask.duplicate || reply.Version != 1 {
			t.Errorf("%s: %+v", ask.what, reply)
		}
	}
	b.do(b.ask("s", domain.VerbDelete, `{}`))
	_, b.cmd = b.another()
	b.refuse(b.ask("s", domain.VerbCreate, onePlan), domain.CodeGone)
}
