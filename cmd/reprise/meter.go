package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"reprise/archive"
	"reprise/internal/term"
)

// meterPause is the pause between two looks of a meter.
const meterPause = 100 * time.Millisecond

// meter shows on a terminal how far a long command is, in one line of stderr
// that it writes over. It is safe for concurrent use.
type meter struct {
	out io.Writer
	now func() time.Time

	mu    sync.Mutex
	shown time.Time
	wrote bool
}

// newMeter shows nothing where stderr is no terminal.
func (a *app) newMeter() *meter {
	if !term.IsTerminal(a.err) {
		return &meter{now: time.Now}
	}
	return &meter{out: a.err, now: time.Now}
}

// show says how far it is.
func (m *meter) show(p archive.Progress) {
	if m.out == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now().Sub(m.shown) < meterPause {
		return
	}
	m.shown, m.wrote = m.now(), true
	of := ""
	if p.Of > 0 {
		of = fmt.Sprintf(" of %d", p.Of)
	}
	_, _ = fmt.Fprintf(m.out, "\r\x1b[K%s: %d%s sessions, %d commits", p.Doing, p.Sessions, of, p.Commits) // only for show
}

// done clears the line.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wrote {
		_, _ = io.WriteString(m.out, "\r\x1b[K") // only for show
	}
}
