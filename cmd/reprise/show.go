package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show SESSION",
		Aliases: []string{"get"},
		Short:   "Show a session: its tree, its error, and why it isn't moving",
		Long: `Show a session with its chains and steps, the error that decided its outcome, and
what each part that does not move waits for. Inputs and outputs are in --json.`,
		Example: "  reprise session show release\n  reprise session show release --json | jq .session.chains",
		Args:    exactly("SESSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.showSession(cmd, func(c *client.Client) (*contract.GetReply, error) {
				return c.Get(cmd.Context(), args[0])
			})
		},
	}
	return noFiles(cmd)
}

func (a *app) atCommand() *cobra.Command {
	var req contract.AtRequest
	moment := momentFlag{now: a.now}
	cmd := &cobra.Command{
		Use:   "at SESSION (--version N | --seq N | --time TIME)",
		Short: "Show a session as it was",
		Long:  "Show a session as it was after the last commit that is not beyond a version, a\nsequence of the event stream, or a time.",
		Example: `  reprise session at release --version 12
  reprise session at release --time 2026-11-21T13:31:05Z
  reprise session at release --time 30m`,
		Args: exactly("SESSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Session, req.Time = args[0], moment.Time
			if given := countSet(cmd, "version", "seq", "time"); given != 1 {
				return usage(cmd, "as it was when? give one of --version, --seq and --time")
			}
			return a.showSession(cmd, func(c *client.Client) (*contract.GetReply, error) { return c.At(cmd.Context(), req) })
		},
	}
	cmd.Flags().Uint64Var(&req.Version, "version", 0, "at this version `N`")
	cmd.Flags().Uint64Var(&req.Seq, "seq", 0, "at this sequence `N` of the event stream")
	cmd.Flags().Var(&moment, "time", "at this time, or so long ago")
	return noFiles(cmd)
}

// countSet is how many of these flags were given.
func countSet(cmd *cobra.Command, names ...string) int {
	n := 0
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			n++
		}
	}
	return n
}

func (a *app) showSession(cmd *cobra.Command, get func(*client.Client) (*contract.GetReply, error)) error {
	return a.withClient(cmd.Context(), "", func(c *client.Client) error {
		reply, err := get(c)
		if err != nil {
			return err
		}
		return a.show(reply, func(w io.Writer) error { return a.writeSession(w, sightOf(reply)) })
	})
}

// writeSession writes headline, error, facts, reasons and tree.
func (a *app) writeSession(w io.Writer, s sight) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s\n", term.State(a.palette, s.State), a.palette.Apply(term.Bold, s.ID), a.palette.Apply(term.Dim, "of "+clean(s.User)))
	a.writeFailure(&b, s.Error)
	b.WriteByte('\n')
	facts := term.NewTable(a.palette)
	for _, f := range a.facts(s.Session) {
		facts.Row("  "+a.palette.Apply(term.Dim, f[0]), f[1])
	}
	if err := facts.Write(&b); err != nil {
		return err
	}
	if reasons := a.reasons(s); len(reasons) > 0 {
		b.WriteByte('\n')
		for _, r := range reasons {
			b.WriteString("  " + a.palette.Apply(term.Yellow, "→ "+r) + "\n")
		}
	}
	if err := a.writeTree(&b, s); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeFailure writes the error that decided the outcome, first the sentence.
func (a *app) writeFailure(b *strings.Builder, f *domain.Failure) {
	if f == nil {
		return
	}
	where := ""
	if f.Step != "" {
		where = place(f.Chain, f.Step)
		if f.Attempt > 0 {
			where += fmt.Sprintf(", attempt %d", f.Attempt)
		}
		where += ": "
	}
	code := ""
	if f.Code != "" {
		code = " (" + f.Code + ")"
	}
	b.WriteString("  " + a.palette.Apply(term.Red, where+strings.ReplaceAll(term.Safe(f.Message), "\n", "\n  ")+code) + "\n")
	if f.Stack != "" {
		b.WriteString(a.palette.Apply(term.Dim, "    "+strings.ReplaceAll(strings.TrimRight(term.Safe(f.Stack), "\n"), "\n", "\n    ")) + "\n")
	}
}

// facts are the lines of the head that apply.
func (a *app) facts(s *domain.Session) [][2]string {
	var facts [][2]string
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, [2]string{name, value})
		}
	}
	now := a.now()
	add("created", term.Moment(now, s.CreatedAt))
	add("started", term.Moment(now, s.StartedAt))
	if s.State == domain.StatePaused {
		add("paused", term.Moment(now, s.PausedAt))
	}
	if !s.EndedAt.IsZero() {
		add("ended", term.Moment(now, s.EndedAt)+took(s))
	}
	add("updated", term.Moment(now, s.UpdatedAt))
	add("deadline", term.Moment(now, s.Deadline))
	add("version", fmt.Sprintf("%d (%s)", s.Version, plural(int(s.Commits), "commit")))
	add("settings", settings(s))
	add("metadata", clean(joined(s.Metadata)))
	if s.Parent != nil {
		add("fork of", fmt.Sprintf("%s at version %d", s.Parent.Session, s.Parent.Version))
	}
	if s.Hold != nil {
		add("on hold", clean(fmt.Sprintf("by %s, %s%s", s.Hold.By, term.Ago(now, s.Hold.Since), dash(s.Hold.Reason))))
	}
	return facts
}

// took is the time between start and end.
func took(s *domain.Session) string {
	if s.StartedAt.IsZero() || s.EndedAt.Before(s.StartedAt) {
		return ""
	}
	return ", took " + term.Span(s.EndedAt.Sub(s.StartedAt))
}

// settings are those that are not the default.
func settings(s *domain.Session) string {
	var list []string
	if s.KeepOpen {
		list = append(list, "keepOpen")
	}
	if s.OnFailure == domain.FailContinue {
		list = append(list, "onFailure continue")
	}
	if s.Timeout > 0 {
		list = append(list, "timeout "+s.Timeout.String())
	}
	if s.Priority != 0 {
		list = append(list, fmt.Sprintf("priority %d", s.Priority))
	}
	return strings.Join(list, ", ")
}

// joined writes metadata in the order of its keys.
func joined(m map[string]string) string {
	list := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, key+"="+m[key])
	}
	return strings.Join(list, " ")
}

func dash(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
