package eventstore

import (
	"encoding/json"

	"reprise/domain"
)

// payloadOf returns a payload from the event that holds it, or nil.
func payloadOf(event domain.Event, id payloadID) json.RawMessage {
	switch e := event.(type) {
	case *domain.SessionCreated:
		return plannedInput(e.Chains, id)
	case *domain.ChainAdded:
		return plannedInput([]domain.ChainDef{e.Chain}, id)
	case *domain.SessionForked:
		return carried(e.Plan.Step(id.chain, id.step), id.kind)
	case *domain.SessionImported:
		return carried(e.Plan.Step(id.chain, id.step), id.kind)
	case *domain.ChainMovedIn:
		return carried(e.Chain.Step(id.step), id.kind)
	}
	if chain, step := event.About(); chain != id.chain || step != id.step {
		return nil
	}
	return stepPayload(event, id.kind)
}

// stepPayload returns a payload of an event about one step.
func stepPayload(event domain.Event, kind PayloadKind) json.RawMessage {
	switch e := event.(type) {
	case *domain.StepAdded:
		return pick(kind, e.Step.Input, nil, nil)
	case *domain.StepRetried:
		return pick(kind, e.Input, nil, nil)
	case *domain.StepSucceeded:
		return pick(kind, nil, e.Output, nil)
	case *domain.StepSkipped:
		return pick(kind, nil, e.Output, nil)
	case *domain.StepFailed:
		return pick(kind, nil, e.Output, &e.Failure)
	case *domain.StepTimedOut:
		return pick(kind, nil, e.Output, &e.Failure)
	}
	return nil
}

func plannedInput(chains []domain.ChainDef, id payloadID) json.RawMessage {
	for _, c := range chains {
		for _, st := range c.Steps {
			if c.ID == id.chain && st.ID == id.step {
				return pick(id.kind, st.Input, nil, nil)
			}
		}
	}
	return nil
}

// carried returns a payload of a step that was copied with its results.
func carried(st *domain.Step, kind PayloadKind) json.RawMessage {
	if st == nil {
		return nil
	}
	return pick(kind, st.Input, st.Output, st.Error)
}

func pick(kind PayloadKind, input, output json.RawMessage, failure *domain.Failure) json.RawMessage {
	switch kind {
	case PayloadInput:
		return input
	case PayloadOutput:
		return output
	case PayloadStack:
		if failure != nil && failure.Stack != "" {
			raw, err := domain.Marshal(failure.Stack)
			if err == nil {
				return raw
			}
		}
	}
	return nil
}
