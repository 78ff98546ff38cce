package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"reprise/archive"
)

// stdio names standard input or output where a file is wanted.
const stdio = "-"

// exportFlags are the flags of `reprise session export`.
type exportFlags struct {
	conditions              *filterFlags
	file                    string
	all, tombstones         bool
	skipDamaged, overwrites bool
}

func (a *app) exportCommand() *cobra.Command {
	var e exportFlags
	cmd := &cobra.Command{
		Use:   "export {SESSION... | --all | CONDITIONS} -f FILE",
		Short: "Write sessions with their whole history to a file",
		Long: `Write sessions to a file of JSON lines: every commit byte for byte, with hashes and
a trailer that shows whether the file is whole. It is compressed by its ending:
.jsonl.gz, .jsonl.zst, or not.

Everything is as it was at one moment, also while the sessions go on. Conditions
and --all are about the sessions of every user, or of --user.

This reads the event store itself, so it needs the rights of an operator there.`,
		Example: `  reprise session export release -f release.jsonl
  reprise session export --all -f backup.jsonl.zst
  reprise session export --state COMPLETED,FAILED --updated-before 30d -f old.jsonl.gz
  reprise session export release -f - | jq -r 'select(.type == "commit") | .body'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := a.exportFilter(cmd, &e, args)
			if err != nil {
				return err
			}
			return a.export(cmd.Context(), &e, filter)
		},
	}
	e.conditions = a.filterFlags(cmd)
	for _, name := range []string{"chain-state", "step-state", "min-position"} {
		_ = cmd.Flags().MarkHidden(name)
	}
	f := cmd.Flags()
	f.Lookup("meta").Usage = "sessions with this metadata `KEY=VALUE`"
	f.StringVarP(&e.file, "file", "f", "", "`FILE` to write; - is stdout")
	f.BoolVar(&e.all, "all", false, "every session")
	f.BoolVar(&e.tombstones, "tombstones", false, "the tombstones of sessions that are gone as well")
	f.BoolVar(&e.skipDamaged, "skip-damaged", false, "leave sessions out whose history can't be verified")
	f.BoolVar(&e.overwrites, "force", false, "replace the file if it is there")
	_ = cmd.MarkFlagFilename("file", "jsonl", "gz", "zst")
	return noFiles(cmd)
}

// exportFilter reads what is to be exported, and refuses a command line that
// does not say.
func (a *app) exportFilter(cmd *cobra.Command, e *exportFlags, sessions []string) (archive.Filter, error) {
	changed := cmd.Flags().Changed
	for _, name := range []string{"chain-state", "step-state", "min-position"} {
		if changed(name) {
			return archive.Filter{}, usage(cmd, "--%s is for lists; there are --state, --meta and the times", name)
		}
	}
	c, err := e.conditions.filter(cmd)
	if err != nil {
		return archive.Filter{}, err
	}
	f := archive.Filter{
		User: a.flags.user, Sessions: sessions, States: c.States, Metadata: c.Metadata, Tombstones: e.tombstones,
		CreatedAfter: c.CreatedAfter, CreatedBefore: c.CreatedBefore, UpdatedAfter: c.UpdatedAfter, UpdatedBefore: c.UpdatedBefore,
	}
	conditions := false
	for _, name := range []string{"state", "meta", "created-after", "created-before", "updated-after", "updated-before", "tombstones"} {
		conditions = conditions || changed(name)
	}
	switch {
	case e.file == "":
		return f, usage(cmd, "-f FILE is needed; - writes to stdout")
	case len(sessions) > 0 && e.all:
		return f, usage(cmd, "--all and the names of sessions exclude each other")
	case len(sessions) == 0 && !e.all && !conditions:
		return f, usage(cmd, "say which sessions: by name, by conditions such as --state, or --all")
	case len(sessions) > 0:
		f.User = a.owner()
	}
	return f, nil
}

// exported is the result of an export.
type exported struct {
	File string `json:"file"`
	archive.ExportReport
}

func (a *app) export(ctx context.Context, e *exportFlags, filter archive.Filter) error {
	if e.file != stdio && !e.overwrites {
		if _, err := os.Lstat(e.file); err == nil {
			return &usageError{fmt.Sprintf("%s is there already; --force replaces it", e.file)}
		}
	}
	s, err := a.openOperatorStore(ctx, opening{where: a.here()})
	if err != nil {
		return err
	}
	defer func() { _ = s.close() }() //nolint:contextcheck // it was only read
	m := a.newMeter()
	options := archive.ExportOptions{Filter: filter, SkipDamaged: e.skipDamaged, Now: a.now, Progress: m.show}
	result := exported{File: e.file}
	write := func(w io.Writer) error {
		result.ExportReport, err = archive.Export(ctx, s.store, w, options)
		return err
	}
	if e.file == stdio {
		err = buffered(a.out, write)
	} else {
		err = writeWhole(e.file, write)
	}
	m.done()
	if err != nil {
		return err
	}
	return a.exportDone(result)
}

// exportDone says what was exported; on stderr where stdout has the export.
func (a *app) exportDone(result exported) error {
	say := func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "exported %s, %s, %s to %s\n", many(result.Sessions, "session"), many(result.Commits, "commit"), sized(result.Bytes), result.File)
		return err
	}
	var err error
	if result.File == stdio {
		err = say(a.err)
	} else {
		err = a.show(result, say)
	}
	for _, problem := range result.Problems {
		_, _ = fmt.Fprintln(a.err, "reprise: left out: "+clean(problem))
	}
	if result.Damaged > 0 && err == nil {
		err = fmt.Errorf("%s left out, since the history can't be verified", many(result.Damaged, "session"))
	}
	return err
}

func buffered(w io.Writer, write func(io.Writer) error) error {
	out := bufio.NewWriter(w)
	if err := write(out); err != nil {
		return err
	}
	return out.Flush()
}

// writeWhole writes a file that has its name only once it is whole and on disk.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".writing-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // what matters is err
		}
	}()
	err = compressed(name, file, write)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

func compressed(name string, file io.Writer, write func(io.Writer) error) error {
	z, err := archive.Compress(name, file)
	if err != nil {
		return err
	}
	return errors.Join(write(z), z.Close())
}

// many writes a number of things.
func many(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// sized writes a number of bytes for people.
func sized(n uint64) string {
	const kilo = 1000
	value, unit := float64(n), 0
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	for value >= kilo && unit < len(units)-1 {
		value, unit = value/kilo, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
