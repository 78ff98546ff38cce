package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

func (a *app) historyCommand() *cobra.Command {
	req := contract.HistoryRequest{}
	var types []string
	var limit int
	var full bool
	cmd := &cobra.Command{
		Use:     "history SESSION",
		Aliases: []string{"log"},
		Short:   "Show the commits of a session, oldest first",
		Example: `  reprise session history release
  reprise session history release --types step.failed,step.timedout --full
  reprise session history release --from 20 --json`,
		Args: exactly("SESSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.Types, err = oneOf(cmd, "types", types, domain.EventTypes()); err != nil {
				return err
			}
			req.Session = args[0]
			return a.history(cmd, req, limit, full)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&types, "types", nil, "commits that hold an event of one of these `TYPES`, such as step.failed")
	f.Uint64Var(&req.FromVersion, "from", 0, "from this version `N` on")
	f.IntVar(&limit, "limit", 0, "at most `N` commits (default: all)")
	f.BoolVar(&full, "full", false, "with the data of the events")
	_ = cmd.RegisterFlagCompletionFunc("types", fixed(words(domain.EventTypes())...))
	return noFiles(cmd)
}

// history gathers the pages up to the limit and writes them.
func (a *app) history(cmd *cobra.Command, req contract.HistoryRequest, limit int, full bool) error {
	return a.withClient(cmd.Context(), "", func(c *client.Client) error {
		req.Limit = contract.MaxPage
		if limit > 0 {
			req.Limit = min(limit, contract.MaxPage)
		}
		commits := []contract.CommitEntry{}
		for entry, err := range c.Commits(cmd.Context(), req) {
			if err != nil {
				return err
			}
			if commits = append(commits, entry); len(commits) == limit {
				break
			}
		}
		reply := map[string]any{"session": req.Session, "commits": commits}
		return a.show(reply, func(w io.Writer) error { return a.historyTable(w, commits, full) })
	})
}

func (a *app) historyTable(w io.Writer, commits []contract.CommitEntry, full bool) error {
	if len(commits) == 0 {
		_, err := fmt.Fprintln(w, "no commits match")
		return err
	}
	table := term.NewTable(a.palette, "VERSION", "TIME", "STATE", "COMMAND", "BY", "EVENTS")
	for _, entry := range commits {
		a.historyRows(table, entry, full)
	}
	return table.Write(w)
}

// historyRows adds a row for each event; what they share stands in the first.
func (a *app) historyRows(table *term.Table, entry contract.CommitEntry, full bool) {
	head := []string{
		strconv.FormatUint(entry.Version, 10), entry.Time.UTC().Format("2006-01-02 15:04:05.000"),
		term.State(a.palette, entry.State), string(entry.Cause), clean(entry.Actor),
	}
	for i, e := range entry.Events {
		if i > 0 {
			head = []string{"", "", "", "", ""}
		}
		table.Row(append(slices.Clone(head), a.eventText(e, full))...)
	}
}

// eventText is an event in one line.
func (a *app) eventText(e contract.EventSummary, full bool) string {
	text := string(e.Type)
	if where := place(e.Chain, e.Step); where != "" {
		text += " " + where
	}
	if full {
		text += "  " + a.palette.Apply(term.Dim, shortJSON(e.Data))
	}
	return strings.TrimRight(text, " ")
}

func (a *app) watchCommand() *cobra.Command {
	var from uint64
	var untilDone bool
	cmd := &cobra.Command{
		Use:     "watch SESSION",
		Aliases: []string{"follow"},
		Short:   "Follow the commits of a session as they happen",
		Long: `Follow a session: a line for each event, or with --json a line of JSON for each
commit. Nothing is left out, also after the connection was lost for a while.

With --until-done it ends when the session does: exit code 0 if it is COMPLETED,
1 if it is FAILED, CANCELLED or deleted.`,
		Example: `  reprise session watch release
  reprise session watch release --from 1 --json
  reprise session start release && reprise session watch release --until-done`,
		Args: exactly("SESSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.watch(cmd, args[0], from, untilDone)
		},
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "from this version `N` on (default: what happens from now on)")
	cmd.Flags().BoolVar(&untilDone, "until-done", false, "end when the session is COMPLETED, FAILED, CANCELLED or deleted")
	return noFiles(cmd)
}

// watch writes commits until the session is done, or the watch is interrupted.
func (a *app) watch(cmd *cobra.Command, session string, from uint64, untilDone bool) error {
	return a.withClient(cmd.Context(), "", func(c *client.Client) error {
		if untilDone && from == 0 {
			state, next, err := startOfWatch(cmd.Context(), c, session)
			if err != nil {
				return err
			}
			if ended(state) {
				_, _ = fmt.Fprintf(a.err, "reprise: session %s is %s already\n", session, state)
				return outcomeOf(state)
			}
			from = next
		}
		return a.follow(cmd.Context(), c, session, from, untilDone)
	})
}

// startOfWatch is the state of a session and the version of its next event.
func startOfWatch(ctx context.Context, c *client.Client, session string) (domain.State, uint64, error) {
	reply, err := c.Get(ctx, session)
	if err != nil {
		return "", 0, err
	}
	return reply.Session.State, reply.Session.Version + 1, nil
}

func (a *app) follow(ctx context.Context, c *client.Client, session string, from uint64, untilDone bool) error {
	for entry, err := range c.Watch(ctx, session, from) {
		switch {
		case errors.Is(err, context.Canceled) && !untilDone:
			return nil // interrupted, which is how a watch ends
		case errors.Is(err, context.Canceled):
			return errors.New("interrupted before the session was done")
		case err != nil:
			return err
		}
		if err := a.watchLine(entry); err != nil {
			return err
		}
		deleted := slices.ContainsFunc(entry.Events, purged)
		if untilDone && (deleted || ended(entry.State)) {
			if deleted {
				return &quietError{exitFailed}
			}
			return outcomeOf(entry.State)
		}
	}
	return nil
}

// ended reports whether a session in this state does nothing by itself any more.
func ended(s domain.State) bool {
	return s == domain.StateCompleted || s == domain.StateFailed || s == domain.StateCancelled
}

// outcomeOf is the exit code of a session that ended.
func outcomeOf(s domain.State) error {
	if s == domain.StateCompleted {
		return nil
	}
	return &quietError{exitFailed}
}

func (a *app) watchLine(entry contract.CommitEntry) error {
	if a.flags.format() != formatTable {
		return a.line(entry)
	}
	for _, e := range entry.Events {
		_, err := fmt.Fprintf(a.out, "%s  %s  %s\n", entry.Time.In(a.zone).Format("15:04:05.000"), a.watchState(entry.State), a.eventText(e, false))
		if err != nil {
			return err
		}
	}
	return nil
}

// watchState is a state padded to the longest one.
func (a *app) watchState(s domain.State) string {
	text := term.State(a.palette, s)
	return text + strings.Repeat(" ", max(0, len("✓ COMPLETED")-len("✓")+1-term.Width(text)))
}
