package eventstore

import (
	"log/slog"
	"sync"
	"sync/atomic"
)

// maxDamageKnown bounds how many damaged messages are remembered, so that each
// is reported once; beyond it all are forgotten and may be reported again.
const maxDamageKnown = 4096

// damage counts and reports messages that are no commits.
type damage struct {
	log              *slog.Logger
	foreign, corrupt atomic.Uint64

	mu    sync.Mutex
	known map[uint64]struct{}
}

// report counts and logs a message once.
func (d *damage) report(e *CommitError) {
	if !d.first(e.Seq) {
		return
	}
	if e.Kind == KindForeign {
		d.foreign.Add(1)
	} else {
		d.corrupt.Add(1)
	}
	if d.log != nil {
		d.log.Warn("a message of the event stream is not a usable commit",
			"key", e.Key.String(), "seq", e.Seq, "kind", e.Kind, "detail", e.Detail)
	}
}

func (d *damage) first(seq uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.known[seq]; ok {
		return false
	}
	if d.known == nil || len(d.known) >= maxDamageKnown {
		d.known = map[uint64]struct{}{}
	}
	d.known[seq] = struct{}{}
	return true
}
