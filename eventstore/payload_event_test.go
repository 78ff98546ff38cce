package eventstore

import (
	"encoding/json"
	"testing"

	"reprise/domain"
)

// TestPayloadOfEveryEvent asks every event for every payload of step "1" of
// chain "a".
func TestPayloadOfEveryEvent(t *testing.T) {
	input, output := json.RawMessage(`"in"`), json.RawMessage(`"out"`)
	failure := domain.Failure{Stack: "stack"}
	def := domain.ChainDef{ID: "a", Steps: []domain.StepDef{{ID: "0"}, {ID: "1", Input: input}}}
	chain := &domain.Chain{ID: "a", Steps: []*domain.Step{{ID: "1", Input: input, Output: output, Error: &failure}}}
	plan := domain.Session{Chains: []*domain.Chain{chain}}
	for _, c := range []struct {
		event domain.Event
		want  [3]string // input, output, stack
	}{
		{&domain.SessionCreated{Definition: domain.Definition{Chains: []domain.ChainDef{{ID: "b"}, def}}}, [3]string{`"in"`}},
		{&domain.SessionForked{Plan: plan}, [3]string{`"in"`, `"out"`, `"stack"`}},
		{&domain.SessionImported{Plan: plan}, [3]string{`"in"`, `"out"`, `"stack"`}},
		{&domain.ChainMovedIn{Chain: *chain}, [3]string{`"in"`, `"out"`, `"stack"`}},
		{&domain.ChainAdded{Chain: def}, [3]string{`"in"`}},
		{&domain.StepAdded{Chain: "a", Step: domain.StepDef{ID: "1", Input: input}}, [3]string{`"in"`}},
		{&domain.StepRetried{Chain: "a", Step: "1", Input: input}, [3]string{`"in"`}},
		{&domain.StepSucceeded{Chain: "a", Step: "1", Output: output}, [3]string{"", `"out"`}},
		{&domain.StepSkipped{Chain: "a", Step: "1", Output: output}, [3]string{"", `"out"`}},
		{&domain.StepFailed{Chain: "a", Step: "1", Output: output, Failure: failure}, [3]string{"", `"out"`, `"stack"`}},
		{&domain.StepTimedOut{Chain: "a", Step: "1", Output: output, Failure: failure}, [3]string{"", `"out"`, `"stack"`}},
		{&domain.StepSucceeded{Chain: "a", Step: "2", Output: output}, [3]string{}},
		{&domain.StepSucceeded{Chain: "b", Step: "1", Output: output}, [3]string{}},
		{&domain.StepCancelled{Chain: "a", Step: "1"}, [3]string{}},
		{&domain.SessionForked{}, [3]string{}},
		{&domain.SessionStarted{}, [3]string{}},
	} {
		for i, kind := range []PayloadKind{PayloadInput, PayloadOutput, PayloadStack} {
			if got := payloadOf(c.event, payloadID{chain: "a", step: "1", kind: kind}); string(got) != c.want[i] {
				t.Errorf("the %s of %T is %s, not %s", kind, c.event, got, c.want[i])
			}
		}
	}
}

func TestPayloadInTheState(t *testing.T) {
	ref := &domain.Ref{Version: 3}
	st := &domain.Step{Input: []byte(`1`), OutputRef: ref, Error: &domain.Failure{Stack: "stack"}}
	for kind, want := range map[PayloadKind]string{PayloadInput: `1`, PayloadOutput: ``, PayloadStack: `"stack"`} {
		got, at, err := inState(st, kind)
		if err != nil || string(got) != want || (at == ref) != (kind == PayloadOutput) {
			t.Errorf("the %s is %s, %v, %v", kind, got, at, err)
		}
	}
}
