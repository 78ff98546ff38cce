package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// figures are the medians of a setup over the rounds.
type figures struct {
	setup *setup
	runs  int
	// cold is in milliseconds; memory in bytes.
	cold, first, peak float64
	// phases is by the number of clients.
	phases map[int]medians
}

// medians are those of one phase.
type medians struct {
	steps, p50, p99, engineCPU, allCPU float64
	// least and most are those of steps.
	least, most float64
}

// of gathers the runs of a setup that went well; false if none did.
func (r *result) of(s *setup) (figures, bool) {
	f := figures{setup: s, phases: map[int]medians{}}
	var good []outcome
	for _, o := range r.Runs {
		if o.Setup == s.Name && o.Error == "" {
			good = append(good, o)
		}
	}
	if len(good) == 0 {
		return f, false
	}
	f.runs = len(good)
	f.cold = median(good, func(o outcome) float64 { return o.ColdStart })
	f.first = median(good, func(o outcome) float64 { return float64(o.FirstMemory) })
	f.peak = median(good, func(o outcome) float64 { return float64(o.PeakMemory) })
	for i, clients := range r.Work.Clients {
		var phases []phase
		for _, o := range good {
			phases = append(phases, o.Phases[i])
		}
		f.phases[clients] = mediansOf(phases, r.Work.Steps)
	}
	return f, true
}

func mediansOf(phases []phase, steps int) medians {
	rate := func(p phase) float64 { return p.StepsPerSecond }
	return medians{
		steps: median(phases, rate), p50: median(phases, func(p phase) float64 { return p.P50 }),
		p99:       median(phases, func(p phase) float64 { return p.P99 }),
		engineCPU: median(phases, func(p phase) float64 { return p.engineCPU(steps) }),
		allCPU:    median(phases, func(p phase) float64 { return p.allCPU(steps) }),
		least:     rate(slices.MinFunc(phases, func(a, b phase) int { return cmp.Compare(rate(a), rate(b)) })),
		most:      rate(slices.MaxFunc(phases, func(a, b phase) int { return cmp.Compare(rate(a), rate(b)) })),
	}
}

// median is the middle of a figure, the mean of the middle two of an even number.
func median[T any](all []T, figure func(T) float64) float64 {
	values := make([]float64, 0, len(all))
	for _, x := range all {
		values = append(values, figure(x))
	}
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}

// table writes the result as markdown.
func (r *result) table() string {
	var b strings.Builder
	r.head(&b)
	for _, class := range []struct {
		durability durability
		title      string
	}{
		{always, "What an answer says survives a power cut"},
		{relaxed, "It survives a killed process; a power cut may take the last of it"},
		{none, "It is in memory alone"},
	} {
		r.class(&b, class.durability, class.title)
	}
	r.behind(&b)
	r.setups(&b)
	r.failures(&b)
	return b.String()
}

func (r *result) head(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "# Peers side by side, %s\n\n", r.Date)
	if r.Note != "" {
		fmt.Fprintf(b, "**%s**\n\n", r.Note)
	}
	fmt.Fprintf(b, "Made by `make bench-peers` at %s; the raw figures are in the JSON file beside this one. What is measured, and what is not fair about it: [bench/README.md](../README.md).\n\n", r.Commit)
	fmt.Fprintf(b, "Machine: %d cores (%s), %s of memory, Linux %s, %s, %s; load average at the start %s; 4 KiB and an fsync take %d us.\n\n",
		m.Cores, m.CPU, m.Memory, m.Kernel, m.OS, m.Go, m.Load, m.FsyncMicros)
	fmt.Fprintf(b, "Work: sessions of one chain of %d empty steps, for %g s after a warm-up of %g s", r.Work.Steps, float64(r.Work.Measure)/1e3, float64(r.Work.Warm)/1e3)
	if r.Work.Sessions > 0 {
		fmt.Fprintf(b, ", or %d sessions", r.Work.Sessions)
	}
	fmt.Fprintf(b, ", longer where that was not enough for %d sessions a client; medians of %d.\n", r.Work.Rounds, r.rounds())
}

func (r *result) rounds() int {
	most := 0
	for _, o := range r.Runs {
		most = max(most, o.Round)
	}
	return most
}

// class writes the table of the setups of one durability, the fastest first.
func (r *result) class(b *strings.Builder, d durability, title string) {
	all := r.inClass(d)
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| setup |", title)
	for _, clients := range r.Work.Clients {
		fmt.Fprintf(b, " steps/s at %d | p50 | p99 |", clients)
	}
	b.WriteString(" CPU a step | with client | cold start | memory | peak |\n|---|")
	b.WriteString(strings.Repeat("---:|", 3*len(r.Work.Clients)+5) + "\n")
	for _, f := range all {
		r.row(b, f)
	}
}

// busiest is the largest number of clients.
func (r *result) busiest() int { return slices.Max(r.Work.Clients) }

func (r *result) inClass(d durability) []figures {
	var all []figures
	for _, s := range r.Setups {
		if f, ok := r.of(s); ok && s.Durability == d {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(x, y figures) int {
		return cmp.Compare(y.phases[r.busiest()].steps, x.phases[r.busiest()].steps)
	})
	return all
}

func (r *result) row(b *strings.Builder, f figures) {
	name := f.setup.Name
	if f.setup.AsShipped {
		name += " *"
	}
	fmt.Fprintf(b, "| %s |", name)
	for _, clients := range r.Work.Clients {
		m := f.phases[clients]
		fmt.Fprintf(b, " %s | %s | %s |", rate(m), latency(m.p50), latency(m.p99))
	}
	m := f.phases[r.busiest()]
	fmt.Fprintf(b, " %.0f us | %.0f us | %s | %s | %s |\n", m.engineCPU, m.allCPU, latency(f.cold), mebi(f.first), mebi(f.peak))
}

// rate shows the spread where there is one.
func rate(m medians) string {
	if m.least == m.most {
		return fmt.Sprintf("%.0f", m.steps)
	}
	return fmt.Sprintf("%.0f (%.0f-%.0f)", m.steps, m.least, m.most)
}

func latency(ms float64) string {
	if ms >= 100 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

func mebi(bytes float64) string { return fmt.Sprintf("%.0f MiB", bytes/(1<<20)) }

// setups says what each was.
func (r *result) setups(b *strings.Builder) {
	b.WriteString("\n## The setups\n\n| setup | versions | settings | an answer survives |\n|---|---|---|---|\n")
	for _, s := range r.Setups {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.Name, s.Versions, s.Settings, s.Survives)
	}
	b.WriteString("\n`*`: as it is shipped, but for the place of its data. CPU is of server and worker at the largest number of clients; memory is theirs after the first session, and the most after that.\n")
}

// failures says what was left out, and what went wrong.
func (r *result) failures(b *strings.Builder) {
	var lines []string
	for _, m := range r.Missing {
		lines = append(lines, fmt.Sprintf("- %s was left out: %s", m.Setup, m.Reason))
	}
	for _, o := range r.Runs {
		if o.Error != "" {
			lines = append(lines, fmt.Sprintf("- %s failed in round %d: %s", o.Setup, o.Round, o.Error))
		}
	}
	if len(lines) > 0 {
		b.WriteString("\n## What is missing\n\n" + strings.Join(lines, "\n") + "\n")
	}
}
