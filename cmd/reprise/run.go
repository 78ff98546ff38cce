package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"reprise/archive"
	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/internal/term"
	"reprise/natsnode"
)

// The exit codes, for scripts.
const (
	exitOK = 0
	// exitFailed: the command was rejected, or failed in another way.
	exitFailed = 1
	// exitUsage: the command line is wrong.
	exitUsage = 2
	// exitNotFound: there is no such session, or it is gone.
	exitNotFound = 3
	// exitUnreachable: no server, no engine, or it can't answer now.
	exitUnreachable = 4
	// exitUnknown: it is not known whether the command was applied; ask again
	// with the same --command-id.
	exitUnknown = 5
)

// run runs one command line and returns the exit code. What the command says
// goes to stdout, why it failed to stderr.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := newApp(stdin, stdout, stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return a.run(ctx, args)
}

// app is what every command needs: where to read and write, the environment and
// the flags they share.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	now      func() time.Time
	// zone is that of times of day.
	zone    *time.Location
	palette term.Palette
	flags   globals
	// operator is as whom a command connects, instead of as the owner.
	operator string
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{
		in: stdin, out: stdout, err: stderr, getenv: os.Getenv, now: time.Now, zone: time.Local,
		palette: term.NewPalette(stdout, os.Getenv),
	}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root() //nolint:contextcheck // each command takes its context from cobra
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	a.complain(err)
	return exitCode(err)
}

// root is the whole tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "reprise",
		Short: "Event-sourced sessions on NATS JetStream",
		Long: `Reprise runs sessions: chains of steps that workers execute, commanded over
NATS, stored as events, and never in doubt.

Without --nats the commands work on the data directory of this user: through
the server that ` + "`reprise serve`" + ` runs on it, or, if there is none, directly.

Exit codes: 0 done, 1 rejected or failed, 2 wrong command line, 3 no such
session, 4 server or engine out of reach, 5 outcome unknown (send it again with
the same --command-id), 6 a run that was paused.`,
		Example: `  reprise run examples/release.yaml
  reprise session create release -f examples/release.yaml --start
  reprise session show release
  reprise session list --state RUNNING,FAILED
  reprise step retry release build compile`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%s", err.Error())
	})
	root.AddGroup(
		&cobra.Group{ID: "work", Title: "Sessions:"},
		&cobra.Group{ID: "operate", Title: "Operators:"},
	)
	for _, c := range []*cobra.Command{a.runCommand(), a.sessionCommand(), a.chainCommand(), a.stepCommand()} {
		c.GroupID = "work"
		root.AddCommand(c)
	}
	for _, c := range append(append(a.holdCommands(), a.cleanupCommand(), a.repairCommand(), a.doctorCommand(), a.benchCommand(), a.authCommand()), a.serverCommands()...) {
		c.GroupID = "operate"
		root.AddCommand(c)
	}
	refuseUnknown(root)
	return root
}

// refuseUnknown makes every group of commands refuse a name that it doesn't
// have; cobra would print its help and succeed.
func refuseUnknown(group *cobra.Command) {
	for _, c := range group.Commands() {
		if c.HasSubCommands() {
			refuseUnknown(c)
		}
	}
	alone := group.RunE
	if alone == nil {
		alone = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	group.Args = cobra.ArbitraryArgs
	group.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return alone(cmd, args)
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage(cmd, "there is no command %q%s", args[0], hint)
	}
	group.SuggestionsMinimumDistance = 2
}

// usageError is a wrong command line.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// usage makes an error about the command line that says where its help is.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...) + " (see " + cmd.CommandPath() + " --help)"}
}

// quietError ends a command with an exit code; all has been said.
type quietError struct{ code int }

func (e *quietError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// complain writes why a command failed: the sentence on stderr, and on stdout
// the error as JSON or YAML where that was asked for.
func (a *app) complain(err error) {
	if _, quiet := errors.AsType[*quietError](err); quiet {
		return
	}
	_, _ = fmt.Fprintln(a.err, "reprise: "+term.Safe(err.Error()))
	e, ok := errors.AsType[*client.Error](err)
	if !ok || a.flags.format() == formatTable {
		return
	}
	_ = a.encode(map[string]contract.Error{"error": {
		Code: e.Code, Message: e.Message, State: e.State, Field: e.Field, CommandID: e.CommandID, Version: e.Version,
		RetryAfter: domain.Duration(e.RetryAfter),
	}})
}

// exitCode classifies an error for scripts.
func exitCode(err error) int {
	if e, ok := errors.AsType[*quietError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*usageError](err); ok || errors.Is(err, natsnode.ErrOptions) {
		return exitUsage
	}
	for _, unreachable := range []error{natsnode.ErrUnreachable, natsnode.ErrInUse, natsnode.ErrStart, natsnode.ErrStorage} {
		if errors.Is(err, unreachable) {
			return exitUnreachable
		}
	}
	if errors.Is(err, archive.ErrNoSession) {
		return exitNotFound
	}
	if errors.Is(err, engine.ErrReadOnly) {
		return exitUnreachable
	}
	switch client.CodeOf(err) {
	case domain.CodeNotFound, domain.CodeGone:
		return exitNotFound
	case domain.CodeUnavailable, domain.CodeWarming, domain.CodeBusy:
		return exitUnreachable
	case domain.CodeUnknownOutcome:
		return exitUnknown
	default:
		return exitFailed
	}
}
