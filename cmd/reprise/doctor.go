package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
	"reprise/natsnode"
)

// level is how a check went.
type level string

// The levels, from good to bad. What can't be seen is not known to be good.
const (
	levelOK      level = "ok"
	levelUnknown level = "unknown"
	levelWarn    level = "warn"
	levelBad     level = "bad"
)

// doctorIndent is how far what to do stands from the edge: below what was found.
const doctorIndent = 23

// levels in their order.
var levels = []level{levelOK, levelUnknown, levelWarn, levelBad}

// finding is one check: what was found, in a sentence, and what to do about it.
type finding struct {
	Check string `json:"check"`
	Level level  `json:"level"`
	Says  string `json:"says"`
	Do    string `json:"do,omitempty"`
}

// diagnosis is what the doctor found.
type diagnosis struct {
	Worst    level                   `json:"worst"`
	Findings []finding               `json:"findings"`
	Engines  []contract.EngineReport `json:"engines"`
}

// doctorCommand is `reprise doctor`.
func (a *app) doctorCommand() *cobra.Command {
	f := &cleanupFlags{}
	cmd := noFiles(&cobra.Command{
		Use:   "doctor",
		Short: "Check server, streams, engines and workers, and say what to do",
		Long: `Doctor asks every engine how it is and says of server, storage, durability, lists,
views, workers and dead letters whether all is well, and if not, what to do. What a
client of a NATS server can't see is said to be unknown.

The exit code is 0 unless something is bad. Nothing is changed.`,
		Example: "  reprise doctor\n  reprise doctor --nats nats://example.org:4222 --json | jq .worst",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.doctor(cmd, f.name(a.getenv))
		},
	})
	a.connectionFlags(cmd)
	f.operatorFlag(cmd)
	return cmd
}

func (a *app) doctor(cmd *cobra.Command, operator string) error {
	var d diagnosis
	err := a.withClient(cmd.Context(), operator, func(c *client.Client) error {
		reports, err := c.Doctor(cmd.Context())
		d.Engines = reports
		return err
	})
	if _, wrong := errors.AsType[*usageError](err); wrong {
		return err
	}
	d.Findings = append(unanswered(err), judge(d.Engines)...)
	d.Worst = worst(d.Findings)
	if err := a.show(d, func(w io.Writer) error { return a.writeDiagnosis(w, d) }); err != nil {
		return err
	}
	if d.Worst == levelBad {
		return &quietError{exitFailed}
	}
	return nil
}

// unanswered says why not every engine could be asked.
func unanswered(err error) []finding {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, natsnode.ErrUnreachable):
		return []finding{{"server", levelBad, err.Error(), "start the server, or name the right one with --nats"}}
	case errors.Is(err, client.ErrNoEngine):
		return []finding{{"engines", levelBad, err.Error(), "an engine has to run; only it sees streams, lists and workers"}}
	case client.CodeOf(err) == domain.CodeNotAllowed:
		return []finding{{"credentials", levelBad, err.Error(), "ask with credentials of an operator: reprise auth add operator NAME"}}
	}
	return []finding{{"engines", levelBad, err.Error(), "look at the log of the engine"}}
}

// worst is the highest level among findings.
func worst(findings []finding) level {
	at := 0
	for _, f := range findings {
		for i, l := range levels {
			if f.Level == l {
				at = max(at, i)
			}
		}
	}
	return levels[at]
}

// writeDiagnosis writes a line a finding, and below it what to do.
func (a *app) writeDiagnosis(w io.Writer, d diagnosis) error {
	var b strings.Builder
	for _, f := range d.Findings {
		fmt.Fprintf(&b, "%s  %-12s  %s\n", a.levelWord(f.Level), f.Check, clean(f.Says))
		if f.Do != "" {
			b.WriteString(strings.Repeat(" ", doctorIndent) + a.palette.Apply(term.Yellow, "→ "+clean(f.Do)) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *app) levelWord(l level) string {
	style := map[level]term.Style{levelOK: term.Green, levelUnknown: term.Dim, levelWarn: term.Yellow, levelBad: term.Red}[l]
	return a.palette.Apply(style, fmt.Sprintf("%-7s", l))
}

// diskOf says in a report when an embedded server syncs; nil where it keeps
// everything in memory.
func diskOf(opts natsnode.Options) *contract.Disk {
	if opts.Memory {
		return nil
	}
	interval := opts.SyncInterval
	if interval == 0 {
		interval = natsnode.DefaultSyncInterval
	}
	if opts.SyncAlways {
		return &contract.Disk{Always: true}
	}
	return &contract.Disk{Interval: domain.Duration(interval.Round(time.Microsecond))}
}
