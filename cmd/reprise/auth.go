package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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
	cmd.AddCommand(a.authInit(f), a.authAdd(f), a.authList(f), a.authRevoke(f), a.authPush(f), a.authConfig(f), a.authTest(f))
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
