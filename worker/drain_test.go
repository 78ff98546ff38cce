package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/worker"
)

func TestDrainWaitsForHandlers(t *testing.T) {
	s := newSite(t)
	started, finish := make(chan struct{}), make(chan struct{})
	s.worker(brisk()).Handle("build", func(context.Context, *worker.Task) (any, error) {
		close(started)
		receive(t, finish)
		return "done", nil
	})
	s.Create("ann", "s", `{"chains":[{"id":"c","steps":[{"id":"a","action":"build"},{"id":"b","action":"build"}]}]}`)
	s.run()
	receive(t, started)
	s.stop()
	close(finish)
	if err := s.ended(); err != nil {
		t.Errorf("Run: %v", err)
	}
	chain := s.Session("ann", "s").Chain("c")
	if a, b := chain.Step("a").Status, chain.Step("b").Status; a != domain.StepStatusSuccess || b != domain.StepStatusPending {
		t.Errorf("a is %s, b is %s", a, b)
	}
}

func TestDrainGivesBackWhatIsUnfinished(t *testing.T) {
	s := newSite(t)
	h := newHanging()
	cfg := brisk()
	cfg.DrainTimeout = 20 * time.Millisecond
	s.worker(cfg).Handle("build", h.handle)
	s.Create("ann", "s", one)
	s.run()
	receive(t, h.started)
	s.drained()
	if cause := receive(t, h.causes); !errors.Is(cause, worker.ErrDraining) {
		t.Errorf("cause %v", cause)
	}
	if st := s.Step("ann", "s", "c", "s"); st.Status != domain.StepStatusPending || st.Tries != 0 {
		t.Errorf("step %+v", st)
	}
}

func TestHandlerThatIgnoresItsContext(t *testing.T) {
	s := newSite(t)
	cfg := brisk()
	cfg.DrainTimeout, cfg.StopTimeout = 20*time.Millisecond, 20*time.Millisecond
	started, finish := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(finish) })
	s.worker(cfg).Handle("build", func(context.Context, *worker.Task) (any, error) {
		close(started)
		<-finish
		return "done", nil
	})
	s.Create("ann", "s", one)
	s.run()
	receive(t, started)
	s.stop()
	err := s.ended()
	if !errors.Is(err, worker.ErrUnfinished) || !strings.Contains(err.Error(), "s/c/s/1") {
		t.Errorf("Run: %v", err)
	}
	if len(s.Calls(domain.VerbRelease)) > 0 {
		t.Error("a step that still runs was given back")
	}
}

func TestAbandon(t *testing.T) {
	s := newSite(t)
	h := newHanging()
	s.worker(brisk()).Handle("build", h.handle)
	s.Create("ann", "s", one)
	s.run()
	receive(t, h.started)
	s.w.Abandon()
	if cause := receive(t, h.causes); !errors.Is(cause, worker.ErrAbandoned) {
		t.Errorf("cause %v", cause)
	}
	if err := s.ended(); !errors.Is(err, worker.ErrAbandoned) {
		t.Errorf("Run: %v", err)
	}
	if n := len(s.Calls(domain.VerbRelease)) + len(s.Calls(domain.VerbFail)); n > 0 {
		t.Errorf("%d reports after Abandon", n)
	}
}
