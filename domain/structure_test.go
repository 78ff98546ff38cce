package domain_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

func TestAddAndRemove(t *testing.T) {
	t.Parallel()
	h := running(t, waiting)
	h.want(decode(t, domain.VerbChainAdd, `{"id":"c","waitsFor":["b"],"position":0,"open":true}`), "chain.added c")
	h.want(decode(t, domain.VerbStepAdd, `{"chain":"c","step":{"action":"work","waitsFor":[]}}`), "step.added c/s-"+derived("cmd-4"))
	h.want(decode(t, domain.VerbStepAdd, `{"chain":"c","step":{"id":"y","action":"work"}}`), "step.added c/y")
	if got := h.step("c", "y").WaitsFor; len(got) != 1 || got[0] != "s-"+derived("cmd-4") {
		t.Fatalf("y waits for %v", got)
	}
	h.want(decode(t, domain.VerbChainAdd, `{"steps":[{"action":"work"}]}`), "chain.added c-"+derived("cmd-6"))
	h.refuse(decode(t, domain.VerbChainAdd, `{"id":"c","steps":[{"action":"work"}]}`), domain.CodeExists, `session "s1" has a chain "c" already; choose another id`)
	h.refuse(decode(t, domain.VerbChainAdd, `{"id":"d"}`), domain.CodeInvalid, `steps: chain "d" has no steps; give it one, or make it open`)
	h.refuse(decode(t, domain.VerbChainAdd, `{"id":"d","open":true,"position":9}`), domain.CodeInvalid, "position: 9 is outside 0 to 4")
	h.refuse(decode(t, domain.VerbChainAdd, `{"id":"d","open":true,"waitsFor":["d"]}`), domain.CodeInvalid, `waitsFor: chain "d" waits for itself`)
	h.refuse(decode(t, domain.VerbChainAdd, `{"id":"d.e","open":true}`), domain.CodeInvalid, `id: "d.e" is no id`)
	step := func(body string, code domain.Code, words string) {
		t.Helper()
		h.refuse(decode(t, domain.VerbStepAdd, body), code, words)
	}
	step(`{"chain":"a","step":{"action":"work"}}`, domain.CodeIllegalTransition, "the chain is closed; add a chain instead")
	step(`{"chain":"c","step":{"id":"y","action":"work"}}`, domain.CodeExists, `chain "c" has a step "y" already`)
	step(`{"chain":"c","step":{"id":"z"}}`, domain.CodeInvalid, `step.action: step "z" needs an action, or manual: true`)
	step(`{"chain":"c","step":{"id":"z","action":"w","waitsFor":["q"]}}`, domain.CodeInvalid, `step.waitsFor: step "z" waits for "q", and there is no such step`)
	step(`{"chain":"c","step":{"id":"z","action":"w","waitsFor":["y","y"]}}`, domain.CodeInvalid, `step.waitsFor: step "z" waits for "y" twice`)
	step(`{"chain":"","step":{"action":"w"}}`, domain.CodeInvalid, "chain: which chain? name its id")
	h.refuse(&domain.RemoveChain{Chain: "b"}, domain.CodeIllegalTransition, `cannot remove chain "b" of session "s1": chain "c" waits for it; remove that one first`)
	h.want(&domain.RemoveChain{Chain: "c"}, "chain.removed c")
	h.refuse(&domain.RemoveChain{Chain: "c"}, domain.CodeNotFound, "no chain")
	h.refuse(&domain.CloseChain{Chain: "q"}, domain.CodeNotFound, "no chain")
	h.refuse(&domain.RemoveChain{Chain: "b", Reason: strings.Repeat("x", 1025)}, domain.CodeInvalid, "reason: 1025 bytes are too many")
	one := begin(t, oneStep)
	one.want(&domain.RemoveChain{Chain: "a"}, "chain.removed a")
	one = running(t, oneStep)
	one.refuse(&domain.RemoveChain{Chain: "a"}, domain.CodeIllegalTransition, "it is the last chain of a started session; delete the session instead")
}

// derived is the end of an id that derives from a command id.
func derived(command string) string {
	digest := sha256.Sum256([]byte(command))
	return hex.EncodeToString(digest[:6])
}

func TestFork(t *testing.T) {
	t.Parallel()
	h := running(t, `{"timeout":"1h","metadata":{"k":"v"},"onFailure":"continue","priority":3,"chains":[{"id":"a","title":"A","steps":[{"action":"work","input":[1]},{"action":"work","timeout":"5s","retry":{"maxAttempts":2}}]},{"id":"b","open":true,"waitsFor":["a"]}]}`)
	h.act("claim a/1")
	h.do(&domain.Succeed{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work", Output: []byte(`{"r":7}`), ClaimNext: true})
	h.act("fail a/2")
	h.do(&domain.PutHold{})
	parent := jsonOf(t, h.s)
	f := &story{t: t, s: domain.New("ann", "s2"), now: epoch.Add(time.Hour)}
	f.want(&domain.Fork{Source: h.s, Metadata: map[string]string{"m": "n"}, Reason: "again"}, "session.forked")
	if jsonOf(t, h.s) != parent {
		t.Fatal("the fork changed its parent")
	}
	f.wantStatus("PENDING a:PENDING(1:SUCCESS 2:PENDING) b:PENDING()")
	s := f.s
	if *s.Parent != (domain.Parent{Session: "s1", Version: h.s.Version}) || s.Metadata["k"] != "v" || s.Metadata["m"] != "n" || s.Hold != nil ||
		s.OnFailure != domain.FailContinue || s.Priority != 3 || s.Timeout.String() != "1h" || s.Error != nil || s.InFlight != 0 {
		t.Fatalf("the fork is %s", jsonOf(t, s))
	}
	if st := f.step("a", "1"); string(st.Output) != `{"r":7}` || string(st.Input) != "[1]" || st.Attempt != 1 {
		t.Fatalf("the done step is %+v", st)
	}
	if st := f.step("a", "2"); st.Attempt != 0 || st.Tries != 0 || st.Error != nil || st.Retry.MaxAttempts != 2 || !st.NotBefore.IsZero() {
		t.Fatalf("the other step is %+v", st)
	}
	f.want(&domain.Start{}, "session.started")
	f.want(claim("a", "2"), "chain.started a, step.started a/2")
	f.want(&domain.CloseChain{Chain: "b"}, "chain.closed b")
	if got := f.succeed("a", "2"); got != "step.succeeded a/2, chain.completed a, chain.completed b, session.completed" {
		t.Fatal(got)
	}
	f.refuse(&domain.Fork{Source: h.s}, domain.CodeExists, `session "s2" exists already; choose another id for the fork`)
}

func TestForkRefusals(t *testing.T) {
	t.Parallel()
	refuse := func(c *domain.Fork, code domain.Code, words string) {
		t.Helper()
		f := &story{t: t, s: domain.New("ann", "s2"), now: epoch}
		f.refuse(c, code, words)
	}
	h := begin(t, oneStep)
	refuse(&domain.Fork{}, domain.CodeNotFound, "there is no session to fork")
	refuse(&domain.Fork{Source: domain.New("ann", "s1")}, domain.CodeNotFound, "there is no session to fork")
	refuse(&domain.Fork{Source: h.s, Reason: strings.Repeat("x", 1025)}, domain.CodeInvalid, "reason: ")
	refuse(&domain.Fork{Source: h.s, Metadata: map[string]string{"": "x"}}, domain.CodeInvalid, "metadata: ")
	theirs := *h.s
	theirs.User = "bob"
	refuse(&domain.Fork{Source: &theirs}, domain.CodeNotFound, "there is no session to fork")
	h.act("delete")
	refuse(&domain.Fork{Source: h.s}, domain.CodeGone, `session "s1" is gone`)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	h := running(t, oneStep)
	h.act("claim a/1")
	h.pass(time.Minute)
	version, head := h.s.Version, h.head
	h.want(&domain.Delete{Force: true, Reason: "done with"},
		"step.cancelled a/1, chain.cancelled a, session.cancelled, session.deleted, session.purged")
	want := domain.Tombstone{
		By: "ann", Reason: "done with", State: domain.StateCancelled, Time: h.now,
		FirstTime: epoch, LastTime: epoch, Version: version, Commits: 3, Head: head,
	}
	if *h.s.Gone != want {
		t.Fatalf("the tombstone is %+v\nwant %+v", *h.s.Gone, want)
	}
	last := h.commits[len(h.commits)-1]
	if got := last.Tombstone(); got == nil || *got != want {
		t.Fatalf("the commit's tombstone is %+v", got)
	}
	if h.commits[0].Tombstone() != nil {
		t.Fatal("a commit without a tombstone has one")
	}
	if h.s.Exists() || len(h.s.Chains) > 0 || h.s.ID != "s1" || h.s.User != "ann" || h.s.Commits != 4 || h.s.Version != last.LastVersion() {
		t.Fatalf("what is left is %s", jsonOf(t, h.s))
	}
	h.refuse(decode(t, domain.VerbCreate, oneStep), domain.CodeGone, `session "s1" is gone: it was removed by ann at 2030-01-02T03:05:05Z; its id is not used again`)
	h.refuse(&domain.Batch{Commands: []domain.Command{&domain.Start{}}}, domain.CodeGone, "is gone")
}

func TestPurge(t *testing.T) {
	t.Parallel()
	h := running(t, oneStep)
	h.refuse(&domain.Purge{}, domain.CodeIllegalTransition, "it is RUNNING; purge needs")
	h.do(&domain.PutHold{Reason: "audit"})
	h.refuse(&domain.Purge{Cancel: true}, domain.CodeHeld, "it is on hold by ann since 2030-01-02; release the hold first")
	h.do(&domain.ReleaseHold{})
	h.want(&domain.Purge{Cancel: true, Policy: "90d", Archive: "s3://x", Reason: "old"}, "step.cancelled a/1, chain.cancelled a, session.cancelled, session.purged")
	if g := h.s.Gone; g.Policy != "90d" || g.Archive != "s3://x" || g.Reason != "old" {
		t.Fatalf("the tombstone is %+v", g)
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", domain.MaxReasonLength+1)
	h := running(t, oneStep)
	for _, c := range []domain.Command{
		&domain.Pause{Reason: long}, &domain.Cancel{Reason: long}, &domain.Delete{Force: true, Reason: long}, &domain.PutHold{Reason: long},
		&domain.SkipStep{Chain: "a", Step: "1", Reason: long}, &domain.Purge{Cancel: true, Reason: long},
	} {
		h.refuse(c, domain.CodeInvalid, "reason: 1025 bytes are too many; the most there may be is 1024")
	}
	h.do(&domain.PutHold{Reason: "why"})
	if *h.s.Hold != (domain.Hold{Reason: "why", By: "ann", Since: epoch}) {
		t.Fatalf("the hold is %+v", h.s.Hold)
	}
	h.refuse(&domain.ReleaseHold{Reason: long}, domain.CodeInvalid, "reason: ")
	h.act("claim a/1")
	h.act("fail a/1")
	h.refuse(&domain.RetryStep{Chain: "a", Step: "1", Reason: long}, domain.CodeInvalid, "reason: ")
	h.refuse(&domain.RetryStep{Chain: "a", Step: "1", Input: []byte("?")}, domain.CodeInvalid, "input: it is not JSON")
	h.refuse(&domain.SkipStep{Chain: "a", Step: "1", Output: []byte("?")}, domain.CodeInvalid, "output: it is not JSON")
	h.want(&domain.RetryStep{Chain: "a", Step: "1", Input: []byte(`{ "n" : 2 }`)}, "step.retried a/1, chain.started a, session.resumed")
	if got := string(h.step("a", "1").Input); got != `{"n":2}` {
		t.Fatalf("the input is %s", got)
	}
	h.refuse(&domain.Pause{Mode: "soft"}, domain.CodeInvalid, `mode: "soft" is no pause mode; use drain or interrupt`)
}

func TestPause(t *testing.T) {
	t.Parallel()
	h := running(t, sideways)
	h.act("claim a/1")
	h.want(&domain.Pause{}, "session.paused")
	if h.s.PausedBy != "ann" || !h.s.PausedAt.Equal(epoch) || h.s.InFlight != 1 {
		t.Fatalf("paused by %q at %s with %d in flight", h.s.PausedBy, h.s.PausedAt, h.s.InFlight)
	}
	h.pass(time.Minute)
	h.want(&domain.Pause{Mode: domain.PauseInterrupt}, "session.paused, step.released a/1, session.quiesced")
	wantTime(t, "paused", h.s.PausedAt, epoch)
	h.refuse(&domain.Pause{Mode: domain.PauseInterrupt}, domain.CodeAlready, "is already PAUSED")
	h.act("resume")
	if h.s.PausedBy != "" || !h.s.PausedAt.IsZero() {
		t.Fatalf("after a resume paused by %q at %s", h.s.PausedBy, h.s.PausedAt)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	h := begin(t, `{"metadata":{"a":"1","b":"2"},"chains":[{"steps":[{"action":"work"}]}]}`)
	h.want(decode(t, domain.VerbMetadataSet, `{"set":{"a":"1","c":"3"},"remove":["b","q","b"]}`), "metadata.set")
	if got := jsonOf(t, h.last.Events[0]); got != `{"set":{"c":"3"},"removed":["b"]}` {
		t.Fatalf("the event is %s", got)
	}
	if got := jsonOf(t, h.s.Metadata); got != `{"a":"1","c":"3"}` {
		t.Fatalf("the metadata is %s", got)
	}
	refuse := func(body string, code domain.Code, words string) {
		t.Helper()
		h.refuse(decode(t, domain.VerbMetadataSet, body), code, words)
	}
	refuse(`{"set":{"a":"1"},"remove":["q"]}`, domain.CodeAlready, `the metadata of session "s1" is already so`)
	refuse(`{}`, domain.CodeInvalid, "set: nothing to set or remove")
	refuse(`{"set":{"a":"1"},"remove":["a"]}`, domain.CodeInvalid, `remove: key "a" is both set and removed`)
	refuse(`{"set":{"":"1"}}`, domain.CodeInvalid, `set: key "": a key has 1 to 64 bytes`)
	many := map[string]string{}
	for i := range domain.MaxMetadataEntries {
		many[fmt.Sprintf("k%d", i)] = "v"
	}
	h.refuse(&domain.SetMetadata{Set: many}, domain.CodeInvalid, "set: 66 keys are too many; the most there may be is 64")
	none := begin(t, oneStep)
	none.want(decode(t, domain.VerbMetadataSet, `{"set":{"a":"1"}}`), "metadata.set")
	none.want(decode(t, domain.VerbMetadataSet, `{"remove":["a"]}`), "metadata.set")
}

func TestCreateAgain(t *testing.T) {
	t.Parallel()
	h := begin(t, `{"timeout":"60s","chains":[{"steps":[{"action":"work"}]}]}`)
	h.want(decode(t, domain.VerbCreate, `{"chains":[{"id":"1","steps":[{"id":"1","waitsFor":[],"action":"work"}]}],"timeout":"1m","onFailure":"stop"}`), "")
	h.act("start")
	h.want(decode(t, domain.VerbCreate, `{"timeout":"60s","chains":[{"steps":[{"action":"work"}]}]}`), "")
	h.refuse(decode(t, domain.VerbCreate, oneStep), domain.CodeExists, `session "s1" exists already with another definition; choose another id`)
	h.refuse(decode(t, domain.VerbCreate, `{"onFailure":"x"}`), domain.CodeInvalid, "onFailure: ")
}
