package main

import (
	"github.com/spf13/cobra"

	"reprise/domain"
	"reprise/internal/sessionfile"
)

// chainCommand is `reprise chain`.
func (a *app) chainCommand() *cobra.Command {
	group := &cobra.Command{
		Use:     "chain",
		Aliases: []string{"chains"},
		Short:   "Add, close, remove and move chains",
	}
	a.connectionFlags(group)
	group.AddCommand(a.chainAddCommand(), a.chainCloseCommand(), a.chainRemoveCommand(), a.chainMoveCommand())
	return group
}

func (a *app) chainAddCommand() *cobra.Command {
	var s sending
	var file string
	var def domain.ChainDef
	var position optionalInt
	cmd := &cobra.Command{
		Use:   "add SESSION [CHAIN]",
		Short: "Add a chain to a session",
		Long: `Add a chain to a PENDING, RUNNING or PAUSED session: from a YAML or JSON file with
the fields of a chain, or an open one without steps by flags.`,
		Example: `  reprise chain add release -f announce.yaml
  reprise chain add agent-7 research --open --title 'Look things up'
  reprise chain add release late --open --waits-for test,package`,
		Args: between(1, "SESSION", "[CHAIN]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			chain, err := a.chainDefinition(cmd, file, def)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				chain.ID = args[1]
			}
			return a.send(cmd, &s, args[0], &domain.AddChain{ChainDef: *chain, Position: position.value})
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "`FILE` with the chain as YAML or JSON; - reads stdin")
	f.StringVar(&def.Title, "title", "", "`TITLE` for people")
	f.BoolVar(&def.Open, "open", false, "it takes more steps until it is closed")
	f.StringSliceVar(&def.WaitsFor, "waits-for", nil, "`CHAIN`s that must be done before")
	f.Var(&position, "position", "place among the chains, from 0 (default: the end)")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	return noFiles(cmd)
}

// chainDefinition reads the file; flags that were given win over it.
func (a *app) chainDefinition(cmd *cobra.Command, file string, flags domain.ChainDef) (*domain.ChainDef, error) {
	if file == "" {
		return &flags, nil
	}
	name, content, err := sessionfile.Open(file, a.in)
	if err != nil {
		return nil, err
	}
	chain, err := sessionfile.ParseChain(name, content)
	if err != nil {
		return nil, err
	}
	changed := cmd.Flags().Changed
	if changed("title") {
		chain.Title = flags.Title
	}
	if changed("open") {
		chain.Open = flags.Open
	}
	if changed("waits-for") {
		chain.WaitsFor = flags.WaitsFor
	}
	return chain, nil
}

func (a *app) chainCloseCommand() *cobra.Command {
	var s sending
	cmd := &cobra.Command{
		Use:     "close SESSION CHAIN",
		Short:   "Say that an open chain gets no more steps",
		Long:    "Close an open chain. It completes when all its steps are done, an empty one at once.",
		Example: "  reprise chain close agent-7 research",
		Args:    exactly("SESSION", "CHAIN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.send(cmd, &s, args[0], &domain.CloseChain{Chain: args[1]})
		},
	}
	s.flags(cmd)
	return noFiles(cmd)
}

func (a *app) chainRemoveCommand() *cobra.Command {
	var s sending
	var c domain.RemoveChain
	cmd := &cobra.Command{
		Use:     "remove SESSION CHAIN",
		Aliases: []string{"rm"},
		Short:   "Remove a chain with its steps",
		Long:    "Remove a chain of which no step is RUNNING and for which nothing waits.",
		Example: "  reprise chain remove release checksums --dry-run",
		Args:    exactly("SESSION", "CHAIN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Chain = args[1]
			return a.send(cmd, &s, args[0], &c)
		},
	}
	s.flags(cmd)
	reasonFlag(cmd, &c.Reason)
	return noFiles(cmd)
}

func (a *app) chainMoveCommand() *cobra.Command {
	var s sending
	var position optionalInt
	var c domain.MoveChain
	cmd := &cobra.Command{
		Use:     "move SESSION CHAIN",
		Aliases: []string{"mv"},
		Short:   "Move a chain to another place or session",
		Long: `Give a chain another place in its session (--position, from 0), or move it with
its results to another session of the same user (--to). Both sessions change, or
neither does.`,
		Example: `  reprise chain move release checksums --position 0
  reprise chain move release docs --to release-2`,
		Args: exactly("SESSION", "CHAIN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if position.value == nil && c.To == "" {
				return usage(cmd, "where to? give --position N or --to SESSION")
			}
			c.Chain, c.Position = args[1], position.value
			return a.send(cmd, &s, args[0], &c)
		},
	}
	s.flags(cmd)
	cmd.Flags().Var(&position, "position", "place among the chains, from 0")
	cmd.Flags().StringVar(&c.To, "to", "", "`SESSION` to move it to")
	return noFiles(cmd)
}
