package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"reprise/bench/load"
	"reprise/bench/proc"
)

// drainPatience is what a phase may take beyond its own time.
const drainPatience = 2 * time.Minute

// harness runs setups.
type harness struct {
	opts  options
	tools *tools
	out   io.Writer
}

func newHarness(o options, out io.Writer) (*harness, error) {
	t, err := newTools(o.root, o.cache)
	return &harness{opts: o, tools: t, out: out}, err
}

// sayf tells the terminal what happens.
func (h *harness) sayf(format string, args ...any) { _, _ = fmt.Fprintf(h.out, format+"\n", args...) }

// prepare returns the setups that can run; what the others lack is said and
// kept in the result.
func (h *harness) prepare(ctx context.Context, all []*setup, res *result) []*setup {
	var ready []*setup
	for _, s := range all {
		versions, err := s.prepare(ctx, h.tools)
		if err != nil {
			h.sayf("%s: left out: %v", s.Name, err)
			res.Missing = append(res.Missing, missing{Setup: s.Name, Reason: err.Error()})
			continue
		}
		s.Versions = versions
		res.Setups = append(res.Setups, s)
		ready = append(ready, s)
	}
	return ready
}

// measure is one run of one setup. What goes wrong is kept in it.
func (h *harness) measure(ctx context.Context, s *setup, round int) outcome {
	h.sayf("%s, round %d ...", s.Name, round)
	o := outcome{Setup: s.Name, Round: round, Started: time.Now().UTC().Truncate(time.Second)}
	st, err := newStage(h.tools, h.opts.work)
	if err == nil {
		err = errors.Join(h.perform(ctx, s, st, &o), st.close(ctx))
	}
	if err != nil {
		o.Error = err.Error()
		h.sayf("  failed: %v", err)
		return o
	}
	for _, p := range o.Phases {
		h.sayf("  %d at once: %.0f steps/s, p50 %.2f ms, p99 %.2f ms", p.Clients, p.StepsPerSecond, p.P50, p.P99)
	}
	return o
}

// perform starts the setup cold and runs its phases.
func (h *harness) perform(ctx context.Context, s *setup, st *stage, o *outcome) error {
	starting, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if s.before != nil {
		if err := s.before(starting, st); err != nil {
			return err
		}
	}
	if err := s.start(starting, st); err != nil {
		return err
	}
	nothing := func() error { return nil }
	first := load.Phase{Clients: 1, MeasureMillis: int(startPatience.Milliseconds()), Sessions: 1}
	seen := func() error {
		o.ColdStart = millis(time.Since(st.begun))
		return nil
	}
	if _, err := st.load.run(starting, first, nothing, seen); err != nil {
		return err
	}
	idle, err := st.usage()
	if err != nil {
		return err
	}
	o.FirstMemory = held(idle)
	watching := st.watch()
	for _, clients := range h.opts.work.Clients {
		var p phase
		if p, err = h.phase(ctx, st, clients); err != nil {
			break
		}
		o.Phases = append(o.Phases, p)
	}
	o.PeakMemory = max(o.FirstMemory, watching.end())
	return err
}

// phase runs one phase and reads what it used.
func (h *harness) phase(ctx context.Context, st *stage, clients int) (phase, error) {
	w := h.opts.work
	ctx, cancel := context.WithTimeout(ctx, load.MaxStretch*time.Duration(w.Warm+w.Measure)*time.Millisecond+drainPatience)
	defer cancel()
	var before, after map[role]proc.Usage
	look := func(at *map[role]proc.Usage) func() error {
		return func() (err error) {
			*at, err = st.usage()
			return err
		}
	}
	ask := load.Phase{Clients: clients, WarmMillis: w.Warm, MeasureMillis: w.Measure, Sessions: w.Sessions, Rounds: w.Rounds}
	r, err := st.load.run(ctx, ask, look(&before), look(&after))
	if err != nil {
		return phase{}, err
	}
	if len(r.Micros) == 0 {
		return phase{}, fmt.Errorf("no session completed in the time that counts, %g s; use a longer -measure", float64(r.ElapsedMicros)/1e6)
	}
	p := summary(clients, w.Steps, r)
	p.CPU = map[role]float64{}
	for name := range after {
		p.CPU[name] = (after[name].CPU - before[name].CPU).Seconds()
	}
	return p, nil
}

// summary makes figures of what a load program reported.
func summary(clients, steps int, r load.Report) phase {
	slices.Sort(r.Micros)
	seconds := float64(r.ElapsedMicros) / 1e6
	n := len(r.Micros)
	return phase{
		Clients: clients, Sessions: n, Seconds: seconds, StepsPerSecond: float64(n*steps) / seconds,
		P50: quantile(r.Micros, 0.5), P90: quantile(r.Micros, 0.9), P99: quantile(r.Micros, 0.99), Max: quantile(r.Micros, 1),
	}
}

// quantile returns the latency, in milliseconds, that a share of all did not
// exceed; sorted is not empty.
func quantile(sorted []int64, share float64) float64 {
	rank := int(share*float64(len(sorted))+0.999999) - 1
	return float64(sorted[min(max(rank, 0), len(sorted)-1)]) / 1e3
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
