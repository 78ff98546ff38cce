package verify

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"reprise/domain"
)

// The generators draw mostly what exists and sometimes what does not.

func oneOf(t *rapid.T, name string, values ...string) string {
	return rapid.SampledFrom(values).Draw(t, name)
}

func chance(t *rapid.T, name string, percent int) bool {
	return rapid.IntRange(1, 100).Draw(t, name) > 100-percent
}

func genDefinition(t *rapid.T) domain.Definition {
	def := domain.Definition{
		KeepOpen:  chance(t, "keepOpen", 25),
		OnFailure: domain.OnFailure(oneOf(t, "onFailure", "", "stop", "continue", "continue")),
	}
	if chance(t, "timeout", 30) {
		def.Timeout = domain.Duration(rapid.IntRange(1, 300).Draw(t, "seconds")) * domain.Duration(time.Second)
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "chains") {
		def.Chains = append(def.Chains, genChain(t, string(rune('a'+i)), i))
	}
	return def
}

// genChain draws a chain that waits for chains before it.
func genChain(t *rapid.T, id string, before int) domain.ChainDef {
	def := domain.ChainDef{ID: id, Open: chance(t, "open", 20)}
	for j := range before {
		if chance(t, "chain waits", 25) {
			def.WaitsFor = append(def.WaitsFor, string(rune('a'+j)))
		}
	}
	least := 1
	if def.Open {
		least = 0
	}
	for i := range rapid.IntRange(least, 3).Draw(t, "steps") {
		def.Steps = append(def.Steps, genStep(t, strconv.Itoa(i+1), i))
	}
	return def
}

func genStep(t *rapid.T, id string, before int) domain.StepDef {
	def := domain.StepDef{ID: id, Action: "work"}
	if chance(t, "manual", 20) {
		def.Manual, def.Action = true, ""
	}
	if chance(t, "parallel", 50) {
		waits := []string{}
		for j := range before {
			if chance(t, "step waits", 30) {
				waits = append(waits, strconv.Itoa(j+1))
			}
		}
		def.WaitsFor = &waits
	}
	if chance(t, "step timeout", 30) {
		def.Timeout = domain.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * domain.Duration(time.Second)
	}
	if chance(t, "retry", 40) {
		def.Retry = &domain.RetryPolicy{MaxAttempts: rapid.IntRange(1, 3).Draw(t, "maxAttempts")}
	}
	def.Input = genPayload(t)
	return def
}

func genPayload(t *rapid.T) json.RawMessage {
	switch rapid.IntRange(0, 19).Draw(t, "payload") {
	case 0:
		return blob(rapid.IntRange(domain.MaxInlinePayload-1, domain.MaxInlinePayload+2).Draw(t, "size"))
	case 1:
		return json.RawMessage(`{"n":1}`)
	case 2:
		return json.RawMessage(`null`)
	}
	return nil
}

// genRef draws a chain and step, of the wanted status if there is one.
func genRef(t *rapid.T, s *domain.Session, wanted func(*domain.Step) bool) (chain, step string) {
	var fit, all []domain.StepRef
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			ref := domain.StepRef{Chain: c.ID, Step: st.ID}
			all = append(all, ref)
			if wanted(st) {
				fit = append(fit, ref)
			}
		}
	}
	if len(fit) > 0 && !chance(t, "any step", 15) {
		all = fit
	}
	if len(all) == 0 || chance(t, "no step", 2) {
		return oneOf(t, "chain", "a", "b", "zz", ""), oneOf(t, "step", "1", "9", "")
	}
	ref := rapid.SampledFrom(all).Draw(t, "step")
	return ref.Chain, ref.Step
}

func genChainID(t *rapid.T, s *domain.Session) string {
	ids := []string{"zz"}
	for _, c := range s.Chains {
		ids = append(ids, c.ID, c.ID, c.ID)
	}
	return rapid.SampledFrom(ids).Draw(t, "chain")
}

func genPosition(t *rapid.T, s *domain.Session) *int {
	if chance(t, "no position", 30) {
		return nil
	}
	at := rapid.IntRange(-1, len(s.Chains)+1).Draw(t, "position")
	return &at
}

func genReport(t *rapid.T) domain.ReportError {
	e := domain.ReportError{Code: "boom", Message: "it broke"}
	if chance(t, "final", 30) {
		no := false
		e.Retryable = &no
	}
	if chance(t, "stack", 20) {
		e.Stack = string(blob(rapid.SampledFrom([]int{10, domain.MaxInlinePayload + 1}).Draw(t, "stack")))
	}
	return e
}

func pending(st *domain.Step) bool { return st.Status == domain.StepStatusPending && !st.Manual }
func manual(st *domain.Step) bool  { return st.Status == domain.StepStatusPending && st.Manual }
func inFlight(st *domain.Step) bool {
	return st.Status == domain.StepStatusRunning
}
func broken(st *domain.Step) bool { return st.Status.Broken() }
func skippable(st *domain.Step) bool {
	return st.Status.Broken() || st.Status == domain.StepStatusPending
}

// generators make a command for a session; workers' commands come more often.
var generators = []struct {
	weight int
	make   func(t *rapid.T, s *domain.Session) domain.Command
}{
	{2, func(t *rapid.T, _ *domain.Session) domain.Command {
		return &domain.Create{Definition: genDefinition(t)}
	}},
	{6, func(*rapid.T, *domain.Session) domain.Command { return &domain.Start{} }},
	{3, func(t *rapid.T, _ *domain.Session) domain.Command {
		return &domain.Pause{Mode: domain.PauseMode(oneOf(t, "mode", "", "drain", "interrupt", "bad"))}
	}},
	{5, func(*rapid.T, *domain.Session) domain.Command { return &domain.Resume{} }},
	{1, func(*rapid.T, *domain.Session) domain.Command { return &domain.Cancel{} }},
	{1, func(*rapid.T, *domain.Session) domain.Command { return &domain.Complete{} }},
	{1, func(t *rapid.T, _ *domain.Session) domain.Command {
		return &domain.Delete{Force: chance(t, "force", 30)}
	}},
	{1, func(t *rapid.T, _ *domain.Session) domain.Command {
		return &domain.Purge{Policy: "p", Cancel: chance(t, "cancel", 20)}
	}},
	{1, func(*rapid.T, *domain.Session) domain.Command { return &domain.PutHold{} }},
	{1, func(*rapid.T, *domain.Session) domain.Command { return &domain.ReleaseHold{} }},
	{1, func(t *rapid.T, _ *domain.Session) domain.Command {
		key := oneOf(t, "key", "k", "l", "")
		return &domain.SetMetadata{Set: map[string]string{key: oneOf(t, "value", "1", "2")}, Remove: []string{"l"}}
	}},
	{3, genAddChain},
	{3, func(t *rapid.T, s *domain.Session) domain.Command {
		step := genStep(t, oneOf(t, "id", "", "1", "4", "5"), rapid.IntRange(0, 3).Draw(t, "before"))
		return &domain.AddStep{Chain: genChainID(t, s), Step: step}
	}},
	{3, func(t *rapid.T, s *domain.Session) domain.Command { return &domain.CloseChain{Chain: genChainID(t, s)} }},
	{2, func(t *rapid.T, s *domain.Session) domain.Command {
		return &domain.RemoveChain{Chain: genChainID(t, s)}
	}},
	{1, func(t *rapid.T, s *domain.Session) domain.Command {
		return &domain.MoveChain{Chain: genChainID(t, s), Position: genPosition(t, s)}
	}},
	{5, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, broken)
		return &domain.RetryStep{Chain: chain, Step: step, Input: genPayload(t)}
	}},
	{3, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, skippable)
		return &domain.SkipStep{Chain: chain, Step: step, Output: genPayload(t)}
	}},
	{4, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, manual)
		return &domain.SucceedManual{Chain: chain, Step: step, Output: genPayload(t)}
	}},
	{2, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, manual)
		return &domain.FailManual{Chain: chain, Step: step, Error: genReport(t)}
	}},
	{18, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, pending)
		return &domain.Claim{Chain: chain, Step: step, Worker: "w", Action: "work"}
	}},
	{14, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, inFlight)
		return &domain.Succeed{
			Chain: chain, Step: step, Attempt: genAttempt(t, s, chain, step), Output: genPayload(t),
			ClaimNext: chance(t, "claimNext", 40), Worker: genWorker(t), Action: "work",
		}
	}},
	{8, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, inFlight)
		return &domain.Fail{
			Chain: chain, Step: step, Attempt: genAttempt(t, s, chain, step), Error: genReport(t),
			Output: genPayload(t), Worker: genWorker(t), Action: "work",
		}
	}},
	{2, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, inFlight)
		return &domain.Release{Chain: chain, Step: step, Attempt: genAttempt(t, s, chain, step), Worker: genWorker(t), Action: "work"}
	}},
	{1, func(t *rapid.T, s *domain.Session) domain.Command {
		chain, step := genRef(t, s, inFlight)
		return &domain.Heartbeat{Chain: chain, Step: step, Attempt: genAttempt(t, s, chain, step), Worker: genWorker(t), Action: "work"}
	}},
	{4, genTimeout},
	{1, func(*rapid.T, *domain.Session) domain.Command { return &domain.TimeoutSession{} }},
}

func genAddChain(t *rapid.T, s *domain.Session) domain.Command {
	c := &domain.AddChain{ChainDef: genChain(t, oneOf(t, "id", "", "d", "e", "f", "a"), 0), Position: genPosition(t, s)}
	if chance(t, "waits", 30) {
		c.WaitsFor = []string{genChainID(t, s)}
	}
	return c
}

// genTimeout draws a deadline that runs, or a lease of an attempt in flight.
func genTimeout(t *rapid.T, s *domain.Session) domain.Command {
	if timers := s.Timers(); len(timers) > 0 && chance(t, "timer", 70) {
		timer := rapid.SampledFrom(timers).Draw(t, "timer")
		if timer.Step == (domain.StepRef{}) {
			return &domain.TimeoutSession{}
		}
		return &domain.TimeoutStep{Chain: timer.Step.Chain, Step: timer.Step.Step, Attempt: timer.Attempt}
	}
	chain, step := genRef(t, s, inFlight)
	return &domain.TimeoutStep{Chain: chain, Step: step, Attempt: genAttempt(t, s, chain, step), Lease: chance(t, "lease", 70)}
}

func genAttempt(t *rapid.T, s *domain.Session, chain, step string) int {
	st := s.Step(chain, step)
	if st == nil || chance(t, "stale", 5) {
		return rapid.IntRange(0, 3).Draw(t, "attempt")
	}
	return st.Attempt
}

func genWorker(t *rapid.T) string {
	if chance(t, "other worker", 5) {
		return "thief"
	}
	return "w"
}

// genCommand draws a command for a session.
func genCommand(t *rapid.T, s *domain.Session) domain.Command {
	total := 0
	for _, g := range generators {
		total += g.weight
	}
	pick := rapid.IntRange(0, total-1).Draw(t, "command")
	for _, g := range generators {
		if pick < g.weight {
			return g.make(t, s)
		}
		pick -= g.weight
	}
	panic(fmt.Sprintf("no generator for %d", pick))
}
