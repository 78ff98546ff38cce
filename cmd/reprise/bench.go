package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/load"
)

// The defaults and bounds of a bench.
const (
	defaultBenchClients  = 64
	maxBenchClients      = 4096
	defaultBenchSessions = 1000
	maxBenchSessions     = 1_000_000
	defaultBenchFor      = 10 * time.Second
	defaultBenchWarmUp   = 2 * time.Second
)

// benchFlags are those of `reprise bench`.
type benchFlags struct {
	clients, sessions int
	lasts, warmUp     durationFlag
	keep              bool
}

// benchReport is what a bench came to. Times are in nanoseconds.
type benchReport struct {
	Where     string  `json:"where"`
	User      string  `json:"user"`
	Clients   int     `json:"clients"`
	Sessions  int     `json:"sessions"`
	Seconds   float64 `json:"seconds"`
	Commands  int64   `json:"commands"`
	PerSecond float64 `json:"perSecond"`
	Refused   int64   `json:"refused"`
	Failed    int64   `json:"failed"`
	Complaint string  `json:"complaint,omitempty"`
	// Latency is how long answers took, by quantile and as counts.
	Latency struct {
		P50  time.Duration `json:"p50Ns"`
		P90  time.Duration `json:"p90Ns"`
		P99  time.Duration `json:"p99Ns"`
		P999 time.Duration `json:"p999Ns"`
		Max  time.Duration `json:"maxNs"`
		Bars []benchBar    `json:"histogram"`
	} `json:"latency"`
}

// benchBar is how many answers took up to a time, and more than the bar before.
type benchBar struct {
	UpTo  time.Duration `json:"upToNs"`
	Count int64         `json:"count"`
}

// benchCommand is `reprise bench`.
func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{lasts: durationFlag(defaultBenchFor), warmUp: durationFlag(defaultBenchWarmUp)}
	cmd := noFiles(&cobra.Command{
		Use:   "bench",
		Short: "Measure how many commands are answered, and how fast",
		Long: `Bench makes sessions, lets a number of clients command them at random for a while,
each waiting for its answer before it sends the next, and says how many commands
were answered in a second and how long that took. Then it deletes the sessions;
their tombstones stay for as long as the policy says.

Sessions are led through the life of a usual one: made, started, their steps
completed by command, paused and resumed. What the machine does besides counts:
client, server and engine share it unless --nats names another one.`,
		Example: "  reprise bench\n  reprise bench --nats nats://example.org:4222 --clients 256 --for 30s --json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f)
		},
	})
	a.connectionFlags(cmd)
	flags := cmd.Flags()
	flags.IntVar(&f.clients, "clients", defaultBenchClients, "`N` clients that wait for answers at the same time")
	flags.IntVar(&f.sessions, "sessions", defaultBenchSessions, "`N` sessions that are commanded at random")
	flags.Var(&f.lasts, "for", "how long to measure")
	flags.Var(&f.warmUp, "warm-up", "how long to send commands before, unmeasured")
	flags.BoolVar(&f.keep, "keep", false, "leave the sessions there")
	return cmd
}

func (f *benchFlags) check(cmd *cobra.Command) error {
	switch {
	case f.clients < 1 || f.clients > maxBenchClients:
		return usage(cmd, "--clients %d: use 1 to %d", f.clients, maxBenchClients)
	case f.sessions < f.clients || f.sessions > maxBenchSessions:
		return usage(cmd, "--sessions %d: use %d to %d, one for each client at least", f.sessions, f.clients, maxBenchSessions)
	case f.lasts <= 0:
		return usage(cmd, "--for %s: use more than 0", time.Duration(f.lasts))
	case f.warmUp < 0:
		return usage(cmd, "--warm-up %s: use 0 or more", time.Duration(f.warmUp))
	}
	return nil
}

func (a *app) bench(ctx context.Context, f *benchFlags) error {
	names, err := contract.NewNames(a.flags.prefix)
	if err != nil {
		return &usageError{"--prefix: " + err.Error()}
	}
	l, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	run, err := load.New(load.Config{
		Conns: []*nats.Conn{l.nc}, Names: names, User: a.owner(), Run: "bench-" + uuid.NewString()[:8],
		Clients: f.clients, Sessions: f.sessions,
	})
	if err != nil {
		return err
	}
	result, err := a.measure(ctx, run, f)
	if err != nil {
		return l.explain(err)
	}
	report := a.benchReport(l.where, f, result)
	return a.show(report, func(w io.Writer) error { return report.write(w) })
}

// measure makes the sessions, warms up, measures and deletes the sessions, also
// when ctx ended meanwhile.
func (a *app) measure(ctx context.Context, run *load.Load, f *benchFlags) (*load.Result, error) {
	if !f.keep {
		defer run.Delete(context.WithoutCancel(ctx))
	}
	if made := run.Create(ctx); made.Failed+made.Refused > 0 {
		return nil, fmt.Errorf("%d of %d sessions could not be made; the first: %s", made.Failed+made.Refused, f.sessions, made.Complaint)
	}
	run.For(ctx, time.Duration(f.warmUp))
	result := run.For(ctx, time.Duration(f.lasts))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if result.Commands == 0 {
		return nil, errors.New("no command was answered: " + result.Complaint)
	}
	return result, nil
}

func (a *app) benchReport(where string, f *benchFlags, r *load.Result) *benchReport {
	report := &benchReport{
		Where: where, User: a.owner(), Clients: f.clients, Sessions: f.sessions, Seconds: r.Took.Seconds(),
		Commands: r.Commands, PerSecond: r.PerSecond(), Refused: r.Refused, Failed: r.Failed, Complaint: r.Complaint,
	}
	l := &report.Latency
	l.P50, l.P90, l.P99, l.P999 = r.Quantile(0.5), r.Quantile(0.9), r.Quantile(0.99), r.Quantile(0.999)
	l.Max = time.Duration(r.Latency.Max())
	l.Bars = bars(r)
	return report
}

// bars counts answers in bars that double from one to the next, without the empty
// ones at both ends.
func bars(r *load.Result) []benchBar {
	var all []benchBar
	upTo := 16 * time.Microsecond
	for _, d := range r.Latency.Distribution() {
		if d.Count == 0 {
			continue
		}
		for time.Duration(d.To) > upTo {
			if len(all) > 0 {
				all = append(all, benchBar{UpTo: 2 * upTo})
			}
			upTo *= 2
		}
		if len(all) == 0 {
			all = append(all, benchBar{UpTo: upTo})
		}
		all[len(all)-1].Count += d.Count
	}
	return all
}

// benchBarWidth is how wide the longest bar is, in characters.
const benchBarWidth = 48

// write draws the report.
func (r *benchReport) write(w io.Writer) error {
	l := r.Latency
	_, err := fmt.Fprintf(w, "%d clients, %d sessions of %s, %s, %.1f s\n\n%d commands answered, %.0f a second\n",
		r.Clients, r.Sessions, r.User, r.Where, r.Seconds, r.Commands, r.PerSecond)
	if r.Refused+r.Failed > 0 {
		_, e := fmt.Fprintf(w, "%d refused, %d without an answer; the first: %s\n", r.Refused, r.Failed, r.Complaint)
		err = errors.Join(err, e)
	}
	_, e := fmt.Fprintf(w, "half within %s, 90%% %s, 99%% %s, 99.9%% %s, the slowest %s\n\n",
		shortTime(l.P50), shortTime(l.P90), shortTime(l.P99), shortTime(l.P999), shortTime(l.Max))
	return errors.Join(err, e, r.draw(w))
}

func (r *benchReport) draw(w io.Writer) error {
	var most int64
	for _, bar := range r.Latency.Bars {
		most = max(most, bar.Count)
	}
	errs := make([]error, 0, len(r.Latency.Bars))
	for _, bar := range r.Latency.Bars {
		_, err := fmt.Fprintf(w, "%9s  %-*s %5.1f%%\n", shortTime(bar.UpTo), benchBarWidth, benchBarOf(bar.Count, most), 100*float64(bar.Count)/float64(r.Commands))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// eighths are the ends of a bar, by eighths of a character.
var eighths = []string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}

// benchBarOf draws a count in proportion to the most; what is not nothing shows.
func benchBarOf(count, most int64) string {
	n := count * benchBarWidth * 8 / most
	if n == 0 && count > 0 {
		n = 1
	}
	bar := make([]rune, 0, benchBarWidth)
	for range n / 8 {
		bar = append(bar, '█')
	}
	return string(bar) + eighths[n%8]
}

// shortTime writes a time with three digits or so.
func shortTime(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return domain.Duration(d.Round(time.Millisecond)).String()
}
