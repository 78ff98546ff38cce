package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
)

// repairCommand is `reprise repair`.
func (a *app) repairCommand() *cobra.Command {
	f := &cleanupFlags{}
	var r contract.RepairRequest
	cmd := noFiles(&cobra.Command{
		Use:   "repair",
		Short: "Compare what is derived with the events, and put it right",
		Long: `Repair finds views that are missing, wrong or of nobody, histories that a killed
purge left behind, and tasks, leases and dead letters of sessions that are gone.
Without --apply it reports them and changes nothing. No session is ever touched.`,
		Example: `  reprise repair
  reprise repair --apply
  reprise repair --apply --rebuild-views`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Rebuild && !r.Apply {
				return usage(cmd, "--rebuild-views writes all views anew; add --apply")
			}
			return a.withClient(cmd.Context(), f.name(a.getenv), func(c *client.Client) error {
				bar := a.newBar()
				report, err := c.Repair(cmd.Context(), r, bar.each)
				bar.done()
				if err != nil {
					return err
				}
				if !r.Apply && len(report.Reasons) > 0 {
					_, _ = fmt.Fprintln(a.err, "nothing was changed; --apply puts it right")
				}
				return a.reported(report)
			})
		},
	})
	a.connectionFlags(cmd)
	f.operatorFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&r.Apply, "apply", false, "put it right")
	flags.BoolVarP(&r.Apply, "yes", "y", false, "the same as --apply")
	flags.BoolVar(&r.Rebuild, "rebuild-views", false, "write every view anew from the events, whether it looks right or not")
	return cmd
}
