package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

const (
	// maxShownItems is how many items of a plan a table has.
	maxShownItems = 50
	// runBarWidth is the width of the bar of progress, in characters.
	runBarWidth = 24
)

// planTable writes what a scan found.
func (a *app) planTable(w io.Writer, plan *contract.CleanupPlan, report *contract.CleanupReport, out string) error {
	if err := a.planItems(w, plan); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %d sessions (policy %s, %s)\n", summaryOf(plan), plan.Scanned, clean(plan.Policy.Name), report.Duration)
	if out != "" {
		fmt.Fprintf(&b, "the plan is in %s; `reprise cleanup purge --plan %s` carries it out\n", out, out)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planItems writes the items of a plan, as far as a table may go.
func (a *app) planItems(w io.Writer, plan *contract.CleanupPlan) error {
	if len(plan.Items) == 0 {
		return nil
	}
	if err := a.itemTable(plan).Write(w); err != nil {
		return err
	}
	more := len(plan.Items) - maxShownItems
	if more <= 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "and %d more; `reprise cleanup scan --json` has all of them\n", more)
	return err
}

func (a *app) itemTable(plan *contract.CleanupPlan) *term.Table {
	table := term.NewTable(a.palette, "REASON", "USER", "SESSION", "STATE", "IDLE", "COMMITS", "BYTES")
	for _, item := range plan.Items[:min(len(plan.Items), maxShownItems)] {
		reason, state := string(item.Reason), ""
		if item.State != "" {
			state = term.State(a.palette, item.State)
		}
		if item.Held {
			reason += " (held)"
		}
		table.Row(reason, clean(item.User), item.Session, state, idleFor(plan.Time, item.LastActivity),
			strconv.FormatUint(item.Commits, 10), term.Bytes(item.Bytes))
	}
	return table
}

func idleFor(now, last time.Time) string {
	if last.IsZero() {
		return ""
	}
	return domain.Duration(now.Sub(last).Truncate(time.Second)).String()
}

// summaryOf says in one line what a plan holds.
func summaryOf(plan *contract.CleanupPlan) string {
	if len(plan.Items) == 0 {
		return "nothing is stale or orphaned"
	}
	reasons := map[contract.CleanupReason]int{}
	var commits, bytes uint64
	for _, item := range plan.Items {
		reasons[item.Reason]++
		commits += item.Commits
		bytes += item.Bytes
	}
	more := ""
	if plan.Truncated {
		more = ", and there is more beyond --limit"
	}
	return fmt.Sprintf("%d found (%s): %d commits, %s%s", len(plan.Items), counts(reasons), commits, term.Bytes(bytes), more)
}

// counts lists numbers by name.
func counts[K ~string](numbers map[K]int) string {
	parts := make([]string, 0, len(numbers))
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		parts = append(parts, fmt.Sprintf("%d %s", numbers[name], string(name)))
	}
	return strings.Join(parts, ", ")
}

// reportTable writes what a purge or a repair did.
func (a *app) reportTable(w io.Writer, r *contract.CleanupReport) error {
	table := term.NewTable(a.palette)
	if len(r.Reasons) > 0 {
		table.Row("found", fmt.Sprintf("%d stale, %d orphaned (%s)", r.Stale, r.Orphaned, counts(r.Reasons)))
	} else {
		table.Row("found", "nothing stale or orphaned")
	}
	did := "purged"
	if r.DryRun {
		did = "would be purged"
	}
	table.Row(did, fmt.Sprintf("%d: %d commits, %s", r.Purged, r.Commits, term.Bytes(r.Bytes)))
	if r.Kind == "repair" {
		table.Row(strings.Replace(did, "purged", "rewritten", 1), strconv.Itoa(r.Repaired)+" views")
	}
	if len(r.Skipped) > 0 {
		table.Row("skipped", counts(r.Skipped))
	}
	if r.Failed > 0 {
		table.Row("failed", strconv.Itoa(r.Failed))
	}
	table.Row("took", r.Duration.String())
	if err := table.Write(w); err != nil {
		return err
	}
	for _, p := range r.Problems {
		if _, err := fmt.Fprintf(a.err, "reprise: %s of %s: %s\n", clean(p.Session), clean(p.User), clean(p.Why)); err != nil {
			return err
		}
	}
	if r.Warning != "" {
		_, _ = fmt.Fprintln(a.err, "reprise: "+clean(r.Warning))
	}
	if r.Stopped {
		_, _ = fmt.Fprintln(a.err, "reprise: it was stopped; the same command goes on from there")
	}
	return nil
}

// statusTable writes the policy and the last reports.
func (a *app) statusTable(w io.Writer, s *contract.CleanupStatus) error {
	table := term.NewTable(a.palette)
	table.Row("policy", clean(s.Policy.Name))
	for _, state := range domain.States() {
		kept := "for ever"
		if age, ok := s.Policy.Retention[state]; ok && !slices.Contains(s.Policy.Keep, state) {
			kept = age.String()
		}
		if state == domain.StatePaused || state == domain.StateRunning {
			kept += " idle"
			if !s.Policy.PurgeIdle {
				kept += ", reported and not purged"
			}
		}
		table.Row("  "+string(state), kept)
	}
	table.Row("  tombstones", s.Policy.Tombstones.String())
	every := "none"
	if s.Every > 0 {
		every = "every " + s.Every.String()
	}
	table.Row("schedule", every)
	if p := s.Running; p != nil {
		table.Row("now", fmt.Sprintf("%s, %d of %d", p.Phase, p.Done, p.Total))
	}
	for i, r := range []*contract.CleanupReport{s.Scan, s.Purge, s.Repair} {
		if r != nil {
			table.Row([]string{"last scan", "last purge", "last repair"}[i], fmt.Sprintf("%s by %s: %d stale, %d orphaned, %d purged, %d failed",
				r.Time.Format(time.RFC3339), clean(r.By), r.Stale, r.Orphaned, r.Purged, r.Failed))
		}
	}
	return table.Write(w)
}

// bar shows on a terminal how far a run is, in one line of stderr that it writes
// over. It is safe for concurrent use.
type bar struct {
	out io.Writer
	// before items of total were done by earlier parts.
	before, total uint64

	mu    sync.Mutex
	wrote bool
}

func (a *app) newBar() *bar {
	if !term.IsTerminal(a.err) {
		return &bar{}
	}
	return &bar{out: a.err}
}

func (b *bar) each(m contract.CleanupMessage) {
	if m.Progress != nil {
		b.show(*m.Progress)
	}
}

func (b *bar) show(p contract.CleanupProgress) {
	if b.out == nil || p.Phase == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrote = true
	_, _ = io.WriteString(b.out, "\r\x1b[K"+barOf(p, b.before, b.total)) // only for show
}

// barOf is the line of a bar.
func barOf(p contract.CleanupProgress, before, total uint64) string {
	done, all := p.Done, p.Total
	if total > 0 {
		done, all = before+p.Done, total
	}
	if all == 0 {
		return p.Phase + "…"
	}
	full := int(min(done, all) * runBarWidth / all)
	return fmt.Sprintf("%s %s%s %d of %d", p.Phase, strings.Repeat("█", full), strings.Repeat("░", runBarWidth-full), done, all)
}

// done clears the line.
func (b *bar) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wrote {
		_, _ = io.WriteString(b.out, "\r\x1b[K") // only for show
	}
}
