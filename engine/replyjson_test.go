package engine

import (
	"encoding/json"
	"testing"

	"reprise/contract"
	"reprise/domain"
)

func TestMarshalReplyWritesWhatMarshalWrites(t *testing.T) {
	full := contract.Reply{
		CommandID: "cmd-1", Session: "s1", User: "ann", State: domain.StateRunning, Version: 7, Duplicate: true,
		Position: contract.Position{Incarnation: "abc", Seq: 12},
		Events:   []contract.EventSummary{{Type: domain.TypeSessionStarted}, {Type: domain.TypeStepStarted, Chain: "c", Step: "s"}, {Type: domain.TypeChainClosed, Chain: "c"}},
	}
	tests := map[string]func(*contract.Reply){
		"plain":         func(*contract.Reply) {},
		"no events":     func(r *contract.Reply) { r.Events = []contract.EventSummary{} },
		"nil events":    func(r *contract.Reply) { r.Events = nil },
		"a quote":       func(r *contract.Reply) { r.CommandID = `a"b\c` },
		"an odd user":   func(r *contract.Reply) { r.User = "b\u2028ö <b>" },
		"a dry run":     func(r *contract.Reply) { r.DryRun, r.Events[0].Data = true, json.RawMessage(`{}`) },
		"results":       func(r *contract.Reply) { r.Results = []domain.Result{{Verb: domain.VerbStart, Events: 1}} },
		"an assignment": func(r *contract.Reply) { r.Claimed = &contract.Assignment{Chain: "c"} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			r := full
			r.Events = append([]contract.EventSummary{}, full.Events...)
			change(&r)
			want, err := domain.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := marshalReply(&r); err != nil || string(got) != string(want) {
				t.Errorf("wrote %s (%v); want %s", got, err, want)
			}
		})
	}
}
