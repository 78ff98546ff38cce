package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

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
	preview := b.do(b.ask("from", domain.VerbChainMove, `{"chain":"m","to":"to"}`, dry))
	if !preview.DryRun || b.session("from").Chain("m") == nil || types(preview) != "chain.moved.out chain.moved.in" {
		t.Errorf("dry run: %+v", preview)
	}
	if last := preview.Events[len(preview.Events)-1]; last.Session != "to" || preview.Events[0].Session != "" {
		t.Errorf("the dry run does not say whose events they are: %+v", preview.Events)
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
