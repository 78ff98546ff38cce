package engine

import (
	"reprise/eventstore"
	"reprise/projections"
)

// Stats says how an engine does at the moment. All counters start at 0 with it.
type Stats struct {
	// Store counts hits and misses of the cache of aggregates, and what was loaded.
	Store eventstore.Stats `json:"store"`
	// Views says how far the stored views are behind the events.
	Views projections.ViewsProgress `json:"views"`
	// Waiting is the number of commands that are taken and not answered.
	Waiting int `json:"waiting"`
}

// Stats returns the counters; the zero value before the engine is ready. It may be
// called at any time, by anybody.
func (e *Engine) Stats() Stats {
	p := e.running.Load()
	if p == nil {
		return Stats{}
	}
	return Stats{Store: p.store.Stats(), Views: p.views.Progress(), Waiting: p.executor.lanes.inFlight()}
}
