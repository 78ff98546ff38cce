package main

import (
	"fmt"
	"strings"
)

// measure is one figure by which setups are compared.
type measure struct {
	name   string
	figure func(figures) float64
	show   func(float64) string
	// more says that more is better.
	more bool
}

// measures are all, in the order of the table.
func (r *result) measures() []measure {
	var all []measure
	for _, n := range r.Work.Clients {
		all = append(all,
			measure{
				name: fmt.Sprintf("steps a second at %d", n), more: true, show: func(x float64) string { return fmt.Sprintf("%.0f", x) },
				figure: func(f figures) float64 { return f.phases[n].steps },
			},
			measure{name: fmt.Sprintf("p50 at %d", n), show: latency, figure: func(f figures) float64 { return f.phases[n].p50 }},
			measure{name: fmt.Sprintf("p99 at %d", n), show: latency, figure: func(f figures) float64 { return f.phases[n].p99 }},
		)
	}
	return append(all,
		measure{name: "CPU of a step", show: func(x float64) string { return fmt.Sprintf("%.0f us", x) }, figure: func(f figures) float64 { return f.phases[r.busiest()].engineCPU }},
		measure{name: "cold start", show: latency, figure: func(f figures) float64 { return f.cold }},
		measure{name: "memory after the first session", show: mebi, figure: func(f figures) float64 { return f.first }},
		measure{name: "peak memory", show: mebi, figure: func(f figures) float64 { return f.peak }},
	)
}

// better reports whether x is ahead of y.
func (m measure) better(x, y figures) bool {
	if m.more {
		return m.figure(x) > m.figure(y)
	}
	return m.figure(x) < m.figure(y)
}

// behind lists every figure in which a peer is ahead of Reprise at the same
// durability.
func (r *result) behind(b *strings.Builder) {
	var lines []string
	compared := false
	for _, d := range []durability{always, relaxed, none} {
		all := r.inClass(d)
		ours, theirs := split(all)
		if len(ours) == 0 || len(theirs) == 0 {
			continue
		}
		compared = true
		for _, m := range r.measures() {
			for _, f := range theirs {
				if m.better(f, ours[0]) {
					lines = append(lines, fmt.Sprintf("- %s: %s has %s, %s has %s", m.name, f.setup.Name, m.show(m.figure(f)), ours[0].setup.Name, m.show(m.figure(ours[0]))))
				}
			}
		}
	}
	if !compared {
		return
	}
	b.WriteString("\n## Where Reprise is not ahead\n\nEvery figure in which a peer of the same durability is better.\n\n")
	if len(lines) == 0 {
		lines = []string{"None."}
	}
	b.WriteString(strings.Join(lines, "\n") + "\n")
}

// split parts Reprise's figures from the others'.
func split(all []figures) (ours, theirs []figures) {
	for _, f := range all {
		if f.setup.Peer == "reprise" {
			ours = append(ours, f)
		} else {
			theirs = append(theirs, f)
		}
	}
	return ours, theirs
}
