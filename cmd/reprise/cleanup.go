package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

// errNotAgreed ends a purge that the person at the terminal did not want.
var errNotAgreed = errors.New("nothing was changed")

// cleanupCommand is `reprise cleanup`.
func (a *app) cleanupCommand() *cobra.Command {
	cmd := a.purging(&cobra.Command{
		Use:   "cleanup",
		Short: "Find and purge what is stale or orphaned",
		Long: `Cleanup finds sessions whose time has come, and what was left over of sessions
that are gone, shows it, asks, and purges it. Without a terminal it needs --yes.
With --dry-run it reports the same and changes nothing.

It can be done in two steps: a scan makes a plan and changes nothing, and a purge
acts on a plan, where nothing has moved since.

What is purged leaves a tombstone: its id is gone for good. Sessions on hold are
never purged.`,
		Example: `  reprise cleanup --dry-run
  reprise cleanup
  reprise cleanup --state COMPLETED --older-than 30d --yes`,
	})
	a.connectionFlags(cmd)
	cmd.AddCommand(a.cleanupScanCommand(), a.cleanupPurgeCommand(), a.cleanupStatusCommand(), a.cleanupStopCommand())
	return cmd
}

func (a *app) cleanupScanCommand() *cobra.Command {
	f := &cleanupFlags{}
	var out string
	cmd := noFiles(&cobra.Command{
		Use:   "scan",
		Short: "Report what a purge would remove, and change nothing",
		Long: `Scan looks at every session and reports what is stale or orphaned. It changes
nothing. With --out the plan is kept in a file, which can be read, and given to
` + "`reprise cleanup purge --plan`" + `.`,
		Example: `  reprise cleanup scan
  reprise cleanup scan --state COMPLETED --older-than 30d --out plan.json
  reprise cleanup scan --json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := f.request(cmd)
			if err != nil {
				return err
			}
			return a.cleanupScan(cmd.Context(), f, request, out)
		},
	})
	a.scanFlags(cmd, f)
	cmd.Flags().StringVar(&out, "out", "", "keep the plan in this `FILE`")
	return cmd
}

func (a *app) cleanupScan(ctx context.Context, f *cleanupFlags, r contract.CleanupRequest, out string) error {
	return a.withClient(ctx, f.operator, func(c *client.Client) error {
		plan, report, err := a.scanned(ctx, c, r)
		if err != nil {
			return err
		}
		if out != "" {
			if err := writePlan(out, plan); err != nil {
				return err
			}
		}
		return a.show(plan, func(w io.Writer) error { return a.planTable(w, plan, report, out) })
	})
}

// scanned is a scan with a bar while it goes on.
func (a *app) scanned(ctx context.Context, c *client.Client, r contract.CleanupRequest) (*contract.CleanupPlan, *contract.CleanupReport, error) {
	bar := a.newBar()
	defer bar.done()
	return c.Scan(ctx, r, bar.show)
}

func (a *app) cleanupPurgeCommand() *cobra.Command {
	return a.purging(&cobra.Command{
		Use:   "purge",
		Short: "Purge what is stale or orphaned",
		Long: `Purge removes what a scan finds, or what the plan of an earlier scan names where
nothing has moved since. On a terminal it shows what would go and asks; without
one it needs --yes.

Ctrl-C ends it after what it has begun; the same command goes on from there. It
may be killed too: the next purge completes what was half done.`,
		Example: `  reprise cleanup purge --dry-run
  reprise cleanup purge --yes
  reprise cleanup purge --plan plan.json --yes
  reprise cleanup purge --state FAILED --older-than 90d --archive /var/lib/reprise/archive --yes`,
	})
}

// purging makes a command one that purges, with all the flags of that.
func (a *app) purging(cmd *cobra.Command) *cobra.Command {
	f, p := &cleanupFlags{}, &purgeFlags{}
	cmd.Args = exactly()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		request, err := f.request(cmd)
		if err != nil {
			return err
		}
		return a.cleanupPurge(cmd, f, p, request)
	}
	a.scanFlags(cmd, f)
	p.flags(cmd)
	return noFiles(cmd)
}

// cleanupPurge purges by a plan: that of a file, or one that a person agreed to.
// With --yes alone the engine scans and purges in one go.
func (a *app) cleanupPurge(cmd *cobra.Command, f *cleanupFlags, p *purgeFlags, r contract.CleanupRequest) error {
	asks := !p.yes && !p.dryRun
	if _, _, terminal := terminalSize(a.in); asks && !terminal {
		return usage(cmd, "it removes sessions for good, and there is no terminal to ask on; add --yes, or --dry-run to see what would go")
	}
	plan, err := p.readPlan(cmd)
	if err != nil {
		return err
	}
	a.flags.archive = p.archive
	ctx := cmd.Context()
	return a.withClient(ctx, f.operator, func(c *client.Client) error {
		switch {
		case asks:
			if plan, err = a.agree(ctx, c, plan, r); err != nil || plan == nil {
				return err
			}
		case p.dryRun && a.flags.format() == formatTable:
			if plan, err = a.preview(ctx, c, plan, r); err != nil {
				return err
			}
		}
		r.DryRun, r.Archive, r.Concurrency = p.dryRun, p.archive, p.concurrency
		report, err := a.purgeInParts(ctx, c, r, plan)
		if err != nil {
			return err
		}
		return a.reported(report)
	})
}

// preview shows what a dry run is about, as a scan does.
func (a *app) preview(ctx context.Context, c *client.Client, plan *contract.CleanupPlan, r contract.CleanupRequest) (*contract.CleanupPlan, error) {
	if plan == nil {
		var err error
		if plan, _, err = a.scanned(ctx, c, r); err != nil {
			return nil, err
		}
	}
	return plan, a.planItems(a.out, plan)
}

// agree shows what would go and asks; nil if that is nothing.
func (a *app) agree(ctx context.Context, c *client.Client, plan *contract.CleanupPlan, r contract.CleanupRequest) (*contract.CleanupPlan, error) {
	if plan == nil {
		var err error
		if plan, _, err = a.scanned(ctx, c, r); err != nil {
			return nil, err
		}
	}
	if err := a.planItems(a.err, plan); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(a.err, summaryOf(plan)); err != nil || len(plan.Items) == 0 {
		return nil, err
	}
	_, _ = fmt.Fprint(a.err, "Purge them? Their ids can't be used again. [y/N] ")
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if word := strings.ToLower(strings.TrimSpace(answer)); word != "y" && word != "yes" {
		return nil, errNotAgreed
	}
	return plan, nil
}

// purgeInParts sends a plan in parts that fit one message, and adds up the
// reports. Without a plan there is one part: the engine scans.
func (a *app) purgeInParts(ctx context.Context, c *client.Client, r contract.CleanupRequest, plan *contract.CleanupPlan) (*contract.CleanupReport, error) {
	bar := a.newBar()
	defer bar.done()
	if plan == nil {
		return c.Purge(ctx, r, bar.each)
	}
	var sum *contract.CleanupReport
	rest := plan.Items
	for first := true; first || len(rest) > 0; first = false {
		n := min(len(rest), contract.MaxPlanItems)
		part := *plan
		part.Items = rest[:n:n]
		r.Plan, rest = &part, rest[n:]
		bar.before, bar.total = uint64(len(plan.Items)-len(part.Items)-len(rest)), uint64(len(plan.Items))
		report, err := c.Purge(ctx, r, bar.each)
		if err != nil {
			return nil, fmt.Errorf("%d of %d items are done: %w", bar.before, bar.total, err)
		}
		sum = added(sum, report)
		if report.Stopped {
			break
		}
	}
	return sum, nil
}

// added sums up the reports of the parts of one plan.
func added(sum, next *contract.CleanupReport) *contract.CleanupReport {
	if sum == nil {
		return next
	}
	sum.Duration += next.Duration
	sum.Stopped = next.Stopped
	sum.Stale, sum.Orphaned = sum.Stale+next.Stale, sum.Orphaned+next.Orphaned
	sum.Purged, sum.Repaired, sum.Failed = sum.Purged+next.Purged, sum.Repaired+next.Repaired, sum.Failed+next.Failed
	sum.Commits, sum.Bytes = sum.Commits+next.Commits, sum.Bytes+next.Bytes
	for reason, n := range next.Reasons {
		sum.Reasons[reason] += n
	}
	for outcome, n := range next.Skipped {
		sum.Skipped[outcome] += n
	}
	sum.Problems = append(sum.Problems, next.Problems...)
	if sum.Warning == "" {
		sum.Warning = next.Warning
	}
	return sum
}

// reported shows a report. What failed or was not reached makes the exit code.
func (a *app) reported(r *contract.CleanupReport) error {
	if err := a.show(r, func(w io.Writer) error { return a.reportTable(w, r) }); err != nil {
		return err
	}
	if r.Failed > 0 || r.Stopped || r.Warning != "" {
		return &quietError{exitFailed}
	}
	return nil
}

func (a *app) cleanupStatusCommand() *cobra.Command {
	f := &cleanupFlags{}
	cmd := noFiles(&cobra.Command{
		Use:   "status",
		Short: "Show the policy in force and the last reports",
		Long: `Status shows how long what is kept, whether there is a schedule, what is going on,
and the last reports.`,
		Example: `  reprise cleanup status
  reprise cleanup status --json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			operator := f.name(a.getenv)
			return a.withClient(cmd.Context(), operator, func(c *client.Client) error {
				status, err := c.CleanupStatus(cmd.Context())
				if err != nil {
					return err
				}
				return a.show(status, func(w io.Writer) error { return a.statusTable(w, status) })
			})
		},
	})
	f.operatorFlag(cmd)
	return cmd
}

func (a *app) cleanupStopCommand() *cobra.Command {
	f := &cleanupFlags{}
	cmd := noFiles(&cobra.Command{
		Use:   "stop",
		Short: "Stop the scan, purge or repair that is going on",
		Long: `Stop ends the run that is going on after what it has begun. Its report goes to
whoever started it; the next purge goes on from there.`,
		Example: `  reprise cleanup stop`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd.Context(), f.name(a.getenv), func(c *client.Client) error {
				p, err := c.StopCleanup(cmd.Context(), contract.StopRequest{})
				if client.CodeOf(err) == domain.CodeNotFound {
					_, err = fmt.Fprintln(a.out, "nothing is going on")
					return err
				}
				if err != nil {
					return err
				}
				return a.show(p, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "stopping: %s, %d of %d\n", p.Phase, p.Done, p.Total)
					return err
				})
			})
		},
	})
	f.operatorFlag(cmd)
	return cmd
}
