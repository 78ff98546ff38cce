package main

import (
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/domain"
	"reprise/internal/term"
)

func (a *app) metadataCommand() *cobra.Command {
	var s sending
	var remove []string
	cmd := &cobra.Command{
		Use:     "metadata SESSION [KEY=VALUE ...]",
		Aliases: []string{"meta"},
		Short:   "Show, set and remove metadata",
		Example: `  reprise session metadata release
  reprise session metadata release team=core ticket=42
  reprise session metadata release --remove ticket`,
		Args: cobra.MatchAll(cobra.ArbitraryArgs, func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wants(cmd, []string{"SESSION", "[KEY=VALUE ...]"}, args)
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := pairs(cmd, args[1:])
			if err != nil {
				return err
			}
			if len(set)+len(remove) == 0 {
				return a.metadata(cmd, args[0])
			}
			return a.send(cmd, &s, args[0], &domain.SetMetadata{Set: set, Remove: remove})
		},
	}
	s.flags(cmd)
	cmd.Flags().StringSliceVar(&remove, "remove", nil, "`KEY` to remove; may be repeated")
	return noFiles(cmd)
}

// metadata shows the metadata of a session.
func (a *app) metadata(cmd *cobra.Command, session string) error {
	return a.withClient(cmd.Context(), "", func(c *client.Client) error {
		reply, err := c.Get(cmd.Context(), session)
		if err != nil {
			return err
		}
		entries := reply.Session.Metadata
		if entries == nil {
			entries = map[string]string{}
		}
		return a.show(entries, func(w io.Writer) error {
			table := term.NewTable(a.palette)
			for _, key := range slices.Sorted(maps.Keys(entries)) {
				table.Row(clean(key), clean(entries[key]))
			}
			return table.Write(w)
		})
	})
}
