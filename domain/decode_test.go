package domain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

func TestDecodeErrorsNameTheField(t *testing.T) {
	t.Parallel()
	tests := []struct {
		verb                 domain.Verb
		body, field, message string
	}{
		{"pause", `{"mod":"drain"}`, "mod", `there is no field "mod" here`},
		{"create", `{"chains":[{"stepz":[]}]}`, "chains[0].stepz", `there is no field "chains[0].stepz" here`},
		{"start", `{"a\"b":1}`, `a"b`, `there is no field "a\"b" here`},
		{"pause", `{"mode":1}`, "mode", "mode: a JSON number can't stand here"},
		{"create", `{"chains":{}}`, "chains", "chains: a JSON object can't stand here"},
		{"create", `{"chains":[{"steps":[{"timeout":"5x"}]}]}`, "chains[0].steps[0].timeout", `chains[0].steps[0].timeout: "5x" is not a duration; write a whole number and one of ms, s, m, h, d, such as 30s`},
		{"create", `{"timeout":30}`, "timeout", `timeout: a duration is a string such as "30s", not 30`},
		{"create", `{"timeout":"9999d"}`, "timeout", `timeout: duration "9999d" is over the bound of 3650d`},
		{"chain.add", `{"position":"first"}`, "position", "position: a JSON string can't stand here"},
		{"pause", `[]`, "", "a JSON array can't stand here"},
		{"pause", `{"mode":`, "", "the body is not JSON: it ends in the middle"},
		{"pause", `{"mode" "x"}`, "", "the body is not JSON: invalid character '\"' after object key, at byte 9"},
		{"pause", `{}{}`, "", "the body goes on after the end of its JSON object, at byte 3"},
		{"pause", `{} x`, "", "the body goes on after the end of its JSON object, at byte 4"},
		{"pause", "{\"reason\":\"\xff\"}", "", "the body is not JSON: it is not UTF-8 text"},
		{"explode", `{}`, "verb", `verb: there is no command "explode"; there are create, start, pause`},
		{"step.timeout", `{}`, "verb", `verb: there is no command "step.timeout"`},
		{"batch", `{}`, "commands", "commands: a batch has 1 to 256 commands, not 0"},
		{"batch", `{"commands":[` + many(257, `{"verb":"start"}`) + `]}`, "commands", "commands: a batch has 1 to 256 commands, not 257"},
		{"batch", `{"mode":"some","commands":[]}`, "mode", `mode: "some" is no batch mode; use all or each`},
		{"batch", `{"command":[]}`, "command", `there is no field "command" here`},
		{"batch", `{"commands":[{"verb":"start"},{"verb":"delete"}]}`, "commands[1].verb", `commands[1].verb: "delete" can't be part of a batch`},
		{"batch", `{"commands":[{"verb":"claim"}]}`, "commands[0].verb", `commands[0].verb: "claim" can't be part of a batch`},
		{"batch", `{"commands":[{"verb":"batch"}]}`, "commands[0].verb", `commands[0].verb: "batch" can't be part of a batch`},
		{"batch", `{"commands":[{"verb":"pause","body":{"x":1}}]}`, "commands[0].body.x", `commands[0].body: there is no field "x" here`},
		{"create", `{"Chains":[]}`, "Chains", `there is no field "Chains" here`},
		{"create", `{"metadata":{"A":"1","a":"2"},"keepOpen":true,"keepOpen":false}`, "keepOpen", "keepOpen: the field stands twice"},
		{"create", `{"metadata":{"a":"1","\u0061":"2"}}`, "metadata.a", "metadata.a: the field stands twice"},
		{"create", `{"chains":[{"id":"a"},{"steps":[{"input":{"x":[1,{"X":"]}"}]},"action":5}]}]}`, "chains[1].steps[0].action", "chains[1].steps[0].action: a JSON number can't stand here"},
		{"create", ` { "chains" : [ { "steps" : [ { "retry" : { "backoff" : true } } ] } ] } `, "chains[0].steps[0].retry.backoff", "chains[0].steps[0].retry.backoff: a duration is a string"},
		{"create", `{"chains":[null,{"steps":null,"open":"yes"}]}`, "chains[1].open", "chains[1].open: a JSON string can't stand here"},
	}
	for _, test := range tests {
		_, err := domain.DecodeCommand(test.verb, []byte(test.body))
		var r *domain.Rejection
		if !errors.As(err, &r) {
			t.Errorf("%s %.60s: %v", test.verb, test.body, err)
			continue
		}
		if r.Code != domain.CodeInvalid || r.Field != test.field || !strings.HasPrefix(r.Message, test.message) {
			t.Errorf("%s %.60s\n got %q: %s\nwant %q: %s", test.verb, test.body, r.Field, r.Message, test.field, test.message)
		}
	}
	_, err := domain.DecodeCommand(domain.VerbPause, make([]byte, domain.MaxCommandBytes+1))
	wantRejection(t, err, domain.CodeInvalid, "the body has 786433 bytes; the most there may be is 786432")
	_, err = domain.DecodeCommand(domain.VerbPause, []byte(`{"`+strings.Repeat("x", 9999)+`":1}`))
	if wantRejection(t, err, domain.CodeInvalid, "there is no field"); len(err.Error()) > 200 {
		t.Errorf("a sentence of %d bytes", len(err.Error()))
	}
}

func TestEmptyBodiesHaveOneDigest(t *testing.T) {
	t.Parallel()
	want := domain.Digest(domain.VerbStart, []byte("{}"))
	for _, body := range []string{"", " ", "null", "{ }"} {
		if domain.Digest(domain.VerbStart, []byte(body)) != want {
			t.Errorf("%q has another digest than {}", body)
		}
	}
	if domain.Digest(domain.VerbPause, nil) == want {
		t.Error("the digest ignores the verb")
	}
}

func TestDecodeAcceptsAnEmptyBody(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", " \n", "{}", "null", " {} \n"} {
		if c, err := domain.DecodeCommand(domain.VerbPause, []byte(body)); err != nil || *c.(*domain.Pause) != (domain.Pause{}) {
			t.Errorf("%q: %v, %v", body, c, err)
		}
	}
}

func TestEveryVerbDecodes(t *testing.T) {
	t.Parallel()
	verbs := append(append(domain.UserVerbs(), domain.OperatorVerbs()...), domain.WorkerVerbs()...)
	for _, verb := range verbs {
		body := "{}"
		if verb == domain.VerbBatch {
			body = `{"commands":[{"verb":"start","body":{}}]}`
		}
		if c := decode(t, verb, body); c.Verb() != verb {
			t.Errorf("%s decodes to %T", verb, c)
		}
	}
	for _, c := range []domain.Command{&domain.TimeoutSession{}, &domain.TimeoutStep{}, &domain.Purge{}} {
		if _, err := domain.DecodeCommand(c.Verb(), nil); err == nil {
			t.Errorf("%s can be sent", c.Verb())
		}
	}
}

func TestNormaliseFillsInDefaults(t *testing.T) {
	t.Parallel()
	c := decode(t, domain.VerbCreate, `{"chains":[{"steps":[{"action":"x"},{"action":"y"},{"action":"z","waitsFor":[]}]},{"id":"q","open":true}]}`).(*domain.Create)
	before := jsonOf(t, c.Definition)
	def, digest, rejected := domain.Normalise(c.Definition)
	if rejected != nil || len(digest) != 64 {
		t.Fatal(rejected)
	}
	want := `{"chains":[{"id":"1","steps":[{"id":"1","action":"x","waitsFor":[]},{"id":"2","action":"y","waitsFor":["1"]},{"id":"3","action":"z","waitsFor":[]}]},{"id":"q","open":true}],"onFailure":"stop"}`
	if got := jsonOf(t, def); got != want {
		t.Fatalf("normalised\n got %s\nwant %s", got, want)
	}
	if jsonOf(t, c.Definition) != before {
		t.Fatal("the caller's definition was changed")
	}
	again, same, _ := domain.Normalise(def)
	if same != digest || jsonOf(t, again) != want {
		t.Fatal("normalising twice is not the same as once")
	}
}

// with returns a definition of one chain with one step, each changed.
func with(chain func(*domain.ChainDef), step func(*domain.StepDef)) domain.Definition {
	st := domain.StepDef{Action: "work"}
	if step != nil {
		step(&st)
	}
	c := domain.ChainDef{Steps: []domain.StepDef{st}}
	if chain != nil {
		chain(&c)
	}
	return domain.Definition{Chains: []domain.ChainDef{c}}
}

func TestNormaliseBounds(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	step := func(change func(*domain.StepDef)) domain.Definition { return with(nil, change) }
	chain := func(change func(*domain.ChainDef)) domain.Definition { return with(change, nil) }
	retry := func(p domain.RetryPolicy) domain.Definition {
		return step(func(s *domain.StepDef) { s.Retry = &p })
	}
	meta := func(n, size int) domain.Definition {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("k%02d", i)] = long(size)
		}
		return domain.Definition{Metadata: m}
	}
	waits := func(ids ...string) func(*domain.StepDef) {
		return func(s *domain.StepDef) { s.WaitsFor = &ids }
	}
	cycle := domain.Definition{Chains: []domain.ChainDef{
		{ID: "a", Open: true, WaitsFor: []string{"c"}}, {ID: "b", Open: true, WaitsFor: []string{"a"}}, {ID: "c", Open: true, WaitsFor: []string{"b"}},
	}}
	stepCycle := chain(func(c *domain.ChainDef) {
		c.Steps = []domain.StepDef{{Action: "x", WaitsFor: &[]string{"2"}}, {Action: "x", WaitsFor: &[]string{"1"}}}
	})
	steps := func(n int, title string) domain.Definition {
		return chain(func(c *domain.ChainDef) {
			c.Steps = nil
			for range n {
				c.Steps = append(c.Steps, domain.StepDef{Action: "x", Title: title})
			}
		})
	}
	big := chain(func(c *domain.ChainDef) {
		c.Steps = nil
		for range 4 {
			c.Steps = append(c.Steps, domain.StepDef{Action: "x", Input: word(domain.MaxPayloadBytes)})
		}
	})
	two := func(a, b string) domain.Definition {
		return domain.Definition{Chains: []domain.ChainDef{{ID: a, Open: true}, {ID: b, Open: true}}}
	}
	tests := []struct {
		def            domain.Definition
		field, message string
	}{
		{domain.Definition{OnFailure: "ignore"}, "onFailure", `"ignore" is no policy; use stop or continue`},
		{domain.Definition{Timeout: -1}, "timeout", "outside 0s to 3650d"},
		{domain.Definition{Timeout: domain.Duration(domain.MaxDuration) + 1}, "timeout", "outside 0s to 3650d"},
		{domain.Definition{Priority: 101}, "priority", "101 is outside -100 to 100"},
		{domain.Definition{Priority: -101}, "priority", "-101 is outside -100 to 100"},
		{meta(65, 1), "metadata", "65 keys are too many; the most there may be is 64"},
		{meta(1, 513), "metadata", `the value of "k00": a value has at most 512 bytes of UTF-8`},
		{meta(64, 512), "metadata", "32960 bytes of metadata are too many; the most there may be is 16384"},
		{domain.Definition{Metadata: map[string]string{long(65): ""}}, "metadata", "a key has 1 to 64 bytes of UTF-8"},
		{domain.Definition{Metadata: map[string]string{"k": "\xff"}}, "metadata", "a value has at most 512 bytes of UTF-8"},
		{domain.Definition{Chains: make([]domain.ChainDef, 257)}, "chains", "257 chains are too many; the most there may be is 256"},
		{two("a", "a"), "chains[1].id", `"a" is the id of an earlier chain`},
		{two("a", "b c"), "chains[1].id", `"b c" is no id; use 1 to 64 of A-Z a-z 0-9 _ -`},
		{two("a", long(65)), "chains[1].id", "is no id"},
		{chain(func(c *domain.ChainDef) { c.Title = long(257) }), "chains[0].title", "257 bytes are too many; the most there may be is 256"},
		{chain(func(c *domain.ChainDef) { c.Steps = nil }), "chains[0].steps", `chain "1" has no steps; give it one, or make it open`},
		{steps(1001, ""), "chains", "1001 steps are too many; the most there may be in a session is 1000"},
		{steps(1000, long(256)), "chains", "bytes without inputs; the most there may be is 262144"},
		{big, "chains", "the definition has 1048"},
		{chain(func(c *domain.ChainDef) { c.WaitsFor = []string{"1"} }), "chains[0].waitsFor", `chain "1" waits for itself`},
		{chain(func(c *domain.ChainDef) { c.WaitsFor = []string{"9"} }), "chains[0].waitsFor", `chain "1" waits for "9", and there is no such chain`},
		{cycle, "chains", `chain "a" waits for itself, over its waitsFor`},
		{stepCycle, "chains[0].steps", `step "1" waits for itself, over its waitsFor`},
		{step(waits("9")), "chains[0].steps[0].waitsFor", `step "1" waits for "9", and there is no such step`},
		{step(waits("1")), "chains[0].steps[0].waitsFor", `step "1" waits for itself`},
		{chain(func(c *domain.ChainDef) {
			c.Steps = append(c.Steps, domain.StepDef{Action: "x", WaitsFor: &[]string{"1", "1"}})
		}), "chains[0].steps[1].waitsFor", `step "2" waits for "1" twice`},
		{chain(func(c *domain.ChainDef) { c.Steps = append(c.Steps, domain.StepDef{ID: "1", Action: "x"}) }), "chains[0].steps[1].id", `"1" is the id of an earlier step of the chain`},
		{step(func(s *domain.StepDef) { s.ID = "a.b" }), "chains[0].steps[0].id", `"a.b" is no id`},
		{step(func(s *domain.StepDef) { s.ID = "*" }), "chains[0].steps[0].id", `"*" is no id`},
		{step(func(s *domain.StepDef) { s.Title = long(257) }), "chains[0].steps[0].title", "257 bytes are too many"},
		{step(func(s *domain.StepDef) { s.Action = "" }), "chains[0].steps[0].action", `step "1" needs an action, or manual: true`},
		{step(func(s *domain.StepDef) { s.Action = "a b" }), "chains[0].steps[0].action", `"a b" is no id`},
		{step(func(s *domain.StepDef) { s.Timeout = -1 }), "chains[0].steps[0].timeout", "outside 0s to 3650d"},
		{step(func(s *domain.StepDef) { s.Input = []byte("{") }), "chains[0].steps[0].input", "it is not JSON"},
		{step(func(s *domain.StepDef) { s.Input = word(domain.MaxPayloadBytes + 1) }), "chains[0].steps[0].input", "262145 bytes are too many; the most there may be is 262144; store it elsewhere and refer to it"},
		{retry(domain.RetryPolicy{}), "chains[0].steps[0].retry.maxAttempts", "0 is outside 1 to 1000"},
		{retry(domain.RetryPolicy{MaxAttempts: 1001}), "chains[0].steps[0].retry.maxAttempts", "1001 is outside 1 to 1000"},
		{retry(domain.RetryPolicy{MaxAttempts: 1, Factor: 0.5}), "chains[0].steps[0].retry.factor", "0.5 is outside 1 to 100"},
		{retry(domain.RetryPolicy{MaxAttempts: 1, Factor: 101}), "chains[0].steps[0].retry.factor", "101 is outside 1 to 100"},
		{retry(domain.RetryPolicy{MaxAttempts: 1, Backoff: -1}), "chains[0].steps[0].retry.backoff", "outside 0s to 3650d"},
		{retry(domain.RetryPolicy{MaxAttempts: 1, MaxBackoff: -1}), "chains[0].steps[0].retry.maxBackoff", "outside 0s to 3650d"},
		{retry(domain.RetryPolicy{MaxAttempts: 1, Backoff: 2e9, MaxBackoff: 1e9}), "chains[0].steps[0].retry.maxBackoff", "1s is less than the backoff of 2s"},
	}
	for _, test := range tests {
		_, _, r := domain.Normalise(test.def)
		if r == nil {
			t.Errorf("%s ...%s...: accepted", test.field, test.message)
			continue
		}
		if r.Code != domain.CodeInvalid || r.Field != test.field || !strings.HasPrefix(r.Message, test.field+": ") || !strings.Contains(r.Message, test.message) {
			t.Errorf("field %q: %s\nwant %q: ...%s...", r.Field, r.Message, test.field, test.message)
		}
	}
}

func TestAddsKeepTheBounds(t *testing.T) {
	t.Parallel()
	full := target(t, "full")
	full.refuse(decode(t, domain.VerbChainAdd, `{"id":"q","open":true}`), domain.CodeInvalid, `chains: session "s2" has 256 chains, the most there may be`)
	long := other(t, `{"chains":[{"open":true,"steps":[`+many(domain.MaxSteps, `{"action":"w","waitsFor":[]}`)+`]}]}`)
	long.refuse(decode(t, domain.VerbStepAdd, `{"chain":"1","step":{"action":"w"}}`), domain.CodeInvalid, "steps: the session would have 1001 steps")
	title := strings.Repeat("t", domain.MaxTitleLength)
	wide := other(t, `{"chains":[{"open":true,"steps":[`+many(800, `{"action":"w","waitsFor":[],"title":"`+title+`"}`)+`]}]}`)
	wide.refuse(decode(t, domain.VerbChainAdd, `{"id":"q","steps":[`+many(150, `{"action":"w","waitsFor":[],"title":"`+title+`"}`)+`]}`),
		domain.CodeInvalid, "bytes without inputs; the most there may be is 262144")
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0s": "0s", "0d": "0s", "1ms": "1ms", "1000ms": "1s", "90s": "90s", "60m": "1h", "24h": "1d", "3650d": "3650d", "007s": "7s", "1500ms": "1500ms",
	} {
		d, err := domain.ParseDuration(text)
		if err != nil || d.String() != want {
			t.Errorf("%s reads as %s, %v; want %s", text, d, err, want)
		}
	}
	for _, text := range []string{"", "s", "5", "-5s", "1.5s", "5 s", "5S", "1h30m", "1000000000000000s", "5us", "３s"} {
		if d, err := domain.ParseDuration(text); err == nil {
			t.Errorf("%q reads as %s", text, d)
		}
	}
	for d, want := range map[domain.Duration]string{1: "1ms", 1e6 + 1: "2ms", -2e9: "-2s", -1e5: "0s", 61e9: "61s"} {
		if d.String() != want {
			t.Errorf("%d writes as %s, want %s", d, d, want)
		}
	}
	if raw, err := domain.Duration(90e9).MarshalText(); string(raw) != "90s" || err != nil || domain.Duration(5).Std() != 5*time.Nanosecond {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"a": true, "A-b_9": true, strings.Repeat("x", 64): true, "": false, strings.Repeat("x", 65): false,
		"a.b": false, "a b": false, "*": false, ">": false, "é": false, "a\n": false,
	} {
		if domain.ValidID(text) != want {
			t.Errorf("ValidID(%q) is %v", text, !want)
		}
	}
	for text, want := range map[string]bool{
		"a": true, "a.b/c:~!": true, strings.Repeat("x", 128): true, "": false, strings.Repeat("x", 129): false,
		"a b": false, "a\x00": false, "é": false, "\x7f": false,
	} {
		if domain.ValidCommandID(text) != want {
			t.Errorf("ValidCommandID(%q) is %v", text, !want)
		}
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	for _, s := range domain.States() {
		if !s.Valid() {
			t.Errorf("%s is not valid", s)
		}
	}
	if domain.StateNone.Valid() || domain.State("RUNNIN").Valid() || domain.StateNone.Started() || domain.StateCancelled.Started() || domain.State("x").Started() {
		t.Error("a state that is none")
	}
	if len(domain.ChainStatuses()) != 5 || len(domain.StepStatuses()) != 7 {
		t.Error("the statuses of chains and steps")
	}
	if !domain.Accepts(domain.VerbHeartbeat, domain.StateFailed) || domain.Accepts(domain.VerbPause, domain.StatePaused) {
		t.Error("what the table lets through")
	}
}

func TestRejection(t *testing.T) {
	t.Parallel()
	r := domain.Reject(domain.CodeBusy, domain.StateRunning, "try %s", "later")
	if !errors.Is(fmt.Errorf("x: %w", r), &domain.Rejection{Code: domain.CodeBusy}) || errors.Is(r, &domain.Rejection{Code: domain.CodeGone}) ||
		errors.Is(r, &domain.Rejection{Code: domain.CodeBusy, Message: "now"}) || errors.Is(r, errors.ErrUnsupported) {
		t.Error("errors.Is asks for the code")
	}
	if r.Error() != "try later" || domain.Invalid("", "bad").Message != "bad" {
		t.Error("the sentence")
	}
}
