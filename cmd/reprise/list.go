package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

// The widths that keep a row of a list in one line.
const (
	maxListError    = 60
	maxListMetadata = 40
)

// filterFlags are the conditions of list and count.
type filterFlags struct {
	states, chains, steps, waiting                           []string
	meta                                                     []string
	createdAfter, createdBefore, updatedAfter, updatedBefore momentFlag
	// seen is the position the lists must have seen.
	seen positionFlag
}

func (a *app) filterFlags(cmd *cobra.Command) *filterFlags {
	now := momentFlag{now: a.now}
	f := &filterFlags{createdAfter: now, createdBefore: now, updatedAfter: now, updatedBefore: now}
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.states, "state", "s", nil, "sessions in one of these `STATES`")
	flags.StringSliceVar(&f.chains, "chain-state", nil, "sessions with a chain in one of these `STATES`")
	flags.StringSliceVar(&f.steps, "step-state", nil, "sessions with a step in one of these `STATES`")
	flags.StringSliceVar(&f.waiting, "waiting", nil, "sessions that wait for one of these `THINGS`: "+strings.Join(waitingWords(), ", "))
	flags.StringArrayVar(&f.meta, "meta", nil, "sessions with this metadata `KEY=VALUE`; the key has to be declared to the engine")
	flags.Var(&f.createdAfter, "created-after", "created at or after this time, or at most so long ago (2h)")
	flags.Var(&f.createdBefore, "created-before", "created before this time")
	flags.Var(&f.updatedAfter, "updated-after", "changed at or after this time")
	flags.Var(&f.updatedBefore, "updated-before", "not changed since this time")
	flags.Var(&f.seen, "min-position", "wait until the lists have seen this: incarnation:seq from the JSON answer of a command")
	_ = cmd.RegisterFlagCompletionFunc("state", fixed(words(domain.States())...))
	_ = cmd.RegisterFlagCompletionFunc("chain-state", fixed(words(domain.ChainStatuses())...))
	_ = cmd.RegisterFlagCompletionFunc("step-state", fixed(words(domain.StepStatuses())...))
	_ = cmd.RegisterFlagCompletionFunc("waiting", fixed(waitingWords()...))
	return f
}

// options are those of the query.
func (f *filterFlags) options() []client.QueryOption {
	if f.seen.Seq == 0 {
		return nil
	}
	return []client.QueryOption{client.MinPosition(f.seen.Position)}
}

// filter reads the conditions; states may be written in lower case.
func (f *filterFlags) filter(cmd *cobra.Command) (contract.Filter, error) {
	states, err := oneOf(cmd, "state", f.states, domain.States())
	if err != nil {
		return contract.Filter{}, err
	}
	chains, err := oneOf(cmd, "chain-state", f.chains, domain.ChainStatuses())
	if err != nil {
		return contract.Filter{}, err
	}
	steps, err := oneOf(cmd, "step-state", f.steps, domain.StepStatuses())
	if err != nil {
		return contract.Filter{}, err
	}
	waiting, err := waitingKinds(cmd, f.waiting)
	if err != nil {
		return contract.Filter{}, err
	}
	meta, err := pairs(cmd, f.meta)
	return contract.Filter{
		States: states, ChainState: chains, StepState: steps, Waiting: waiting, Metadata: meta,
		CreatedAfter: f.createdAfter.Time, CreatedBefore: f.createdBefore.Time,
		UpdatedAfter: f.updatedAfter.Time, UpdatedBefore: f.updatedBefore.Time,
	}, err
}

// oneOf reads words that are among the known ones.
func oneOf[S ~string](cmd *cobra.Command, flag string, given []string, known []S) ([]S, error) {
	var found []S
next:
	for _, word := range given {
		for _, k := range known {
			if strings.EqualFold(word, string(k)) {
				found = append(found, k)
				continue next
			}
		}
		return nil, usage(cmd, "--%s %s: there are %s", flag, word, strings.Join(words(known), ", "))
	}
	return found, nil
}

func words[S ~string](values []S) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

func (a *app) listCommand() *cobra.Command {
	var filter *filterFlags
	var req contract.ListRequest
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List sessions",
		Long: `List the sessions of one user, a page at a time, the newest first. Several states
are joined by or, different conditions by and.

WAITS FOR says why a RUNNING session does not move. An action without a worker is
one for whose tasks none has waited in the last 5 seconds, and none is busy with.`,
		Example: `  reprise session list
  reprise session list --state RUNNING,PAUSED --sort -updated
  reprise session list --waiting no-worker
  reprise session list --step-state FAILED --created-after 24h --all --json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.Filter, err = filter.filter(cmd); err != nil {
				return err
			}
			return a.list(cmd, req, all, filter.options())
		},
	}
	filter = a.filterFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&req.Sort, "sort", "-created", "`ORDER`: created, -created, updated or -updated")
	f.IntVar(&req.Limit, "limit", contract.DefaultPage, fmt.Sprintf("sessions `N` of a page, at most %d", contract.MaxPage))
	f.StringVar(&req.Page, "page", "", "`TOKEN` of the page, from the page before")
	f.BoolVar(&all, "all", false, "all pages")
	_ = cmd.RegisterFlagCompletionFunc("sort", fixed("created", "-created", "updated", "-updated"))
	return cmd
}

// list shows one page, or all of them.
func (a *app) list(cmd *cobra.Command, req contract.ListRequest, all bool, opts []client.QueryOption) error {
	return a.withClient(cmd.Context(), "", func(c *client.Client) error {
		page, err := c.List(cmd.Context(), req, opts...)
		for all && err == nil && page.Next != "" {
			var more *contract.ListReply
			req.Page = page.Next
			if more, err = c.List(cmd.Context(), req); err == nil {
				more.Sessions = append(page.Sessions, more.Sessions...)
				page = more
			}
		}
		if err != nil {
			return err
		}
		if page.Sessions == nil {
			page.Sessions = []contract.Row{}
		}
		return a.show(page, func(w io.Writer) error { return a.listTable(w, page) })
	})
}

func (a *app) listTable(w io.Writer, page *contract.ListReply) error {
	if len(page.Sessions) == 0 {
		_, err := fmt.Fprintf(w, "no sessions of user %s match\n", clean(a.owner()))
		return err
	}
	waiting := slices.ContainsFunc(page.Sessions, func(row contract.Row) bool { return a.waits(row) != "" })
	table := term.NewTable(a.palette, with(waiting, "WAITS FOR", "STATE", "SESSION", "STEPS", "UPDATED", "CREATED", "METADATA", "ERROR")...)
	for _, row := range page.Sessions {
		table.Row(with(waiting, a.waits(row), term.State(a.palette, row.State), row.ID, progress(row), term.Ago(a.now(), row.UpdatedAt),
			term.Ago(a.now(), row.CreatedAt), term.Shorten(clean(joined(row.Metadata)), maxListMetadata),
			a.palette.Apply(term.Red, term.Shorten(clean(row.Error), maxListError)))...)
	}
	if err := table.Write(w); err != nil || page.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "there are more: --page %s, or --all\n", page.Next)
	return err
}

// with puts one more cell behind the steps, if it is wanted.
func with(wanted bool, cell string, cells ...string) []string {
	if !wanted {
		return cells
	}
	return slices.Insert(cells, 3, cell)
}

// progress is how many steps are done, how many there are, and what is in
// flight or special about the session.
func progress(row contract.Row) string {
	text := fmt.Sprintf("%d/%d", row.StepsDone, row.Steps)
	if row.InFlight > 0 {
		text += fmt.Sprintf(" (%d running)", row.InFlight)
	}
	if row.Held {
		text += " held"
	}
	return text
}

func (a *app) countCommand() *cobra.Command {
	var filter *filterFlags
	cmd := &cobra.Command{
		Use:     "count",
		Short:   "Count sessions by state",
		Example: "  reprise session count\n  reprise session count --updated-before 7d",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			conditions, err := filter.filter(cmd)
			if err != nil {
				return err
			}
			return a.count(cmd, conditions, filter.options())
		},
	}
	filter = a.filterFlags(cmd)
	return cmd
}

func (a *app) count(cmd *cobra.Command, conditions contract.Filter, opts []client.QueryOption) error {
	return a.withClient(cmd.Context(), "", func(c *client.Client) error {
		reply, err := c.Count(cmd.Context(), conditions, opts...)
		if err != nil {
			return err
		}
		return a.show(reply, func(w io.Writer) error {
			table := term.NewTable(a.palette)
			for _, state := range domain.States() {
				table.Row(term.State(a.palette, state), fmt.Sprintf("%7d", reply.States[state]))
			}
			table.Row("  total", fmt.Sprintf("%7d", reply.Total))
			return table.Write(w)
		})
	})
}
