package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Phase is one measurement, as the harness asks for it.
type Phase struct {
	// Clients is how many sessions are in flight at once; 1 or more.
	Clients int `json:"clients"`
	// WarmMillis is how long the loop runs before anything counts.
	WarmMillis int `json:"warmMillis"`
	// MeasureMillis bounds the time that counts.
	MeasureMillis int `json:"measureMillis"`
	// Sessions ends it earlier, after so many; 0 leaves it to the time.
	Sessions int `json:"sessions"`
	// Rounds makes the warm-up last until every client had time for one session,
	// and what counts until it had time for so many: in both, Clients times as
	// many have to complete, for at most MaxStretch times as long. Without it a
	// slow peer would be measured while it starts.
	Rounds int `json:"rounds"`
}

// MaxStretch bounds by how much Rounds makes a phase longer.
const MaxStretch = 6

func (p Phase) check() error {
	if p.Clients < 1 || p.WarmMillis < 0 || p.MeasureMillis < 1 || p.Sessions < 0 || p.Rounds < 0 {
		return fmt.Errorf("the phase %+v can't be run: it needs a client and some time, and nothing below 0", p)
	}
	return nil
}

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// The events of a Report.
const (
	EventReady = "ready"
	EventBegin = "begin"
	EventEnd   = "end"
	EventIdle  = "idle"
	EventError = "error"
)

// Report is one line of a load program.
type Report struct {
	Event string `json:"event"`
	// ElapsedMicros is the time that counted, and Micros the latency of every
	// session that completed in it; both with end.
	ElapsedMicros int64   `json:"elapsedMicros,omitempty"`
	Micros        []int64 `json:"micros,omitempty"`
	// Message says with error what went wrong; the phase is over then.
	Message string `json:"message,omitempty"`
}

// Session starts one session and returns once it is COMPLETED, as its client
// sees it. It is called by many goroutines at once.
type Session func(ctx context.Context) error

// Serve says ready and runs the phases that come in, one after another, until
// in ends (nil) or ctx does. A session that fails ends its phase with an error
// report, not the program.
func Serve(ctx context.Context, in io.Reader, out io.Writer, session Session) error {
	write := json.NewEncoder(out)
	if err := write.Encode(Report{Event: EventReady}); err != nil {
		return fmt.Errorf("cannot tell the harness: %w", err)
	}
	read := json.NewDecoder(in)
	for ctx.Err() == nil {
		var p Phase
		if err := read.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot read what the harness asks: %w", err)
		}
		if err := p.run(ctx, session, func(r Report) error { return write.Encode(r) }); err != nil {
			return fmt.Errorf("cannot tell the harness: %w", err)
		}
	}
	return ctx.Err()
}
