package projections

import (
	"context"
	"sync"
	"time"

	"reprise/contract"
)

// meterWindow is the time over which a rate is measured.
const meterWindow = time.Second

// Progress says how far a projection is.
type Progress struct {
	Position contract.Position `json:"position"`
	// End is the last sequence of the stream, Lag the distance to it.
	End uint64 `json:"end"`
	Lag uint64 `json:"lag"`
	// Rebuilding is true until everything that was there at the start, or when
	// a rebuild was asked for, has been taken in.
	Rebuilding bool `json:"rebuilding"`
	// Rate is in commits a second.
	Rate float64 `json:"rate"`
	// Skipped counts messages that could not be used.
	Skipped uint64 `json:"skipped,omitempty"`
}

// Progress asks the store for the end of the stream and says how far the
// projections are. The error is that of the store.
func (r *Runner) Progress(ctx context.Context) (Progress, error) {
	info, err := r.cfg.Source.Info(ctx)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{
		Position: r.Position(), End: info.Last, Rebuilding: !r.live.Load(),
		Rate: r.meter.rate(), Skipped: r.skips.Load(),
	}
	p.Lag = distance(p.Position.Seq, p.End)
	return p, nil
}

// distance returns to-from, 0 if from is ahead.
func distance(from, to uint64) uint64 {
	if from >= to {
		return 0
	}
	return to - from
}

// meter measures a rate over the last full window.
type meter struct {
	mu    sync.Mutex
	since time.Time
	count uint64
	last  float64
}

func (m *meter) add(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roll(time.Now())
	m.count += n
}

// rate returns events a second.
func (m *meter) rate() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roll(time.Now())
	return m.last
}

// roll closes the window once it is full. After an idle window the rate is
// that of the whole time since it began.
func (m *meter) roll(now time.Time) {
	elapsed := now.Sub(m.since)
	if elapsed < meterWindow {
		return
	}
	if !m.since.IsZero() {
		m.last = float64(m.count) / elapsed.Seconds()
	}
	m.since, m.count = now, 0
}
