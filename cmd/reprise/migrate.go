package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"reprise/archive"
	"reprise/engine"
	"reprise/internal/term"
)

// migrateMark begins the IDs of the marks that migrations set.
const migrateMark = "migrate "

// migrateFlags are the flags of `reprise migrate`.
type migrateFlags struct {
	from, to      string
	replicas      int
	release, keep bool
}

func (a *app) migrateCommand() *cobra.Command {
	var m migrateFlags
	cmd := &cobra.Command{
		Use:   "migrate --from STORE --to STORE",
		Short: "Bring all sessions to another server or data directory",
		Long: `Copy every session and every tombstone to another store, byte for byte, and then
compare all of them. A store is the URL of a server, the name of a context of the
nats CLI, or a data directory, in use or not.

The source is read-only from the beginning to the end: commands are answered with
503 and a sentence that says why. After a success it is released, unless it is to
be kept so. When a migration fails or is killed it stays read-only: the same
command goes on where it stopped, and --release gives up.

Queued commands that wait, tasks and leases stay behind: let the queue run empty
first. Tasks are offered anew by the engine on the target.`,
		Example: `  reprise migrate --from ~/.local/state/reprise --to nats://one:4222 --replicas 3
  reprise migrate --from nats://127.0.0.1:4222 --to ./copy --keep-read-only
  reprise migrate --from production --release`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := m.check(cmd); err != nil {
				return err
			}
			if m.release {
				return a.release(cmd.Context(), &m)
			}
			return a.migrate(cmd.Context(), &m)
		},
	}
	f, g := cmd.Flags(), &a.flags
	f.StringVar(&m.from, "from", "", "`STORE` to bring the sessions from")
	f.StringVar(&m.to, "to", "", "`STORE` to bring them to")
	f.IntVar(&m.replicas, "replicas", 1, "`N` replicas of the streams, if the target has none yet")
	f.BoolVar(&m.release, "release", false, "only let the source be changed again")
	f.BoolVar(&m.keep, "keep-read-only", false, "leave the source read-only after a success")
	f.StringVar(&g.prefix, "prefix", "", "first `TOKEN` of the engine's subjects, on both sides (default: reprise)")
	f.StringVarP(&g.user, "user", "u", "", "`USER` who does this, as the source tells (default: $REPRISE_USER, else the name of this account)")
	a.outputFlags(cmd)
	return noFiles(cmd)
}

func (m *migrateFlags) check(cmd *cobra.Command) error {
	switch {
	case m.from == "":
		return usage(cmd, "--from is needed")
	case m.release && m.to != "":
		return usage(cmd, "--release is about the source alone; leave --to out")
	case !m.release && m.to == "":
		return usage(cmd, "--to is needed")
	}
	return nil
}

// migrated is the result of a migration.
type migrated struct {
	From string `json:"from"`
	To   string `json:"to"`
	archive.CopyReport

	// ReadOnly says that the source still is.
	ReadOnly bool `json:"readOnly"`
}

func (a *app) migrate(ctx context.Context, m *migrateFlags) (err error) {
	from, err := a.openOperatorStore(ctx, opening{where: placeNamed(m.from)})
	if err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	defer func() { err = errors.Join(err, from.close()) }() //nolint:contextcheck // closing has a bound of its own
	to, err := a.openOperatorStore(ctx, opening{where: placeNamed(m.to), make: true, replicas: m.replicas})
	if err != nil {
		return fmt.Errorf("the target: %w", err)
	}
	defer func() { err = errors.Join(err, to.close()) }() //nolint:contextcheck // as above
	if from.store.Position(0) == to.store.Position(0) {
		return &usageError{"the source and the target are the same store"}
	}
	a.warnQueued(ctx, from)
	return a.migrateHeld(ctx, m, from, to)
}

// warnQueued says that queued commands would stay behind.
func (a *app) warnQueued(ctx context.Context, from *operatorStore) {
	stream, err := from.js.Stream(ctx, from.names.QueueStream())
	if err != nil {
		return // there is no queue
	}
	if n := stream.CachedInfo().State.Msgs; n > 0 {
		_, _ = fmt.Fprintf(a.err, "reprise: %d queued commands wait in the source and stay there\n", n)
	}
}

// migrateHeld copies while both sides can't be changed by others.
func (a *app) migrateHeld(ctx context.Context, m *migrateFlags, from, to *operatorStore) error {
	run, err := migration(ctx, from, to)
	if err != nil {
		return err
	}
	releaseFrom, err := from.hold(ctx, a.whoHolds(run, "it is being migrated to "+to.shown, 0))
	if err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	releaseTo, err := to.hold(ctx, a.whoHolds(run, "sessions are being migrated from "+from.shown, holdTTL))
	if err != nil {
		return staysReadOnly(m, fmt.Errorf("the target: %w", err))
	}
	result := migrated{From: from.shown, To: to.shown, ReadOnly: true}
	result.CopyReport, err = a.copyStore(ctx, run, from, to)
	err = errors.Join(err, releaseTo())
	if err != nil {
		return staysReadOnly(m, err)
	}
	if !m.keep {
		if err := releaseFrom(); err != nil {
			return staysReadOnly(m, err)
		}
		result.ReadOnly = false
	}
	return a.migrateDone(result)
}

// migration names this migration: as the one before that was not finished, if
// there is one between the same stores.
func migration(ctx context.Context, from, to *operatorStore) (string, error) {
	mark, err := engine.OpenReadOnlyMark(ctx, from.js, from.names)
	if err != nil {
		return "", err
	}
	now, err := mark.Get(ctx)
	if err != nil {
		return "", err
	}
	prefix := migrateMark + to.store.Position(0).Incarnation + " "
	if strings.HasPrefix(now.ID, prefix) {
		return now.ID, nil
	}
	return prefix + uuid.NewString(), nil
}

func (a *app) copyStore(ctx context.Context, run string, from, to *operatorStore) (archive.CopyReport, error) {
	book, err := archive.OpenCheckpoints(ctx, to.js, to.names)
	if err != nil {
		return archive.CopyReport{}, err
	}
	shown := a.newMeter()
	defer shown.done()
	return archive.Copy(ctx, from.store, to.store, archive.CopyOptions{Checkpoints: book, Run: run, Progress: shown.show})
}

// staysReadOnly says what can be done after a failure.
func staysReadOnly(m *migrateFlags, err error) error {
	return fmt.Errorf("%w; the source stays read-only: the same command goes on, `reprise migrate --from %s --release` gives up", err, m.from)
}

func (a *app) migrateDone(result migrated) error {
	return a.show(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "migrated %s and %s, %s, %s from %s to %s; %s written now, and every session was compared\n",
			many(result.Sessions, "session"), many(result.Tombstones, "tombstone"), many(result.Commits, "commit"), sized(result.Bytes),
			term.Safe(result.From), term.Safe(result.To), many(result.Written, "commit"))
		if err == nil && result.ReadOnly {
			_, err = fmt.Fprintf(w, "%s stays read-only\n", term.Safe(result.From))
		}
		return err
	})
}

// released is the result of --release.
type released struct {
	Store string `json:"store"`
	// Was is what was in force; empty if the store was not read-only.
	Was engine.ReadOnly `json:"was"`
}

// release lets a store be changed again.
func (a *app) release(ctx context.Context, m *migrateFlags) (err error) {
	s, err := a.openOperatorStore(ctx, opening{where: placeNamed(m.from)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }() //nolint:contextcheck // closing has a bound of its own
	mark, err := engine.OpenReadOnlyMark(ctx, s.js, s.names)
	if err != nil {
		return err
	}
	was, err := mark.Release(ctx)
	if err != nil {
		return err
	}
	return a.show(released{Store: s.shown, Was: was}, func(w io.Writer) error {
		text := "it was not read-only"
		if was.ID != "" {
			text = "it was read-only by " + was.By + ": " + was.Reason
		}
		_, err := fmt.Fprintf(w, "%s can be changed again; %s\n", term.Safe(s.shown), term.Safe(text))
		return err
	})
}
