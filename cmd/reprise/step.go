package main

import (
	"github.com/spf13/cobra"

	"reprise/domain"
	"reprise/internal/sessionfile"
)

// stepCommand is `reprise step`.
func (a *app) stepCommand() *cobra.Command {
	group := &cobra.Command{
		Use:     "step",
		Aliases: []string{"steps"},
		Short:   "Add, retry, skip and settle steps",
	}
	a.connectionFlags(group)
	group.AddCommand(a.stepAddCommand(), a.stepRetryCommand(), a.stepSkipCommand(), a.stepSucceedCommand(), a.stepFailCommand())
	return group
}

// stepFlags describe a step on the command line.
type stepFlags struct {
	file, input      string
	def              domain.StepDef
	waitsFor         []string
	timeout, backoff durationFlag
	attempts         int
}

func (a *app) stepAddCommand() *cobra.Command {
	var s sending
	var flags stepFlags
	cmd := &cobra.Command{
		Use:   "add SESSION CHAIN [STEP]",
		Short: "Add a step to an open chain",
		Long: `Add a step at the end of an open chain: by flags, or from a YAML or JSON file with
the fields of a step. It waits for the step before it unless --waits-for says
otherwise; --waits-for '' waits for none.`,
		Example: `  reprise step add agent-7 work search --action http --input '{"url": "https://nats.io"}'
  reprise step add agent-7 work approve --manual --title 'Is that good?'
  reprise step add agent-7 work -f step.yaml`,
		Args: between(2, "SESSION", "CHAIN", "[STEP]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			step, err := a.stepDefinition(cmd, flags)
			if err != nil {
				return err
			}
			if len(args) == 3 {
				step.ID = args[2]
			}
			return a.send(cmd, &s, args[0], &domain.AddStep{Chain: args[1], Step: *step})
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&flags.file, "file", "f", "", "`FILE` with the step as YAML or JSON; - reads stdin")
	f.StringVar(&flags.def.Action, "action", "", "`NAME` of the kind of work, what a worker subscribes to")
	f.StringVar(&flags.def.Title, "title", "", "`TITLE` for people")
	f.BoolVar(&flags.def.Manual, "manual", false, "a person or service completes it by command")
	f.StringVar(&flags.input, "input", "", "input as `JSON`, or @FILE")
	f.StringSliceVar(&flags.waitsFor, "waits-for", nil, "`STEP`s of the chain that must be done before")
	f.Var(&flags.timeout, "timeout", "how long one attempt may take")
	f.IntVar(&flags.attempts, "max-attempts", 0, "tries `N` in all (default: 1)")
	f.Var(&flags.backoff, "backoff", "pause before the second try; it grows")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	return noFiles(cmd)
}

// stepDefinition is what the file says, or the flags where there is none.
func (a *app) stepDefinition(cmd *cobra.Command, flags stepFlags) (*domain.StepDef, error) {
	if flags.file != "" {
		name, content, err := sessionfile.Open(flags.file, a.in)
		if err != nil {
			return nil, err
		}
		return sessionfile.ParseStep(name, content)
	}
	def := flags.def
	if def.Action == "" && !def.Manual {
		return nil, usage(cmd, "what kind of step? give --action NAME, --manual or -f FILE")
	}
	input, err := a.payload(cmd, "input", flags.input)
	if err != nil {
		return nil, err
	}
	def.Input, def.Timeout = input, domain.Duration(flags.timeout)
	if cmd.Flags().Changed("waits-for") {
		waits := append([]string{}, flags.waitsFor...)
		def.WaitsFor = &waits
	}
	if flags.attempts != 0 || flags.backoff != 0 {
		def.Retry = &domain.RetryPolicy{MaxAttempts: flags.attempts, Backoff: domain.Duration(flags.backoff)}
	}
	return &def, nil
}

// aboutStep makes a command about one step of a session.
func (a *app) aboutStep(use, short, long, example string, build func(cmd *cobra.Command, chain, step string) (domain.Command, error)) *cobra.Command {
	s := new(sending)
	cmd := &cobra.Command{
		Use: use + " SESSION CHAIN STEP", Short: short, Long: long, Example: example, Args: exactly("SESSION", "CHAIN", "STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := build(cmd, args[1], args[2])
			if err != nil {
				return err
			}
			return a.send(cmd, s, args[0], command)
		},
	}
	s.flags(cmd)
	return noFiles(cmd)
}

func (a *app) stepRetryCommand() *cobra.Command {
	var input, reason string
	cmd := a.aboutStep("retry", "Run a FAILED or TIMEOUT step again",
		"Make a FAILED or TIMEOUT step due at once, with another input if --input is given.\nA FAILED session is RUNNING again.",
		"  reprise step retry release build compile\n  reprise step retry release build compile --input '{\"run\": \"make\"}'",
		func(cmd *cobra.Command, chain, step string) (domain.Command, error) {
			raw, err := a.payload(cmd, "input", input)
			return &domain.RetryStep{Chain: chain, Step: step, Input: raw, Reason: reason}, err
		})
	cmd.Flags().StringVar(&input, "input", "", "new input as `JSON`, or @FILE")
	reasonFlag(cmd, &reason)
	return cmd
}

func (a *app) stepSkipCommand() *cobra.Command {
	var output, reason string
	cmd := a.aboutStep("skip", "Count a step as done without running it",
		"Skip a PENDING, FAILED or TIMEOUT step. It counts as done for what waits for it;\n--output stands in for its result.",
		"  reprise step skip release test smoke --reason flaky\n  reprise step skip data-1 plot rain --output '{\"file\": null}'",
		func(cmd *cobra.Command, chain, step string) (domain.Command, error) {
			raw, err := a.payload(cmd, "output", output)
			return &domain.SkipStep{Chain: chain, Step: step, Output: raw, Reason: reason}, err
		})
	cmd.Flags().StringVar(&output, "output", "", "stand-in result as `JSON`, or @FILE")
	reasonFlag(cmd, &reason)
	return cmd
}

func (a *app) stepSucceedCommand() *cobra.Command {
	var output string
	cmd := a.aboutStep("succeed", "Complete a manual step",
		"Complete a manual step that is ready: an approval, or work that was done by hand.",
		"  reprise step succeed agent-7 approval approve --output '{\"by\": \"ada\"}'",
		func(cmd *cobra.Command, chain, step string) (domain.Command, error) {
			raw, err := a.payload(cmd, "output", output)
			return &domain.SucceedManual{Chain: chain, Step: step, Output: raw}, err
		})
	cmd.Flags().StringVar(&output, "output", "", "result as `JSON`, or @FILE")
	return cmd
}

func (a *app) stepFailCommand() *cobra.Command {
	var report domain.ReportError
	var final bool
	cmd := a.aboutStep("fail", "Fail a manual step",
		"Fail a manual step that is ready. With --final it is not tried again.",
		"  reprise step fail agent-7 approval approve --message 'not good enough' --final",
		func(cmd *cobra.Command, chain, step string) (domain.Command, error) {
			if report.Message == "" {
				return nil, usage(cmd, "say what went wrong: --message TEXT")
			}
			if final {
				retryable := false
				report.Retryable = &retryable
			}
			return &domain.FailManual{Chain: chain, Step: step, Error: report}, nil
		})
	cmd.Flags().StringVarP(&report.Message, "message", "m", "", "`TEXT` that says what went wrong")
	cmd.Flags().StringVar(&report.Code, "code", "", "short stable `NAME` of the error")
	cmd.Flags().StringVar(&report.Stack, "stack", "", "`TEXT` with details, such as a stack trace")
	cmd.Flags().BoolVar(&final, "final", false, "no further tries")
	return cmd
}
