package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"reprise/archive"
	"reprise/internal/term"
)

// importFlags are the flags of `reprise session import`.
type importFlags struct {
	newID        string
	user         string
	skip, dryRun bool
}

func (a *app) importCommand() *cobra.Command {
	var i importFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Restore sessions from an export",
		Long: `Restore the sessions of an export with their ids, times and histories. The whole
file is verified first (form, hashes, hash chains, states, trailer), and compared
with what is there; if anything is wrong nothing is written. The same file again
changes nothing, and an import that was killed goes on where it stopped.

A session that is there with another history, or is gone here, is refused.

With --new-id or --user the sessions get another name: they begin with the state
that they had, and their history stays in the file.

While it writes, the service is read-only: commands are answered with 503.`,
		Example: `  reprise session import backup.jsonl.zst
  reprise session import backup.jsonl.zst --dry-run
  reprise session import release.jsonl --new-id release-copy
  ssh old reprise session export --all -f - | reprise session import -`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("user") {
				i.user = a.flags.user
			}
			return a.importFile(cmd.Context(), &i, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&i.newID, "new-id", "", "give the one session of the file this `ID`")
	f.BoolVar(&i.skip, "skip-clashes", false, "leave out sessions that are there with another history, and restore the others")
	f.BoolVar(&i.dryRun, "dry-run", false, "verify and compare, and write nothing")
	return cmd
}

func (a *app) importFile(ctx context.Context, i *importFlags, name string) error {
	open, clean, err := a.importSource(name)
	if err != nil {
		return err
	}
	defer clean()
	s, err := a.openOperatorStore(ctx, opening{where: a.here(), make: true, replicas: 1})
	if err != nil {
		return err
	}
	m := a.newMeter()
	report, err := archive.Import(ctx, s.store, open, archive.ImportOptions{
		SkipClashes: i.skip, User: i.user, NewID: i.newID, Actor: a.owner(), CheckOnly: i.dryRun, Now: a.now, Progress: m.show,
		BeforeWriting: func(ctx context.Context) (func() error, error) {
			return s.hold(ctx, a.whoHolds(importMark(name), "sessions are being imported", holdTTL))
		},
	})
	m.done()
	err = errors.Join(err, s.close()) //nolint:contextcheck // closing has a bound of its own
	if err != nil {
		if errors.Is(err, archive.ErrDamaged) {
			err = fmt.Errorf("%s: %w; nothing was imported", name, err)
		}
		return err
	}
	return a.importDone(report, i.dryRun)
}

// importMark names the import of a file, so that its second try may go on.
func importMark(name string) string {
	if path, err := filepath.Abs(name); err == nil && name != stdio {
		return "import " + path
	}
	return "import " + uuid.NewString()
}

// importSource opens a file as often as is needed. What comes on stdin is kept in
// a temporary file.
func (a *app) importSource(name string) (open archive.Opener, clean func(), err error) {
	if name != stdio {
		if _, err := os.Stat(name); err != nil {
			return nil, nil, &usageError{fmt.Sprintf("the file can't be read: %s", err.Error())}
		}
		return func() (io.ReadCloser, error) { return os.Open(name) }, func() {}, nil
	}
	file, err := os.CreateTemp("", "reprise-import-*")
	if err != nil {
		return nil, nil, err
	}
	clean = func() { _ = os.Remove(file.Name()) } // a temporary file at worst
	if _, err := io.Copy(file, a.in); err != nil {
		_ = file.Close()
		clean()
		return nil, nil, fmt.Errorf("stdin can't be read: %w", err)
	}
	return func() (io.ReadCloser, error) { return os.Open(file.Name()) }, clean, file.Close()
}

func (a *app) importDone(report archive.ImportReport, dryRun bool) error {
	for _, clash := range report.Clashes {
		_, _ = fmt.Fprintln(a.err, "reprise: left out: "+term.Safe(clash.Reason))
	}
	return a.show(report, func(w io.Writer) error {
		verb := "imported"
		if dryRun {
			verb = "dry run: nothing was written. There would be"
		}
		_, err := fmt.Fprintf(w, "%s %s, %d continued, %d unchanged, %d left out; %s written\n",
			verb, many(report.New, "new session"), report.Continued, report.Unchanged, report.Skipped, many(report.Written, "commit"))
		return err
	})
}
