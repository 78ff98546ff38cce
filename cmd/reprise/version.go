package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"reprise/natsnode"
)

// unknown stands for what a build doesn't say of itself.
const unknown = "unknown"

// build is what `reprise version` says.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	// Modified says that the working tree differed from the commit.
	Modified bool   `json:"modified"`
	Time     string `json:"time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Server is the embedded nats-server, Client the nats.go library.
	Server string `json:"natsServer"`
	Client string `json:"natsClient"`
	// OldestServer is the oldest nats-server that `serve --nats` accepts.
	OldestServer string `json:"oldestNatsServer"`
}

// newBuild reads what the Go toolchain noted; info may be nil.
func newBuild(info *debug.BuildInfo) build {
	b := build{
		Version: unknown, Commit: unknown, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Server: server.VERSION, Client: nats.Version, OldestServer: natsnode.MinServerVersion,
	}
	if info == nil {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value
		case "vcs.time":
			b.Time = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

// commit shows the commit and whether that is all.
func (b build) commit() string {
	if b.Modified {
		return b.Commit + " (modified)"
	}
	return b.Commit
}

func (b build) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "reprise %s\ncommit  %s\ngo      %s %s\nnats    server %s, client %s; works with servers from %s on\n",
		b.Version, b.commit(), b.Go, b.Platform, b.Server, b.Client, b.OldestServer)
	return err
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which reprise this is, and what it was built with",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch a.flags.format() {
			case formatTable, formatJSON, formatYAML:
				info, _ := debug.ReadBuildInfo() // nil if the build has none
				b := newBuild(info)
				return a.show(b, b.write)
			}
			return usage(cmd, "-o %s: there are table, json and yaml", a.flags.output)
		},
	}
	cmd.Flags().StringVarP(&a.flags.output, "format", "o", "", "`FORMAT`: table, json or yaml (default: table)")
	cmd.Flags().BoolVar(&a.flags.json, "json", false, "the same as -o json")
	_ = cmd.RegisterFlagCompletionFunc("output", fixed(formatTable, formatJSON, formatYAML))
	return cmd
}
