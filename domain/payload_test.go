package domain_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

// word is a JSON string that takes size bytes.
func word(size int) json.RawMessage {
	return json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
}

func TestLargePayloadsStayInTheirCommit(t *testing.T) {
	t.Parallel()
	h := newStory(t)
	c := &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{{ID: "a", Steps: []domain.StepDef{
		{Action: "work", Input: word(domain.MaxInlinePayload)},
		{Action: "work", Input: word(domain.MaxInlinePayload + 1)},
	}}}}}
	h.do(c)
	if st := h.step("a", "1"); len(st.Input) != domain.MaxInlinePayload || st.InputRef != nil {
		t.Fatalf("an input at the bound: %d bytes, ref %v", len(st.Input), st.InputRef)
	}
	ref := h.step("a", "2").InputRef
	if ref == nil || ref.Version != 1 || ref.Size != domain.MaxInlinePayload+1 || len(ref.SHA256) != 64 || h.step("a", "2").Input != nil {
		t.Fatalf("an input over the bound: %+v", ref)
	}
	h.act("start")
	h.act("claim a/1")
	h.do(&domain.Succeed{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work", Output: word(5000), ClaimNext: true})
	if ref := h.step("a", "1").OutputRef; ref == nil || ref.Version != 5 || ref.Size != 5000 {
		t.Fatalf("the output: %+v", ref)
	}
	fail := h.failure("a", "2")
	fail.Error.Stack = strings.Repeat("s", domain.MaxInlinePayload+1)
	h.do(fail)
	if e := h.step("a", "2").Error; e.Stack != "" || e.StackRef == nil || e.StackRef.Size != domain.MaxInlinePayload+1 || h.s.Error.StackRef == nil {
		t.Fatalf("the stack: %+v, the session's: %+v", e, h.s.Error)
	}
	h.do(&domain.RetryStep{Chain: "a", Step: "2", Input: word(10)})
	if st := h.step("a", "2"); st.InputRef != nil || len(st.Input) != 10 {
		t.Fatalf("the new input: %+v", st)
	}
	h.do(&domain.SkipStep{Chain: "a", Step: "2", Output: word(6000)})
	if st := h.step("a", "2"); st.OutputRef == nil || st.OutputRef.Size != 6000 {
		t.Fatalf("the output of a skip: %+v", st)
	}
}

func TestInlineTotal(t *testing.T) {
	t.Parallel()
	const steps = 40
	def := domain.ChainDef{ID: "a"}
	for range steps {
		def.Steps = append(def.Steps, domain.StepDef{Action: "work", Input: word(domain.MaxInlinePayload)})
	}
	h := newStory(t)
	h.do(&domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{def}}})
	inline, refs := 0, 0
	for _, st := range h.s.Chains[0].Steps {
		inline += len(st.Input)
		if st.InputRef != nil {
			refs++
		}
	}
	if inline != domain.MaxInlineTotal || refs != steps-domain.MaxInlineTotal/domain.MaxInlinePayload {
		t.Fatalf("%d bytes inline, %d references", inline, refs)
	}
	h.act("start")
	h.act("claim a/1")
	fail := h.failure("a", "1")
	fail.Error.Stack = "main.go:1"
	h.do(fail)
	if e := h.step("a", "1").Error; e.StackRef == nil {
		t.Fatalf("a stack beyond the total is inline: %+v", e)
	}
}

// TestLargestStateFitsAMessage fails every step of the largest plan with the
// longest message.
func TestLargestStateFitsAMessage(t *testing.T) {
	t.Parallel()
	none := []string{}
	def := domain.ChainDef{ID: "a"}
	for range domain.MaxSteps {
		def.Steps = append(def.Steps, domain.StepDef{Action: "work", WaitsFor: &none})
	}
	s := domain.New("ann", "s")
	do := func(c domain.Command) {
		t.Helper()
		d, err := domain.Decide(s, c, domain.Env{Now: time.Unix(1, 0), Actor: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		s = d.Next
	}
	do(&domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{def}}})
	do(&domain.Start{})
	for _, st := range s.Chains[0].Steps {
		do(&domain.Claim{Chain: "a", Step: st.ID, Worker: strings.Repeat("w", domain.MaxIDLength), Action: "work"})
	}
	long := strings.Repeat("é", domain.MaxErrorMessage/2)
	for _, st := range s.Chains[0].Steps {
		do(&domain.Fail{
			Chain: "a", Step: st.ID, Attempt: 1, Worker: strings.Repeat("w", domain.MaxIDLength), Action: "work",
			Error: domain.ReportError{Message: long, Stack: strings.Repeat("s", 9000)},
		})
	}
	if first := s.Step("a", "1").Error; first.Message != long {
		t.Errorf("the first message was cut to %d bytes", len(first.Message))
	}
	if size := len(jsonOf(t, s)); size > 1<<20 {
		t.Errorf("the state has %d bytes", size)
	}
}

func TestNoPayloadIsNoReference(t *testing.T) {
	t.Parallel()
	h := running(t, oneStep)
	h.act("claim a/1")
	h.act("ok a/1")
	if st := h.step("a", "1"); st.InputRef != nil || st.OutputRef != nil || st.Input != nil || st.Output != nil {
		t.Fatalf("the step is %+v", st)
	}
}

func TestForkAndMoveNeedWholePayloads(t *testing.T) {
	t.Parallel()
	h := newStory(t)
	def := domain.ChainDef{ID: "a", Steps: []domain.StepDef{{Action: "work", Input: word(5000)}}}
	h.do(&domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{def, {ID: "b", Steps: def.Steps}}}})
	f := &story{t: t, s: domain.New("ann", "s2"), now: epoch}
	func() {
		defer func() {
			if why := fmt.Sprint(recover()); !strings.Contains(why, `the payloads of step "1" were not filled in`) {
				t.Errorf("a fork without its payloads: %s", why)
			}
		}()
		_, _ = domain.Decide(f.s, &domain.Fork{Source: h.s}, f.env())
	}()
	for _, c := range h.s.Chains {
		c.Steps[0].Input = word(5000) // as the engine fills it in
	}
	f.do(&domain.Fork{Source: h.s})
	if ref := f.step("a", "1").InputRef; ref == nil || ref.Version != 1 {
		t.Fatalf("the fork refers to %+v", ref)
	}
	dst := other(t, oneStepNamed("x"))
	dst.act("start")
	out, in, err := domain.DecideMove(h.s, dst.s, &domain.MoveChain{Chain: "a", To: "s2"}, h.env())
	if err != nil || len(out.Events) != 1 {
		t.Fatal(err)
	}
	dst.commit(domain.VerbChainMove, in)
	if ref := dst.step("a", "1").InputRef; ref == nil || ref.Version != 3 {
		t.Fatalf("the moved chain refers to %+v", ref)
	}
}

func TestForkAndMoveFitOneMessage(t *testing.T) {
	t.Parallel()
	h := running(t, `{"chains":[{"id":"a","steps":[{"action":"work","waitsFor":[]},{"action":"work","waitsFor":[]},{"action":"work","waitsFor":[]}]},{"id":"z","steps":[{"action":"work"}]}]}`)
	for _, step := range []string{"1", "2", "3"} {
		h.act("claim a/" + step)
		h.do(&domain.Succeed{Chain: "a", Step: step, Attempt: 1, Worker: "w1", Action: "work", Output: word(domain.MaxPayloadBytes)})
	}
	for _, st := range h.s.Chains[0].Steps {
		st.Output = word(domain.MaxPayloadBytes)
	}
	sizes := "would copy 786432 bytes (inputs 0, outputs 786432, errors 0); the most there may be is 655360"
	_, err := domain.Decide(domain.New("ann", "s2"), &domain.Fork{Source: h.s}, h.env())
	wantRejection(t, err, domain.CodeInvalid, "fork "+sizes)
	dst := other(t, `{"keepOpen":true}`)
	dst.act("start")
	_, _, err = domain.DecideMove(h.s, dst.s, &domain.MoveChain{Chain: "a", To: "s2"}, h.env())
	wantRejection(t, err, domain.CodeInvalid, "chain.move "+sizes)
}

func TestRecentWindow(t *testing.T) {
	t.Parallel()
	s := domain.New("ann", "s1")
	apply := func(n int, now time.Time) {
		c := &domain.Commit{ID: fmt.Sprintf("c%d", n), Version: uint64(n), Time: now, Digest: strings.Repeat("ab", 32), Events: []domain.Event{&domain.SessionHeld{}}, Queue: uint64(n % 3)}
		before := slices.Clone(s.Recent)
		next := domain.Apply(s, c)
		if !slices.Equal(s.Recent, before) {
			t.Fatal("Apply changed the list of the state before it")
		}
		s = next
	}
	for n := 1; n <= domain.RecentMin; n++ {
		apply(n, epoch)
	}
	apply(domain.RecentMin+1, epoch.Add(domain.RecentWindow))
	if len(s.Recent) != domain.RecentMin+1 {
		t.Fatalf("%d ids after 2 minutes", len(s.Recent))
	}
	apply(domain.RecentMin+2, epoch.Add(domain.RecentWindow+1))
	if len(s.Recent) != domain.RecentMin {
		t.Fatalf("%d ids after more than 2 minutes, want the last %d", len(s.Recent), domain.RecentMin)
	}
	for n := 100; n <= 100+domain.RecentMax; n++ {
		apply(n, epoch.Add(domain.RecentWindow+2))
	}
	if len(s.Recent) != domain.RecentMax || s.Recent[0].ID != "c101" {
		t.Fatalf("%d ids, the first is %s", len(s.Recent), s.Recent[0].ID)
	}
	last, ok := s.FindRecent("c1124")
	if !ok || last.Version != 1124 || !last.Same(strings.Repeat("ab", 32)) || last.Same("cd") {
		t.Fatalf("found %+v, %v", last, ok)
	}
	if _, ok := s.FindRecent("c100"); ok {
		t.Fatal("an id out of the window is found")
	}
	if s.QueueSeq != 1123%3 && s.QueueSeq != 1124%3 {
		t.Fatalf("the queue's sequence is %d", s.QueueSeq)
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	raw, err := domain.Marshal(map[string]string{"a": "<&>"})
	if err != nil || string(raw) != `{"a":"<&>"}` {
		t.Fatalf("%s, %v", raw, err)
	}
	if _, err := domain.Marshal(func() {}); err == nil {
		t.Fatal("a function is no JSON")
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	one := domain.Digest(domain.VerbPause, []byte(`{"mode":"drain"}`))
	if two := domain.Digest(domain.VerbPause, []byte(" { \"mode\" :\n\"drain\" } ")); one != two {
		t.Error("white space counts")
	}
	for _, d := range []string{
		domain.Digest(domain.VerbResume, []byte(`{"mode":"drain"}`)),
		domain.Digest(domain.VerbPause, []byte(`{"mode":"interrupt"}`)),
		domain.Digest(domain.VerbPause, nil),
		domain.Digest(domain.VerbPause, []byte("{")),
	} {
		if d == one {
			t.Error("two commands have one digest")
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	h := newStory(t)
	h.want(decode(t, domain.VerbBatch, `{"commands":[{"verb":"create","body":`+oneStep+`},{"verb":"chain.add","body":{"steps":[{"action":"x"}]}},{"verb":"start"}]}`),
		"session.created, chain.added c-"+derived("cmd-1/1")+", session.started")
	if r := h.last.Results; len(r) != 3 || r[1] != (domain.Result{Verb: domain.VerbChainAdd, Events: 1}) {
		t.Fatalf("the results are %+v", r)
	}
	all := decode(t, domain.VerbBatch, `{"commands":[{"verb":"pause"},{"verb":"pause"}]}`)
	h.refuse(all, domain.CodeAlready, `commands[1] (pause): session "s1" is already PAUSED; nothing of the batch was applied`)
	_, err := domain.Decide(h.s, all, h.env())
	var r *domain.Rejection
	if r = err.(*domain.Rejection); r.State != domain.StateRunning { //nolint:errorlint // it is one
		t.Fatalf("the rejection says %s, and nothing was applied", r.State)
	}
	h.want(decode(t, domain.VerbBatch, `{"mode":"each","commands":[{"verb":"pause"},{"verb":"pause"},{"verb":"chain.close","body":{"chain":"q"}},{"verb":"resume"}]}`),
		"session.paused, session.quiesced, session.resumed")
	got := jsonOf(t, h.last.Results)
	if want := `[{"verb":"pause","events":2},{"verb":"pause","code":"already","message":"session \"s1\" is already PAUSED","events":0},` +
		`{"verb":"chain.close","code":"not_found","message":"session \"s1\" has no chain \"q\"","events":0},{"verb":"resume","events":1}]`; got != want {
		t.Fatalf("the results are\n%s\nwant\n%s", got, want)
	}
	h.want(decode(t, domain.VerbBatch, `{"mode":"each","commands":[{"verb":"start"}]}`), "")
	h.refuse(&domain.Batch{Commands: []domain.Command{&domain.Fork{}}}, domain.CodeInvalid, "commands[0].verb: fork can't be part of a batch")
	field := &domain.Batch{Commands: []domain.Command{&domain.RemoveChain{}}}
	if _, err := domain.Decide(h.s, field, h.env()); err.(*domain.Rejection).Field != "commands[0].body.chain" { //nolint:errorlint // it is one
		t.Fatalf("the field is %q", err.(*domain.Rejection).Field) //nolint:errorlint // it is one
	}
	none := newStory(t)
	none.refuse(decode(t, domain.VerbBatch, `{"mode":"each","commands":[{"verb":"start"}]}`), domain.CodeNotFound, `there is no session "s1"`)
	none.refuse(decode(t, domain.VerbBatch, `{"mode":"each","commands":[{"verb":"create","body":{"priority":999}}]}`), domain.CodeInvalid, "999 is outside -100 to 100")
}

func TestEventTypes(t *testing.T) {
	t.Parallel()
	types := domain.EventTypes()
	if len(types) != 34 {
		t.Fatalf("%d types of events", len(types))
	}
	for _, name := range types {
		e := domain.NewEvent(name)
		if e == nil || e.Type() != name {
			t.Fatalf("NewEvent(%s) is %v", name, e)
		}
		if chain, step := e.About(); chain != "" || step != "" {
			t.Fatalf("an empty %s is about %s/%s", name, chain, step)
		}
	}
	if domain.NewEvent("step.exploded") != nil {
		t.Fatal("there is no such event")
	}
}

func TestEvolvePanicsOnStrangers(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Fatal("a foreign event was applied")
		}
	}()
	domain.Evolve(domain.New("ann", "s1"), domain.Recorded{Event: stranger{}})
}

type stranger struct{}

func (stranger) Type() domain.EventType      { return "strange" }
func (stranger) About() (chain, step string) { return "", "" }
func (stranger) Verb() domain.Verb           { return "strange" }

func TestDecidePanicsOnStrangers(t *testing.T) {
	t.Parallel()
	h := begin(t, oneStep)
	defer func() {
		if why := fmt.Sprint(recover()); !strings.Contains(why, "stranger is no command") {
			t.Fatalf("a foreign command: %s", why)
		}
	}()
	_, _ = domain.Decide(h.s, stranger{}, h.env())
}

func TestImportedStateIsTakenOver(t *testing.T) {
	t.Parallel()
	h := running(t, `{"timeout":"1h","chains":[{"id":"a","steps":[{"action":"work","input":1}]}]}`)
	h.act("claim a/1")
	h.act("fail a/1")
	h.do(&domain.PutHold{})
	f := &story{t: t, s: domain.New("ann", "s9"), now: epoch.Add(time.Hour)}
	e := &domain.SessionImported{Plan: *h.s, Source: domain.Parent{Session: "s1", Version: h.s.Version}, Head: "x"}
	f.commit("import", domain.Decision{Events: []domain.Event{e}, Next: h.s, Time: f.now})
	f.wantStatus("FAILED a:FAILED(1:FAILED)")
	if !f.s.CreatedAt.Equal(epoch) || f.s.Hold == nil || f.s.Error == nil || f.s.Version != 1 || f.s.Definition != h.s.Definition {
		t.Fatalf("the import is %s", jsonOf(t, f.s))
	}
	f.want(&domain.RetryStep{Chain: "a", Step: "1"}, "step.retried a/1, chain.started a, session.resumed")
}

func TestPayloadsAreCompact(t *testing.T) {
	t.Parallel()
	h := begin(t, `{"chains":[{"id":"a","steps":[{"action":"work","input":{ "a" : "<b>" }}]}]}`)
	if got := h.step("a", "1").Input; !bytes.Equal(got, []byte(`{"a":"<b>"}`)) {
		t.Fatalf("the input is %s", got)
	}
	over := &domain.AddChain{ChainDef: domain.ChainDef{ID: "b", Steps: []domain.StepDef{{Action: "w", Input: word(domain.MaxPayloadBytes + 1)}}}}
	h.refuse(over, domain.CodeInvalid, "steps[0].input: 262145 bytes are too many; the most there may be is 262144; store it elsewhere and refer to it")
}
