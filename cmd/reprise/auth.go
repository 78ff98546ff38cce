package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"reprise/auth"
	"reprise/internal/term"
	"reprise/natsnode"
)

// authFlags are the flags of the commands about credentials.
type authFlags struct {
	dir, join, out string
	actions        []string
	nsc            bool
}

// authCommand is `reprise auth` and what is below it.
func (a *app) authCommand() *cobra.Command {
	f := &authFlags{}
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Give out credentials, so that the server knows who may do what",
		Long: `Auth makes keys and credentials for everybody who connects: users, workers,
auditors and operators. The server enforces what each of them may do; see
docs/security.md. ` + "`reprise serve`" + ` uses them once they are there.`,
		Example: `  reprise auth init
  reprise auth add user ada
  reprise auth add worker amber --actions build,test
  reprise auth revoke user ada
  reprise auth test`,
	}
	cmd.AddCommand(a.authInit(f), a.authAdd(f), a.authList(f), a.authRevoke(f), a.authConfig(f), a.authTest(f))
	flags := cmd.PersistentFlags()
	flags.StringVar(&a.flags.data, "data", "", "data `DIR`ectory that the server serves (default: "+a.shownDataDir()+")")
	flags.StringVar(&f.dir, "auth", "", "`DIR`ectory of the credentials (default: auth in the data directory)")
	a.outputFlags(cmd)
	return cmd
}

// realmDir is where the credentials are.
func (f *authFlags) realmDir(a *app) string {
	if f.dir != "" {
		return f.dir
	}
	return filepath.Join(a.dataDir(), authFolder)
}

func (f *authFlags) open(a *app) (*auth.Realm, error) { return auth.Open(f.realmDir(a)) }

func (a *app) authInit(f *authFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the keys and accounts",
		Long: `Init makes an operator, its accounts and all keys. What is in the data directory
belongs to the account of the engine from then on. Stop the server before, and
start it again after.`,
		Example: `  reprise auth init
  reprise auth init --data /srv/two --prefix two --join /srv/one/auth`,
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error { return a.initAuth(f) },
	}
	cmd.Flags().StringVar(&a.flags.prefix, "prefix", "", "first `TOKEN` of the engine's subjects (default: reprise)")
	cmd.Flags().StringVar(&f.join, "join", "", "share the operator of the credentials in `DIR`, for several engines on one server")
	return cmd
}

func (a *app) initAuth(f *authFlags) error {
	data := a.dataDir()
	if info, running, err := natsnode.ReadLock(data); err != nil || running {
		return errors.Join(err, inUse(running, data, info))
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	realm, err := auth.Init(f.realmDir(a), auth.Config{Prefix: a.flags.prefix, Join: f.join})
	if err != nil {
		return err
	}
	if err := natsnode.AdoptStreams(data, realm.Account(auth.RoleEngine)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "credentials are in %s; keep the keys there to yourself\nnext: reprise auth add user NAME, then start the server again\n", realm.Dir())
	return err
}

func inUse(running bool, dir string, info natsnode.Info) error {
	if !running {
		return nil
	}
	return &natsnode.InUseError{Dir: dir, Holder: info}
}

func (a *app) authAdd(f *authFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "add user|worker|auditor|operator NAME",
		Short:   "Make credentials for somebody",
		Long:    "Add makes credentials and writes them as a .creds file, which every NATS client takes. A worker needs the actions it may serve.",
		Example: "  reprise auth add user ada\n  reprise auth add worker amber --actions build,test --out amber.creds",
		Args:    exactly("ROLE", "NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.addAuth(f, auth.Role(args[0]), args[1])
		},
		ValidArgsFunction: completeRoles,
	}
	cmd.Flags().StringSliceVar(&f.actions, "actions", nil, "`NAMES` of the actions that a worker may serve")
	cmd.Flags().StringVar(&f.out, "out", "", "`FILE` to write (default: in the directory of the credentials)")
	return cmd
}

// completeRoles completes the first argument.
func completeRoles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var roles []string
	if len(args) == 0 {
		for _, role := range auth.Issued() {
			roles = append(roles, string(role))
		}
	}
	return roles, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) addAuth(f *authFlags, role auth.Role, name string) error {
	realm, err := f.open(a)
	if err != nil {
		return err
	}
	issue, creds, err := realm.Add(role, name, f.actions...)
	if err != nil {
		return err
	}
	path := f.out
	if path == "" {
		path, err = realm.WriteCreds(issue, creds)
	} else {
		err = writeSecret(path, creds)
	}
	if err != nil {
		_, undone := realm.Revoke(role, name)
		return errors.Join(err, undone)
	}
	_, err = fmt.Fprintf(a.out, "%s\nreprise: NATS_CREDS=%s    nats: --creds %s --inbox-prefix %s\n", path, path, path, auth.InboxPrefix(issue.Name))
	return err
}

// writeSecret writes a file that only its owner can read, and that was not there.
func writeSecret(path string, body []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	return errors.Join(err, file.Close())
}

func (a *app) authList(f *authFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the credentials that were given out",
		Long:    "List shows every credential that was ever given out, and which were revoked.",
		Example: "  reprise auth list\n  reprise auth list --json",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			realm, err := f.open(a)
			if err != nil {
				return err
			}
			return a.show(realm.List(), func(w io.Writer) error { return a.issues(w, realm.List()) })
		},
	}
}

// issues writes credentials as a table.
func (a *app) issues(w io.Writer, list []auth.Issue) error {
	table := term.NewTable(a.palette, "ROLE", "NAME", "ACTIONS", "ADDED", "REVOKED")
	for _, i := range list {
		revoked := ""
		if !i.Valid() {
			revoked = i.Revoked.Format(time.DateTime)
		}
		table.Row(string(i.Role), clean(i.Name), strings.Join(i.Actions, ","), i.Created.Format(time.DateTime), revoked)
	}
	return table.Write(w)
}

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
	realm, err := f.open(a)
	if err != nil {
		return err
	}
	dial, err := a.authServer()
	if err == nil && dial == nil {
		err = fmt.Errorf("%w: nobody serves %s; start `reprise serve`, or name a server with --nats", natsnode.ErrUnreachable, a.dataDir())
	}
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
