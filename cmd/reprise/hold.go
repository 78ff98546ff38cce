package main

import (
	"github.com/spf13/cobra"

	"reprise/domain"
)

// holdCommands are `reprise hold` and `reprise unhold`.
func (a *app) holdCommands() []*cobra.Command {
	var hold domain.PutHold
	var unhold domain.ReleaseHold
	return []*cobra.Command{
		a.operatorCommand("hold", "Keep a session from being deleted",
			"Put a session on hold: it is neither deleted nor purged until the hold is released.",
			"  reprise hold release --user ada --reason 'audit 2026-3'", &hold, &hold.Reason),
		a.operatorCommand("unhold", "Release a hold",
			"Release the hold of a session.",
			"  reprise unhold release --user ada --reason 'audit is over'", &unhold, &unhold.Reason),
	}
}

// operatorCommand sends a command on the operator's subject, under the name of
// --operator.
func (a *app) operatorCommand(use, short, long, example string, command domain.Command, reason *string) *cobra.Command {
	cmd, s := a.simple(use, short, long, example, func() domain.Command { return command })
	a.connectionFlags(cmd)
	send := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.operator == "" {
			s.operator = a.operatorHere()
		}
		return send(cmd, args)
	}
	cmd.Flags().StringVar(&s.operator, "operator", "", "`NAME` of the operator (default: $REPRISE_OPERATOR, else the name of this account)")
	reasonFlag(cmd, reason)
	return cmd
}

// operatorHere is the operator that no flag names: that of the environment, of the
// credentials, or of this account.
func (a *app) operatorHere() string {
	if name := a.credsName(); name != "" && a.getenv("REPRISE_OPERATOR") == "" && domain.ValidID(name) {
		return name
	}
	return operatorName(a.getenv)
}

// operatorName is one token: what stands in the history as who did it.
func operatorName(getenv func(string) string) string {
	name := getenv("REPRISE_OPERATOR")
	if name == "" {
		name = accountName()
	}
	if !domain.ValidID(name) {
		return "operator"
	}
	return name
}
