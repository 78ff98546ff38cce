package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

// maxShownEvents is how many event names the line of an answer has.
const maxShownEvents = 4

// maxShownData is how much of an event's data a dry run or history shows in one line.
const maxShownData = 100

// sending are the flags of everything that changes something.
type sending struct {
	dryRun, okIfAlready, quiet bool
	// okIfMissing says that a session that is not there, or gone, is no error.
	okIfMissing bool
	commandID   string
	expect      uint64
	// operator sends it on the operator's subject.
	operator string
}

func (s *sending) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.dryRun, "dry-run", false, "print the events that would be appended and change nothing")
	f.BoolVar(&s.okIfAlready, "ok-if-already", false, "exit 0 if it is already so")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "print the session id alone")
	f.StringVar(&s.commandID, "command-id", "", "`ID` of this command; sent again with it, it is applied once")
	f.Uint64Var(&s.expect, "expect-version", 0, "reject unless the session has this version `N`")
}

func (s *sending) options(cmd *cobra.Command) []client.CommandOption {
	var opts []client.CommandOption
	if s.commandID != "" {
		opts = append(opts, client.WithCommandID(s.commandID))
	}
	if cmd.Flags().Changed("expect-version") {
		opts = append(opts, client.ExpectVersion(s.expect))
	}
	if s.dryRun {
		opts = append(opts, client.DryRun())
	}
	if s.operator != "" {
		opts = append(opts, client.AsOperator())
	}
	return opts
}

// send sends one command and says what became of it.
func (a *app) send(cmd *cobra.Command, s *sending, session string, command domain.Command) error {
	return a.withClient(cmd.Context(), s.operator, func(c *client.Client) error {
		reply, err := c.Do(cmd.Context(), session, command, s.options(cmd)...)
		if s.okay(client.CodeOf(err)) {
			_, _ = fmt.Fprintln(a.err, "reprise: "+term.Safe(err.Error()))
			return nil
		}
		if err != nil {
			return err
		}
		return a.answer(s, reply)
	})
}

// okay reports whether a rejection with that code is what the caller wants.
func (s *sending) okay(code domain.Code) bool {
	missing := code == domain.CodeNotFound || code == domain.CodeGone
	return s.okIfAlready && code == domain.CodeAlready || s.okIfMissing && missing
}

// answer writes the reply of a command.
func (a *app) answer(s *sending, reply *contract.Reply) error {
	if s.quiet && a.flags.format() == formatTable {
		_, err := fmt.Fprintln(a.out, reply.Session)
		return err
	}
	return a.show(reply, func(w io.Writer) error {
		if reply.DryRun {
			return a.dryRun(w, reply)
		}
		_, err := fmt.Fprintln(w, a.outcome(reply))
		return err
	})
}

// outcome is the line that says what a session is now, and by which events.
func (a *app) outcome(reply *contract.Reply) string {
	names := make([]string, 0, len(reply.Events))
	for _, e := range reply.Events {
		names = append(names, string(e.Type))
	}
	if more := len(names) - maxShownEvents; more > 0 {
		names = append(names[:maxShownEvents], fmt.Sprintf("and %d more", more))
	}
	line := fmt.Sprintf("%s  %s  version %d", term.State(a.palette, reply.State), reply.Session, reply.Version)
	if slices.ContainsFunc(reply.Events, purged) {
		line = a.palette.Apply(term.Dim, "deleted") + "  " + reply.Session
	}
	if len(names) > 0 {
		line += "  " + a.palette.Apply(term.Dim, strings.Join(names, ", "))
	}
	if reply.Duplicate {
		line += "  (this had been done before; nothing changed now)"
	}
	return line + a.results(reply)
}

func purged(e contract.EventSummary) bool { return e.Type == domain.TypeSessionPurged }

// results lists what was rejected of a batch.
func (a *app) results(reply *contract.Reply) string {
	var b strings.Builder
	for _, r := range reply.Results {
		if r.Code != "" {
			fmt.Fprintf(&b, "\n  %s rejected: %s", r.Verb, clean(r.Message))
		}
	}
	return b.String()
}

// dryRun writes the events that a command would append.
func (a *app) dryRun(w io.Writer, reply *contract.Reply) error {
	if len(reply.Events) == 0 {
		_, err := fmt.Fprintf(w, "dry run: nothing was changed, and nothing would be: %s is %s\n", reply.Session, reply.State)
		return err
	}
	after := fmt.Sprintf("%s at version %d", term.State(a.palette, reply.State), reply.Version)
	if slices.ContainsFunc(reply.Events, purged) {
		after = "deleted"
	}
	if _, err := fmt.Fprintf(w, "dry run: nothing was changed. %s would be %s after\n", reply.Session, after); err != nil {
		return err
	}
	table := term.NewTable(a.palette)
	for _, e := range reply.Events {
		where := place(e.Chain, e.Step)
		if e.Session != "" {
			where += " of " + e.Session
		}
		table.Row("  "+string(e.Type), where, a.palette.Apply(term.Dim, shortJSON(e.Data)))
	}
	return table.Write(w)
}

// place names a chain, or a step of it.
func place(chain, step string) string {
	if step == "" {
		return chain
	}
	return chain + "/" + step
}

// shortJSON is JSON in one line; nothing for an empty object.
func shortJSON(raw json.RawMessage) string {
	if text := string(raw); text != "{}" && text != "null" {
		return term.Shorten(clean(text), maxShownData)
	}
	return ""
}

// payload reads a JSON value of the command line: itself, @FILE or @- for stdin.
// What is no JSON is refused with a hint how to write text.
func (a *app) payload(cmd *cobra.Command, flag, text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	raw := []byte(text)
	if name, ok := strings.CutPrefix(text, "@"); ok {
		var err error
		if raw, err = a.readAll(name); err != nil {
			return nil, err
		}
	}
	if !json.Valid(raw) {
		return nil, usage(cmd, "--%s: %.60q is not JSON; text is written '\"like this\"', and @FILE reads a file", flag, clean(string(raw)))
	}
	return raw, nil
}

func (a *app) readAll(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(a.in, domain.MaxCommandBytes+1))
	}
	return os.ReadFile(name)
}

// noFiles completes nothing: ids are not file names.
func noFiles(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

// exactly wants these arguments by name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return wants(cmd, names, args)
	}
}

// between wants the first arguments and takes the others.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= len(names) {
			return nil
		}
		return wants(cmd, names, args)
	}
}

// wants says which arguments a command has and what it got.
func wants(cmd *cobra.Command, names, args []string) error {
	got := "got none"
	if len(args) > 0 {
		got = fmt.Sprintf("got %q", args)
	}
	if len(names) == 0 {
		return usage(cmd, "takes no arguments, and %s", got)
	}
	return usage(cmd, "wants %s, and %s", strings.Join(names, " "), got)
}
