package soak

import (
	"fmt"
	"math/rand/v2"
	"time"

	"reprise/domain"
)

// actions are what the workers serve.
var actions = []string{"work", "other"}

// The bounds of a random plan.
const (
	mostChains = 4
	mostSteps  = 4
)

// randomPlan makes a session that may wait, fail, time out, ask a person, or
// stay open.
func randomPlan(r *rand.Rand) domain.Definition {
	def := domain.Definition{KeepOpen: oneIn(r, 8), Priority: r.IntN(3)}
	if oneIn(r, 2) {
		def.OnFailure = domain.FailContinue
	}
	if oneIn(r, 10) {
		def.Timeout = milliseconds(500 + r.IntN(4000))
	}
	for i := range 1 + r.IntN(mostChains) {
		chain := randomChain(r, fmt.Sprintf("c%d", i))
		for _, earlier := range def.Chains {
			if oneIn(r, 4) {
				chain.WaitsFor = append(chain.WaitsFor, earlier.ID)
			}
		}
		def.Chains = append(def.Chains, chain)
	}
	return def
}

// randomChain makes a chain without waits for others.
func randomChain(r *rand.Rand, id string) domain.ChainDef {
	chain := domain.ChainDef{ID: id, Open: oneIn(r, 10)}
	for i := range 1 + r.IntN(mostSteps) {
		step := randomStep(r, fmt.Sprintf("s%d", i))
		if oneIn(r, 3) {
			step.WaitsFor = &[]string{}
			for j := range i {
				if oneIn(r, 3) {
					*step.WaitsFor = append(*step.WaitsFor, fmt.Sprintf("s%d", j))
				}
			}
		}
		chain.Steps = append(chain.Steps, step)
	}
	return chain
}

// randomStep makes a step; most succeed at once.
func randomStep(r *rand.Rand, id string) domain.StepDef {
	if oneIn(r, 25) {
		return domain.StepDef{ID: id, Manual: true}
	}
	step := domain.StepDef{ID: id, Action: actions[r.IntN(len(actions))]}
	in := work{Millis: r.IntN(int(longestWork / time.Millisecond))}
	if oneIn(r, 3) {
		step.Retry = &domain.RetryPolicy{MaxAttempts: 2 + r.IntN(3), Backoff: milliseconds(10 + r.IntN(100))}
	}
	if oneIn(r, 8) {
		in.Fails, in.Panic, in.Permanent = 1+r.IntN(4), oneIn(r, 5), oneIn(r, 5)
	}
	switch r.IntN(40) {
	case 0:
		in.Hang, step.Timeout = true, milliseconds(50+r.IntN(300))
	case 1:
		in.Millis = int(workerLease/time.Millisecond)/2 + r.IntN(3000)
	}
	raw, err := domain.Marshal(in)
	if err != nil {
		panic(err)
	}
	step.Input = raw
	return step
}

// oneIn is true once in n times.
func oneIn(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

func milliseconds(n int) domain.Duration {
	return domain.Duration(time.Duration(n) * time.Millisecond)
}
