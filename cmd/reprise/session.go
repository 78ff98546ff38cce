package main

import (
	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/domain"
	"reprise/internal/sessionfile"
)

// sessionCommand is `reprise session`.
func (a *app) sessionCommand() *cobra.Command {
	group := &cobra.Command{
		Use:     "session",
		Aliases: []string{"sessions", "s"},
		Short:   "Create, run and look at sessions",
	}
	a.connectionFlags(group)
	group.AddCommand(
		a.createCommand(), a.startCommand(), a.pauseCommand(), a.resumeCommand(), a.cancelCommand(),
		a.completeCommand(), a.deleteCommand(), a.forkCommand(), a.metadataCommand(),
		a.listCommand(), a.countCommand(), a.showCommand(), a.atCommand(), a.historyCommand(), a.watchCommand(),
		a.exportCommand(), a.importCommand(),
	)
	return group
}

func (a *app) createCommand() *cobra.Command {
	var s sending
	var file string
	var keepOpen, start bool
	var meta []string
	cmd := &cobra.Command{
		Use:   "create [SESSION] -f FILE",
		Short: "Create a session from a definition",
		Long: `Create a PENDING session from a YAML or JSON file. The id is the argument, else
the id in the file, else a new one. The same definition under the same id again
answers with the session that is there.

With --start it is created and started in one commit.`,
		Example: `  reprise session create release -f examples/release.yaml
  reprise session create -f examples/data.yaml --start --meta dataset=rain
  reprise session create agent-7 --keep-open --start
  generate-plan | reprise session create -f - --dry-run`,
		Args: between(0, "[SESSION]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.definition(cmd, file, keepOpen, meta)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				f.ID = args[0]
			}
			return a.create(cmd, &s, f, start)
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "`FILE` with the definition as YAML or JSON; - reads stdin")
	cmd.Flags().BoolVar(&keepOpen, "keep-open", false, "the session takes chains until it is completed by command")
	cmd.Flags().BoolVar(&start, "start", false, "start it as well")
	cmd.Flags().StringArrayVar(&meta, "meta", nil, "metadata entry `KEY=VALUE`; may be repeated")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	return noFiles(cmd)
}

// definition reads the file and lets flags win over it.
func (a *app) definition(cmd *cobra.Command, file string, keepOpen bool, meta []string) (*sessionfile.File, error) {
	entries, err := pairs(cmd, meta)
	if err != nil {
		return nil, err
	}
	f := new(sessionfile.File)
	switch {
	case file != "":
		name, content, err := sessionfile.Open(file, a.in)
		if err != nil {
			return nil, err
		}
		if f, err = sessionfile.Parse(name, content); err != nil {
			return nil, err
		}
	case !keepOpen:
		return nil, usage(cmd, "a definition is needed: -f FILE, or --keep-open for a session without chains")
	}
	f.KeepOpen = f.KeepOpen || keepOpen
	for key, value := range entries {
		if f.Metadata == nil {
			f.Metadata = map[string]string{}
		}
		f.Metadata[key] = value
	}
	return f, nil
}

// create creates the session, or creates and starts it in one commit.
func (a *app) create(cmd *cobra.Command, s *sending, f *sessionfile.File, start bool) error {
	command := &domain.Create{Definition: f.Definition}
	switch {
	case !start && f.ID == "":
		return a.send(cmd, s, client.NewSession, command)
	case !start:
		return a.send(cmd, s, f.ID, command)
	case f.ID == "":
		f.ID = client.NewCommandID()
	}
	return a.send(cmd, s, f.ID, &domain.Batch{Commands: []domain.Command{command, &domain.Start{}}})
}

// simple makes a command about one session that has a reason at most.
func (a *app) simple(use, short, long, example string, build func() domain.Command) (*cobra.Command, *sending) {
	s := new(sending)
	cmd := &cobra.Command{
		Use: use + " SESSION", Short: short, Long: long, Example: example, Args: exactly("SESSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd, s, args[0], build())
		},
	}
	s.flags(cmd)
	return noFiles(cmd), s
}

func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "`WHY`, for the history")
}

func (a *app) startCommand() *cobra.Command {
	cmd, _ := a.simple("start", "Start a PENDING session",
		"Start a PENDING session: steps that wait for nothing become tasks for workers.",
		"  reprise session start release", func() domain.Command { return &domain.Start{} })
	return cmd
}

func (a *app) pauseCommand() *cobra.Command {
	var p domain.Pause
	var interrupt bool
	cmd, _ := a.simple("pause", "Pause a RUNNING session",
		`Pause a RUNNING session: nothing new starts, what is in flight may still report.
With --interrupt its steps in flight are taken back and run again after resume.`,
		"  reprise session pause release --reason 'disk is full'\n  reprise session pause release --interrupt",
		func() domain.Command {
			if interrupt {
				p.Mode = domain.PauseInterrupt
			}
			return &p
		})
	cmd.Flags().BoolVar(&interrupt, "interrupt", false, "take back what is in flight")
	reasonFlag(cmd, &p.Reason)
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	cmd, _ := a.simple("resume", "Go on with a PAUSED session",
		"Go on with a PAUSED session exactly where it stopped.",
		"  reprise session resume release", func() domain.Command { return &domain.Resume{} })
	return cmd
}

func (a *app) cancelCommand() *cobra.Command {
	var c domain.Cancel
	cmd, _ := a.simple("cancel", "End a RUNNING or PAUSED session",
		"End a RUNNING or PAUSED session for good; every unfinished chain and step is CANCELLED.",
		"  reprise session cancel release --reason 'wrong branch'", func() domain.Command { return &c })
	reasonFlag(cmd, &c.Reason)
	return cmd
}

func (a *app) completeCommand() *cobra.Command {
	cmd, _ := a.simple("complete", "End a session that was kept open",
		"End a RUNNING session with keepOpen, once it has no unfinished chain.",
		"  reprise session complete agent-7", func() domain.Command { return &domain.Complete{} })
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var d domain.Delete
	cmd, s := a.simple("delete", "Delete a session for good",
		`Delete a session with its chains, steps and history. Only a tombstone remains,
and the id is not free again. A RUNNING session needs --force, which cancels it
first; a session on hold is not deleted.`,
		"  reprise session delete release --dry-run\n  reprise session delete release --force --reason 'test run'\n  reprise session delete release --force --ignore-missing",
		func() domain.Command { return &d })
	cmd.Flags().BoolVar(&d.Force, "force", false, "also a RUNNING session")
	cmd.Flags().BoolVar(&s.okIfMissing, "ignore-missing", false, "exit 0 if there is no such session, or it is gone")
	reasonFlag(cmd, &d.Reason)
	return cmd
}

func (a *app) forkCommand() *cobra.Command {
	f := domain.Fork{}
	cut := momentFlag{now: a.now}
	var meta []string
	cmd, _ := a.simple("fork", "Make a new session from one as it is or was",
		`Make a new PENDING session with the same plan. Steps that were done up to the
cut keep their results; the others run again. The history of the first session
is not touched. Any state will do, also COMPLETED and CANCELLED.`,
		`  reprise session fork release --id release-again
  reprise session fork release --version 12 -q
  reprise session fork release --time 2h`,
		func() domain.Command { f.Time = cut.Time; return &f })
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		if f.Version > 0 && !cut.IsZero() {
			return usage(cmd, "--version and --time are two ways to say where to cut: give one")
		}
		f.Metadata, err = pairs(cmd, meta)
		return err
	}
	cmd.Flags().StringVar(&f.ID, "id", "", "`ID` of the new session (default: a new one)")
	cmd.Flags().Uint64Var(&f.Version, "version", 0, "cut after this version `N` (default: now)")
	cmd.Flags().Var(&cut, "time", "cut at this time, or so long ago")
	cmd.Flags().StringArrayVar(&meta, "meta", nil, "metadata entry `KEY=VALUE`; may be repeated")
	reasonFlag(cmd, &f.Reason)
	return cmd
}
