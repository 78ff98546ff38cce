package e2e

import (
	"fmt"
	"strings"
	"testing"

	"reprise/contract"
	"reprise/domain"
)

// badInput is a request that must be refused, and a part of the sentence.
type badInput struct {
	name     string
	verb     domain.Verb
	body     any
	code     domain.Code
	sentence string
}

// checkBad sends bad input to a session: each is refused with its code, nothing
// changes, and the next command works.
func checkBad(t *testing.T, p *peer, session string, all []badInput) {
	t.Helper()
	before := p.get(t, session).Version
	for _, bad := range all {
		refusal := p.refused(t, session, bad.verb, bad.body, bad.code)
		if !strings.Contains(refusal.Message, bad.sentence) {
			t.Errorf("%s: the sentence is %q", bad.name, refusal.Message)
		}
	}
	if after := p.get(t, session).Version; after != before {
		t.Errorf("bad input took the session from version %d to %d", before, after)
	}
	p.do(t, session, domain.VerbStart, nil)
}

// badCommands sends what is no command, or none of this session.
func badCommands(t *testing.T, p *peer) {
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	long := strings.Repeat("x", 10_000)
	checkBad(t, p, "s1", []badInput{
		{"half a text", domain.VerbPause, `{"reason":`, domain.CodeInvalid, "not JSON"},
		{"no object", domain.VerbPause, `[1]`, domain.CodeInvalid, ""},
		{"bytes", domain.VerbPause, "\x00\xff\xfe", domain.CodeInvalid, "not JSON"},
		{"unknown field", domain.VerbPause, `{"colour":1}`, domain.CodeInvalid, "colour"},
		{"unknown verb", "fly", nil, domain.CodeInvalid, "there is no command"},
		{"verb of workers", domain.VerbClaim, nil, domain.CodeNotAllowed, "for workers"},
		{"verb of operators", domain.VerbHold, nil, domain.CodeNotAllowed, "for operators"},
		{"verb of the engine", domain.VerbPurge, nil, domain.CodeInvalid, "there is no command"},
		{"10 kB of chain id", domain.VerbChainAdd, object{"id": long, "steps": []object{{"action": "work"}}}, domain.CodeInvalid, "is no id"},
		{"chain id with a dot", domain.VerbChainAdd, object{"id": "a.b", "steps": []object{{"action": "work"}}}, domain.CodeInvalid, "is no id"},
		{"chain id with a space", domain.VerbChainAdd, object{"id": "a b", "steps": []object{{"action": "work"}}}, domain.CodeInvalid, "is no id"},
		{"action with a wildcard", domain.VerbChainAdd, object{"id": "a", "steps": []object{{"action": ">"}}}, domain.CodeInvalid, "is no id"},
		{"taken chain id", domain.VerbChainAdd, object{"id": "build", "steps": []object{{"action": "work"}}}, domain.CodeExists, "choose another id"},
		{"fork with a bad id", domain.VerbFork, object{"id": "a.*"}, domain.CodeInvalid, ""},
		{"10 kB of reason", domain.VerbCancel, object{"reason": long}, domain.CodeIllegalTransition, ""},
		{"too large an output", domain.VerbStepSkip, object{"chain": "build", "step": "compile", "output": strings.Repeat("x", domain.MaxPayloadBytes)}, domain.CodeInvalid, "the most there may be"},
		{"too much metadata", domain.VerbMetadataSet, object{"set": object{"k": long}}, domain.CodeInvalid, "at most"},
		{"payload over the limit", domain.VerbPause, `{"reason":"` + strings.Repeat("x", domain.MaxCommandBytes) + `"}`, domain.CodeInvalid, "the most there may be"},
	})
	p.do(t, "s2", domain.VerbCreate, plan("compile"))
	p.do(t, "s2", domain.VerbDelete, nil)
	p.refused(t, "s2", domain.VerbStart, nil, domain.CodeGone)
	p.refused(t, "s2", domain.VerbCreate, plan("compile"), domain.CodeGone)
	p.refused(t, "s1", domain.VerbPause, nil, domain.CodeInvalid, contract.HeaderCommandID, "two words")
	p.refused(t, "s1", domain.VerbPause, nil, domain.CodeInvalid, "Reprise-Colour", "red")
}

// badPlans sends plans that can't be.
func badPlans(t *testing.T, p *peer) {
	work := func(id string, waits ...string) object {
		return object{"id": id, "waitsFor": waits, "steps": []object{{"action": "work"}}}
	}
	steps := make([]object, 10_000)
	for i := range steps {
		steps[i] = object{"action": "work"}
	}
	for name, chains := range map[string][]object{
		"cycle":          {work("a", "b"), work("b", "a")},
		"itself":         {work("a", "a")},
		"nobody":         {work("a", "nobody")},
		"the same twice": {work("a"), work("a")},
		"10,000 steps":   {{"id": "a", "steps": steps}},
		"no steps":       {{"id": "a"}},
		"no action":      {{"id": "a", "steps": []object{{"id": "1"}}}},
	} {
		refusal := p.refused(t, "s1", domain.VerbCreate, object{"chains": chains}, domain.CodeInvalid)
		if refusal.Field == "" || !strings.HasPrefix(refusal.Message, refusal.Field) {
			t.Errorf("%s: field %q in %q", name, refusal.Field, refusal.Message)
		}
	}
	for _, session := range []string{"*", "a%b", "a.b", strings.Repeat("x", 65), "a/b"} {
		p.refused(t, session, domain.VerbCreate, plan("compile"), domain.CodeInvalid)
	}
	p.refused(t, "s1", domain.VerbStart, nil, domain.CodeNotFound)
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	p.refused(t, "s1", domain.VerbCreate, plan("other"), domain.CodeExists)
}

// badQueries asks what can't be answered.
func badQueries(t *testing.T, p *peer) {
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	for i, q := range []struct {
		name string
		body any
		code domain.Code
		head []string
	}{
		{contract.QueryGet, object{"session": "nothing"}, domain.CodeNotFound, nil},
		{contract.QueryGet, object{"session": "two words"}, domain.CodeInvalid, nil},
		{contract.QueryGet, object{"session": strings.Repeat("x", 10_000)}, domain.CodeInvalid, nil},
		{contract.QueryGet, `{"session":`, domain.CodeInvalid, nil},
		{contract.QueryGet, object{"session": "s1", "colour": 1}, domain.CodeInvalid, nil},
		{contract.QueryList, object{"limit": -1}, domain.CodeInvalid, nil},
		{contract.QueryList, object{"limit": 1_000_000}, domain.CodeInvalid, nil},
		{contract.QueryList, object{"page": "garbage"}, domain.CodeInvalid, nil},
		{contract.QueryList, object{"sort": "colour"}, domain.CodeInvalid, nil},
		{contract.QueryList, object{"states": []string{"SLEEPING"}}, domain.CodeInvalid, nil},
		{contract.QueryList, object{"metadata": object{"undeclared": "x"}}, domain.CodeInvalid, nil},
		{contract.QueryCount, object{"states": []string{"SLEEPING"}}, domain.CodeInvalid, nil},
		{contract.QueryHistory, object{"session": "s1", "types": []string{"step.exploded"}}, domain.CodeInvalid, nil},
		{contract.QueryAt, object{"session": "s1"}, domain.CodeInvalid, nil},
		{contract.QueryAt, object{"session": "s1", "version": 1, "seq": 1}, domain.CodeInvalid, nil},
		{contract.QueryList, object{}, domain.CodeInvalid, []string{contract.HeaderMinPosition, "yesterday"}},
		{contract.QueryList, object{}, domain.CodeInvalid, []string{contract.HeaderMinPosition, "other:1"}},
	} {
		a, err := p.settled(p.names.Query(p.user, q.name), q.body, headers(q.head...), q.code)
		if err != nil {
			t.Fatalf("%d, %s: %v", i, q.name, err)
		}
		if a.refusal == nil || a.refusal.Code != q.code {
			t.Errorf("%d, %s %v: want %s, got %s", i, q.name, fmt.Sprintf("%.80v", q.body), q.code, a.msg.Data)
		}
	}
}
