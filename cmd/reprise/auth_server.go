package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"reprise/auth"
	"reprise/internal/term"
	"reprise/natsnode"
)

// What auth commands tell a server, or ask of it.

func (a *app) authRevoke(f *authFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke user|worker|auditor|operator NAME",
		Short:   "End somebody's credentials at once",
		Long:    "Revoke ends credentials and tells the server, which closes the connections that use them.",
		Example: "  reprise auth revoke user ada\n  reprise auth revoke worker amber --nats nats://example.org:4222",
		Args:    exactly("ROLE", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.revokeAuth(cmd.Context(), f, auth.Role(args[0]), args[1])
		},
		ValidArgsFunction: completeRoles,
	}
	a.serverFlag(cmd)
	return cmd
}

// serverFlag names the server where it is not that of the data directory.
func (a *app) serverFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.flags.nats, "nats", "", "`URL` of the server (default: the one that serves the data directory)")
}

func (a *app) revokeAuth(ctx context.Context, f *authFlags, role auth.Role, name string) error {
	realm, err := f.open(a)
	if err != nil {
		return err
	}
	if _, err := realm.Revoke(role, name); err != nil {
		return err
	}
	dial, err := a.authServer()
	if err != nil {
		return fmt.Errorf("%s %s is revoked, but no server was told: %w", role, name, err)
	}
	said := "nobody serves " + a.dataDir() + " now; the next server there knows. Tell one elsewhere with --nats URL, or with what `reprise auth config --nsc` prints"
	if dial != nil {
		if err := realm.Tell(ctx, dial); err != nil {
			return fmt.Errorf("%s %s is revoked, but the server was not told (one under an operator of nsc is told with what `reprise auth config --nsc` prints): %w", role, name, err)
		}
		said = "the server knows, and has closed its connections"
	}
	_, err = fmt.Fprintf(a.out, "%s %s is revoked; %s\n", role, clean(name), said)
	return err
}

func (a *app) authPush(f *authFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Give a running server the accounts as they are",
		Long: `Push tells a running server of the accounts: those of another engine under the
same operator (auth init --join), or of a newer reprise. A server under an operator
of nsc is told with what auth config --nsc prints.`,
		Example: "  reprise auth push\n  reprise auth push --data /srv/two --nats nats://example.org:4222",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.pushAuth(cmd.Context(), f) },
	}
	a.serverFlag(cmd)
	return cmd
}

func (a *app) pushAuth(ctx context.Context, f *authFlags) error {
	realm, dial, err := a.servedRealm(f)
	if err != nil {
		return err
	}
	if err := realm.Refresh(); err != nil {
		return err
	}
	if err := realm.Tell(ctx, dial); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "the server has the accounts of %s\n", realm.Dir())
	return err
}

// servedRealm returns the credentials and how to connect to the server that has
// to be there.
func (a *app) servedRealm(f *authFlags) (*auth.Realm, auth.Dial, error) {
	realm, err := f.open(a)
	if err != nil {
		return nil, nil, err
	}
	dial, err := a.authServer()
	if err == nil && dial == nil {
		err = fmt.Errorf("%w: nobody serves %s; start `reprise serve`, or name a server with --nats", natsnode.ErrUnreachable, a.dataDir())
	}
	return realm, dial, err
}

// authServer returns how to connect to the server that is named, else to that of
// the data directory; nil if none runs there.
func (a *app) authServer() (auth.Dial, error) {
	url := a.flags.nats
	if url == "" {
		dir := a.dataDir()
		info, running, err := natsnode.ReadLock(dir)
		switch {
		case err != nil:
			return nil, err
		case !running:
			return nil, nil //nolint:nilnil // nobody has to be told
		case info.URL == "":
			return nil, fmt.Errorf("%w: process %d serves %s on no port; start it again", natsnode.ErrUnreachable, info.PID, dir)
		}
		url = info.URL
	}
	return func(name string, options ...nats.Option) (*nats.Conn, error) {
		return natsnode.Dial(natsnode.Remote{URL: url, Getenv: a.withoutContext}, name, options...)
	}, nil
}

func (a *app) authConfig(f *authFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print what a NATS server elsewhere has to be told",
		Long: `Config prints the configuration of a nats-server that is not embedded (write it
to a file, and start nats-server -c FILE). It holds no secrets. An engine works
there with ` + "`reprise serve --nats URL --auth DIR`" + `. With --nsc it prints the commands that put the accounts under an
operator that is kept with nsc.`,
		Example: "  reprise auth config\n  reprise auth config --nsc",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			realm, err := f.open(a)
			if err != nil {
				return err
			}
			return a.printAuth(realm, f.nsc)
		},
	}
	cmd.Flags().BoolVar(&f.nsc, "nsc", false, "print commands for nsc instead")
	return cmd
}

// printAuth writes the accounts as a server takes them, or nsc. They are brought up
// to date first, where the keys for that are at hand.
func (a *app) printAuth(realm *auth.Realm, nsc bool) error {
	if err := realm.Refresh(); err != nil {
		return err
	}
	text := realm.NSC()
	if !nsc {
		var err error
		if text, err = realm.ServerConfig(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(a.out, text)
	return err
}

func (a *app) authTest(f *authFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Prove that a running server keeps everybody to what they may do",
		Long: `Test tries, with credentials made for it, all that each role may do and all that
it may not, and compares what the server denies with what it should. Nothing is
changed by it.`,
		Example: "  reprise auth test\n  reprise auth test --nats tls://example.org:4222 --auth DIR --json",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.testAuth(cmd.Context(), f) },
	}
	a.serverFlag(cmd)
	return cmd
}

func (a *app) testAuth(ctx context.Context, f *authFlags) error {
	realm, dial, err := a.servedRealm(f)
	if err != nil {
		return err
	}
	proofs, err := realm.Prove(ctx, dial)
	if err != nil {
		return err
	}
	err = a.show(proofs, func(w io.Writer) error { return a.proofs(w, proofs) })
	if slices.ContainsFunc(proofs, func(p auth.Proof) bool { return len(p.Wrong) > 0 }) {
		return errors.Join(err, errors.New("the server does not keep everybody to what they may do"))
	}
	return err
}

// proofs writes what was tried, and what was wrong.
func (a *app) proofs(w io.Writer, list []auth.Proof) error {
	table := term.NewTable(a.palette, "ROLE", "ALLOWED", "DENIED", "WRONG")
	for _, p := range list {
		table.Row(string(p.Role), strconv.Itoa(p.Allowed), strconv.Itoa(p.Denied), strconv.Itoa(len(p.Wrong)))
	}
	if err := table.Write(w); err != nil {
		return err
	}
	for _, p := range list {
		for _, wrong := range p.Wrong {
			if _, err := fmt.Fprintf(w, "%s %s\n", p.Role, wrong); err != nil {
				return err
			}
		}
	}
	return nil
}
