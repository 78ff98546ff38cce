package main

import (
	"fmt"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"reprise/contract"
	"reprise/domain"
)

// The output formats.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

// defaultWait is how long a command waits for one answer.
const defaultWait = 5 * time.Second

// globals are the flags of every command that talks to an engine.
type globals struct {
	nats, context, data, prefix string
	user                        string
	output                      string
	json                        bool
	wait                        durationFlag
	// archive is where an engine in this process may archive.
	archive string
}

func (g *globals) format() string {
	switch {
	case g.json:
		return formatJSON
	case g.output == "":
		return formatTable
	}
	return g.output
}

// connectionFlags adds to a command, for it and all below it, the flags that
// say which engine to talk to, for whom, and how to write what it says.
//
// They share a.flags: one command line runs one command.
func (a *app) connectionFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	g := &a.flags
	g.wait = durationFlag(defaultWait)
	f.StringVar(&g.nats, "nats", "", "`URL` of a NATS server on which an engine answers (default: $NATS_URL)")
	f.StringVar(&g.context, "context", "", "`NAME` of a context of the nats CLI (default: $NATS_CONTEXT)")
	f.StringVar(&g.data, "data", "", "`DIR` of the data to work on when no server is named (default: "+a.shownDataDir()+")")
	f.StringVar(&g.prefix, "prefix", "", "first `TOKEN` of the engine's subjects (default: reprise)")
	f.StringVarP(&g.user, "user", "u", "", "`USER` who owns the sessions (default: $REPRISE_USER, else that of the credentials or of this account)")
	f.Var(&g.wait, "wait", "how long to wait for one answer")
	a.outputFlags(cmd)
}

// outputFlags adds to a command, for it and all below it, the flags that say how
// to write what it says.
func (a *app) outputFlags(cmd *cobra.Command) {
	f, g := cmd.PersistentFlags(), &a.flags
	f.StringVarP(&g.output, "format", "o", "", "write a `FORMAT`: table, json or yaml (default: table)")
	f.BoolVar(&g.json, "json", false, "the same as -o json")
	_ = cmd.RegisterFlagCompletionFunc("format", fixed(formatTable, formatJSON, formatYAML))
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		switch g.format() {
		case formatTable, formatJSON, formatYAML:
			return nil
		}
		return usage(cmd, "-o %s: there are table, json and yaml", g.output)
	}
}

// fixed completes a flag from a list.
func fixed(values ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}

// owner returns the user the sessions belong to.
func (a *app) owner() string {
	if a.flags.user != "" {
		return a.flags.user
	}
	if name := a.getenv("REPRISE_USER"); name != "" {
		return name
	}
	if name := a.credsUser(); name != "" {
		return name
	}
	return accountName()
}

// accountName is the name of the account of this process, without the domain
// that Windows puts before it.
func accountName() string {
	account, err := user.Current()
	if err != nil || account.Username == "" {
		return "local"
	}
	return account.Username[strings.LastIndexByte(account.Username, '\\')+1:]
}

// dataDir returns the data directory: --data, else defaultDataDir.
func (a *app) dataDir() string {
	if a.flags.data != "" {
		return a.flags.data
	}
	return defaultDataDir(a.getenv)
}

// defaultDataDir is where `reprise serve` and the commands keep their data if
// they are not told: $REPRISE_DATA, else the place the system has for it.
func defaultDataDir(getenv func(string) string) string {
	if dir := getenv("REPRISE_DATA"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "reprise")
	}
	switch runtime.GOOS {
	case "windows":
		return filepath.Join(getenv("LOCALAPPDATA"), "reprise")
	case "darwin":
		return filepath.Join(getenv("HOME"), "Library", "Application Support", "reprise")
	}
	return filepath.Join(getenv("HOME"), ".local", "state", "reprise")
}

// shownDataDir writes the default for a help text, without this account's home.
func (a *app) shownDataDir() string {
	dir := defaultDataDir(a.getenv)
	if home := a.getenv("HOME"); home != "" {
		if rest, ok := strings.CutPrefix(dir, home+string(filepath.Separator)); ok {
			return filepath.Join("~", rest)
		}
	}
	return dir
}

// durationFlag is a flag in the form of every duration in Reprise.
type durationFlag domain.Duration

func (d *durationFlag) String() string { return domain.Duration(*d).String() }

func (d *durationFlag) Type() string { return "DURATION" }

func (d *durationFlag) Set(text string) error {
	parsed, err := domain.ParseDuration(text)
	*d = durationFlag(parsed)
	return err
}

// momentFlag is a point in time: RFC 3339, a date, or how long ago (90m).
type momentFlag struct {
	time.Time
	now func() time.Time
}

func (m *momentFlag) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339Nano)
}

func (m *momentFlag) Type() string { return "TIME" }

func (m *momentFlag) Set(text string) error {
	if ago, err := domain.ParseDuration(text); err == nil {
		m.Time = m.now().UTC().Add(-ago.Std())
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			m.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%.40q is no time; write 2026-11-21T13:31:05Z, 2026-11-21, or how long ago, such as 90m", text)
}

// positionFlag is a place in the event stream, incarnation:seq.
type positionFlag struct{ contract.Position }

func (p *positionFlag) String() string {
	if p.Seq == 0 {
		return ""
	}
	return p.Position.String()
}

func (p *positionFlag) Type() string { return "POSITION" }

func (p *positionFlag) Set(text string) (err error) {
	p.Position, err = contract.ParsePosition(text)
	return err
}

// optionalInt is a whole number that may be left out.
type optionalInt struct{ value *int }

func (o *optionalInt) String() string {
	if o.value == nil {
		return ""
	}
	return strconv.Itoa(*o.value)
}

func (o *optionalInt) Type() string { return "N" }

func (o *optionalInt) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%.40q is not a whole number", text)
	}
	o.value = &n
	return nil
}

// pairs reads key=value arguments; nil if there are none.
func pairs(cmd *cobra.Command, args []string) (map[string]string, error) {
	var m map[string]string
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, usage(cmd, "%q is not KEY=VALUE", arg)
		}
		if m == nil {
			m = make(map[string]string, len(args))
		}
		m[key] = value
	}
	return m, nil
}
