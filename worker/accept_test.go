package worker_test

import (
	"testing"

	"reprise/contract"
	"reprise/domain"
	"reprise/worker/workertest"
)

// TestWorkerIsChoosy: a task that is refused goes back, and another worker may
// have it.
func TestWorkerIsChoosy(t *testing.T) {
	s := newSite(t)
	refused := make(chan contract.TaskRef, 64)
	cfg := brisk()
	cfg.Accept = func(ref contract.TaskRef) bool {
		if ref.Session == "mine" {
			return true
		}
		refused <- ref
		return false
	}
	s.worker(cfg).Handle("build", newCounter().handle)
	s.Create("ann", "other", one)
	s.run()
	if ref := receive(t, refused); ref.User != "ann" || ref.Session != "other" || ref.Action != "build" {
		t.Errorf("asked about %+v", ref)
	}
	s.Create("ann", "mine", one)
	s.UntilState("ann", "mine", domain.StateCompleted)
	if claims := s.Calls(domain.VerbClaim); len(commands(claims)) != 1 {
		t.Errorf("claims: %+v", claims)
	}
	s.drained()
	other := &site{Engine: s.Engine, t: t, url: s.url}
	cfg.Accept = nil
	other.worker(cfg).Handle("build", newCounter().handle)
	other.run()
	s.UntilState("ann", "other", domain.StateCompleted)
	other.drained()
	s.UntilCalls(workertest.VerbServe, 2)
}
