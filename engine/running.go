package engine

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

const (
	// leaseReads is how many signs of life one query reads at once.
	leaseReads = 16
	// maxShownProgress bounds the partial outputs in one answer, in bytes; lines
	// and percentages are shown beyond it.
	maxShownProgress = 128 << 10
)

// leaseReader reads the last sign of life of an attempt; false if there is none.
type leaseReader func(ctx context.Context, id attemptID) (beat, bool, error)

// running describes the steps of a session that are in flight, the first
// contract.MaxRunning of them. A sign of life that can't be read is left out.
func running(ctx context.Context, read leaseReader, key eventstore.Key, s *domain.Session) []contract.RunningStep {
	if s.InFlight == 0 {
		return nil
	}
	steps := inFlight(s)
	var wg sync.WaitGroup
	slots := make(chan struct{}, leaseReads)
	for i := range steps {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			st := &steps[i]
			b, found, err := read(ctx, attemptID{key, domain.StepRef{Chain: st.Chain, Step: st.Step}, st.Attempt})
			if err == nil && found {
				st.Beat, st.Progress = b.stored.UTC(), b.progress()
			}
		})
	}
	wg.Wait()
	boundProgress(steps)
	return steps
}

// inFlight lists the steps in flight, in the order of the plan.
func inFlight(s *domain.Session) []contract.RunningStep {
	var steps []contract.RunningStep
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.Status == domain.StepStatusRunning {
				steps = append(steps, contract.RunningStep{Chain: c.ID, Step: st.ID, Attempt: st.Attempt, Worker: st.Worker})
			}
		}
	}
	return slices.Clip(steps[:min(len(steps), contract.MaxRunning)])
}

// progress is what the worker said, nil for nothing.
func (b beat) progress() *contract.Progress {
	var p contract.Progress
	if len(b.Progress) == 0 || json.Unmarshal(b.Progress, &p) != nil {
		return nil
	}
	return &p
}

// boundProgress leaves out the partial outputs for which an answer has no room.
func boundProgress(steps []contract.RunningStep) {
	left := maxShownProgress
	for _, st := range steps {
		if st.Progress == nil {
			continue
		}
		if left -= len(st.Progress.Output); left < 0 {
			st.Progress.Output = nil
		}
	}
}
