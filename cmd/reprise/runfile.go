package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"reprise/actions"
	"reprise/worker"
)

// exitPaused: a run was interrupted and its session is PAUSED.
const exitPaused = 6

// What --progress takes.
const (
	progressAuto  = "auto"
	progressTree  = "tree"
	progressPlain = "plain"
)

const (
	// runListen is where the engine of a run listens: for this machine alone, on
	// a port that the data directory's lock file names.
	runListen = "127.0.0.1:0"
	// defaultPatience is how long steps may go on after an interrupt.
	defaultPatience = 5 * time.Second
	// idWord and workerWord are the lengths of the random parts of the ids of
	// sessions and of workers.
	idWord, workerWord = 6, 10
	// maxStem bounds the part of a session id that the file gives.
	maxStem = 48
)

// The metadata that a run adds to a session.
const (
	metaFile = "file"
	metaDir  = "dir"
)

// runFlags are the flags of `reprise run` that no other command has.
type runFlags struct {
	workerFlags

	resume, newID, listen, progress string
	retry, noWorker, noHistory      bool
	meta                            []string
	patience                        durationFlag
	sync                            durability
}

func (a *app) runCommand() *cobra.Command {
	f := runFlags{patience: durationFlag(defaultPatience)}
	f.level = slog.LevelError
	cmd := &cobra.Command{
		Use:   "run (FILE | --resume SESSION)",
		Short: "Run a session from a file and watch it to its end",
		Long: `Run creates and starts the session of a YAML or JSON file, executes its steps
with a worker in this process, and shows how it goes: a live tree on a terminal,
a line for each event in a pipe. Then come a summary and the history.

Nothing needs to be installed or started: without --nats, the engine and its NATS
server run in this process, on the data directory of this user. If another
process serves that directory, run works there. While it runs, other commands
find it by the directory, so that "reprise step succeed" and the like work from
another terminal; --listen none rules that out.

The worker takes steps of this session alone, of the actions that --actions and
--action-map name. Each run of a file is a new session, unless the file or --id
gives it an id. Commands run in the current directory, or --dir.

Ctrl-C pauses the session: nothing new starts, and steps in flight may end for
the time of --patience. Then they are stopped and given back, which doesn't count
as a try. A second Ctrl-C stops at once.

--resume goes on where a session stopped, also after a crash or a reboot. What
was in flight then runs again as a new attempt. If the engine ran in the process
that died, its steps are given back at once: who holds the data directory knows
that the other is gone. Else the engine waits until their leases are over, and
steps that were lost in this way are tried again. Steps that failed by themselves
are run again with --retry only.

Exit codes: 0 the session is COMPLETED, 1 FAILED, CANCELLED or refused, 6 it is
PAUSED after an interrupt, others as for every command.`,
		Example: `  reprise run examples/release.yaml
  reprise run examples/data.yaml --id data-1 --concurrency 2
  reprise run --resume data-1
  reprise run --resume data-1 --retry
  generate-plan | reprise run - --action-map build=exec,deploy=exec`,
		Args: between(0, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.newRunner(cmd, &f, args)
			if err != nil {
				return err
			}
			ctx, stop := withHangup(cmd.Context())
			defer stop()
			defer keepRunning()()
			return r.run(ctx)
		},
	}
	a.connectionFlags(cmd)
	f.flags(cmd)
	return cmd
}

func (f *runFlags) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.resume, "resume", "", "go on with `SESSION` where it stopped")
	fs.BoolVar(&f.retry, "retry", false, "with --resume: run failed steps again")
	fs.StringVar(&f.newID, "id", "", "session `ID` (default: that of the file, else its name and some letters)")
	fs.StringArrayVar(&f.meta, "meta", nil, "metadata entry `KEY=VALUE`; may be repeated")
	fs.StringSliceVar(&f.actions, "actions", actions.Names(), "`NAMES` of the built-in actions to execute")
	fs.StringToStringVar(&f.actionMap, "action-map", nil, "execute actions of other names with built-in ones: `NAME=exec`")
	fs.BoolVar(&f.noWorker, "no-worker", false, "execute nothing here; an interrupt then only ends the watching")
	fs.IntVar(&f.concurrency, "concurrency", worker.DefaultConcurrency, "`N` steps at once")
	fs.Var(&f.lease, "lease", "how long the engine waits for a sign of life (default: the engine's)")
	fs.StringVar(&f.dir, "dir", "", "`DIR`ectory in which commands run (default: this one; with --resume that of the first run)")
	fs.Var(&f.patience, "patience", "how long steps in flight may go on after an interrupt")
	f.sync.flag(cmd)
	fs.StringVar(&f.listen, "listen", runListen, "`HOST:PORT` of the engine in this process, or none")
	fs.StringVar(&f.progress, "progress", progressAuto, "show a `KIND` of progress: tree, plain, or auto by where it goes")
	fs.BoolVar(&f.noHistory, "no-history", false, "leave out the history at the end")
	fs.TextVar(&f.level, "log-level", slog.LevelError, "`LEVEL` of the log on stderr: debug, info, warn or error")
	_ = cmd.RegisterFlagCompletionFunc("actions", fixed(actions.Names()...))
	_ = cmd.RegisterFlagCompletionFunc("progress", fixed(progressAuto, progressTree, progressPlain))
	_ = cmd.RegisterFlagCompletionFunc("log-level", fixed("debug", "info", "warn", "error"))
	_ = cmd.MarkFlagDirname("dir")
}

// check refuses a command line that contradicts itself, and returns the built-in
// action behind each one that is to be executed.
func (f *runFlags) check(cmd *cobra.Command, args []string) (served map[string]string, err error) {
	if err := f.checkSubject(cmd, args); err != nil {
		return nil, err
	}
	if err := f.sync.check(cmd); err != nil {
		return nil, err
	}
	changed := cmd.Flags().Changed
	switch {
	case f.progress != progressAuto && f.progress != progressTree && f.progress != progressPlain:
		return nil, usage(cmd, "--progress %s: there are auto, tree and plain", f.progress)
	case f.noWorker && (changed("actions") || changed("action-map")):
		return nil, usage(cmd, "--no-worker executes nothing; leave --actions and --action-map out")
	case f.noWorker:
		return map[string]string{}, nil
	}
	return f.served(cmd)
}

// checkSubject wants one session: a new one or one that is there.
func (f *runFlags) checkSubject(cmd *cobra.Command, args []string) error {
	switch {
	case f.resume == "" && len(args) == 0:
		return usage(cmd, "what is to run? give a FILE, - for stdin, or --resume SESSION")
	case f.resume != "" && len(args) > 0:
		return usage(cmd, "--resume %s goes on with a session that is there, and %q would be a new one; give one of them", f.resume, args[0])
	case f.resume != "" && (f.newID != "" || len(f.meta) > 0):
		return usage(cmd, "--id and --meta are for a new session; --resume %s goes on with one that is there", f.resume)
	case f.retry && f.resume == "":
		return usage(cmd, "--retry runs failed steps of a session again: name it with --resume SESSION")
	}
	return nil
}

// keepRunning makes a run outlive the reader of its output: without it a broken
// pipe would end the process. The function it returns ends that.
func keepRunning() (end func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE) // to ignore it would reach the commands of steps
	return func() { signal.Stop(broken) }
}

// withHangup ends a context also when the terminal goes away, unless hang-ups
// are ignored, as nohup does.
func withHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// readableID makes the id of a new session from the name of its file:
// "examples/my data.yaml" gives my-data-k3x9qa.
func readableID(file string) string {
	stem := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	if file == "-" {
		stem = "run"
	}
	stem = strings.Trim(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, stem), "-")
	if stem == "" {
		stem = "run"
	}
	return stem[:min(len(stem), maxStem)] + "-" + randomWord(idWord)
}

// randomWord makes n random letters and digits, at most 26.
func randomWord(n int) string { return strings.ToLower(rand.Text()[:n]) }
