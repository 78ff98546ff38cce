package security

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"reprise/auth"
	"reprise/domain"
	"reprise/natsnode"
)

// updateClaims takes an account at a server with a full resolver.
const updateClaims = "$SYS.REQ.CLAIMS.UPDATE"

// organisation is an operator that is somebody else's, with a system account: what
// people keep with nsc.
type organisation struct {
	operator, system nkeys.KeyPair
	systemKey        string
}

func newOrganisation(t *testing.T) *organisation {
	t.Helper()
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	system, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	key, err := system.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return &organisation{operator, system, key}
}

// config is the configuration of its server.
func (o *organisation) config(t *testing.T, dir string) string {
	t.Helper()
	public, err := o.operator.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewOperatorClaims(public)
	claims.Name, claims.SystemAccount = "organisation", o.systemKey
	operator, err := claims.Encode(o.operator)
	if err != nil {
		t.Fatal(err)
	}
	account := jwt.NewAccountClaims(o.systemKey)
	account.Name = "SYS"
	system, err := account.Encode(o.operator)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("listen: 127.0.0.1:-1\noperator: %s\nsystem_account: %s\nresolver { type: full, dir: %q }\nresolver_preload { %s: %s }\njetstream { store_dir: %q }\n",
		operator, o.systemKey, filepath.Join(dir, "jwt"), o.systemKey, system, filepath.Join(dir, "js"))
}

// imported does what nsc does for `nsc import account --file F --force --overwrite`:
// no issue may be found in the account, and it is signed anew as it stands.
func (o *organisation) imported(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.DecodeAccountClaims(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var issues jwt.ValidationResults
	claims.Validate(&issues)
	if !issues.IsEmpty() {
		t.Errorf("account %s has issues: %v", claims.Name, issues.Errors())
	}
	signed, err := claims.Encode(o.operator)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// apply does what the commands say that `reprise auth config --nsc` prints.
func (o *organisation) apply(t *testing.T, commands, url string) {
	t.Helper()
	var accounts []string
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.Join(words, " ") == "nsc push --all":
			o.push(t, url, accounts)
		case len(words) == 7 && strings.Join(words[:4], " ") == "nsc import account --file" && words[5]+words[6] == "--force--overwrite":
			accounts = append(accounts, o.imported(t, words[4]))
		default:
			t.Errorf("no command of nsc: %s", line)
		}
	}
	if len(accounts) != 4 {
		t.Fatalf("%d accounts were imported by\n%s", len(accounts), commands)
	}
}

// push tells the server of accounts.
func (o *organisation) push(t *testing.T, url string, accounts []string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	me, err := jwt.NewUserClaims(public).Encode(o.system)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, nats.Timeout(patience), nats.UserJWT(func() (string, error) { return me, nil }, pair.Sign))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, account := range accounts {
		m, err := nc.Request(updateClaims, []byte(account), patience)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil || answer.Error != nil {
			t.Fatalf("the server says %s, %v", m.Data, err)
		}
	}
}

// TestAnotherOperator: under an operator of somebody else's, who signs the accounts
// again, the server keeps the table, serves an engine, and obeys a revocation once
// the commands were run again. Its own system account stays its own.
func TestAnotherOperator(t *testing.T) {
	dir, org := t.TempDir(), newOrganisation(t)
	realm, err := auth.Init(filepath.Join(dir, "auth"), auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ns := serverElsewhere(t, dir, org.config(t, dir))
	org.apply(t, realm.NSC(), ns.ClientURL())
	w := elsewhere(t, realm, ns)
	must(t, w.as(auth.RoleUser, "ada"), w.names.Command("ada", "s", domain.VerbCreate), onePlan)
	proofs, err := realm.Prove(t.Context(), dialTo(ns))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range proofs {
		if len(p.Wrong) > 0 || p.Allowed == 0 {
			t.Errorf("%s, %d allowed: %v", p.Role, p.Allowed, p.Wrong)
		}
	}
	if err := realm.Tell(t.Context(), dialTo(ns)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("telling another's server gives %v", err)
	}
	org.revoke(t, w, ns)
}

// revoke revokes a user who is connected.
func (o *organisation) revoke(t *testing.T, w *world, ns *server.Server) {
	t.Helper()
	options, err := auth.With(w.creds(auth.RoleUser, "leaver"))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	_, err = nats.Connect(ns.ClientURL(), append(options, nats.Timeout(patience), nats.MaxReconnects(0), nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.realm.Revoke(auth.RoleUser, "leaver"); err != nil {
		t.Fatal(err)
	}
	o.apply(t, w.realm.NSC(), ns.ClientURL())
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("the connection of a revoked user lives on")
	}
}

// TestCommandsAreShellWords: a directory with spaces and quotes in its name comes
// through a shell as it is.
func TestCommandsAreShellWords(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell here to read the commands")
	}
	realm, err := auth.Init(filepath.Join(t.TempDir(), "it's a $HOME"), auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	script := "nsc() { if [ $1 = import ]; then test -f \"$4\" && echo found; fi; }\n" + realm.NSC()
	out, err := exec.CommandContext(t.Context(), shell, "-c", script).CombinedOutput()
	if got := strings.Count(string(out), "found"); got != 4 {
		t.Errorf("%d files were found: %v %s", got, err, out)
	}
}

// dialTo dials a server.
func dialTo(ns *server.Server) auth.Dial {
	return func(_ string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(ns.ClientURL(), append(options, nats.Timeout(patience))...)
	}
}

// serverElsewhere starts a server of a configuration.
func serverElsewhere(t *testing.T, dir, config string) *server.Server {
	t.Helper()
	file := filepath.Join(dir, "server.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("the server does not accept connections")
	}
	return ns
}

// elsewhere is a world whose server is elsewhere, with an engine on it.
func elsewhere(t *testing.T, realm *auth.Realm, ns *server.Server) *world {
	t.Helper()
	look, err := realm.EngineOptions()
	if err != nil {
		t.Fatal(err)
	}
	node, err := natsnode.Connect(t.Context(), natsnode.Remote{URL: ns.ClientURL(), Options: look, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, realm: realm, node: node, names: realm.Names(), log: &lockedText{}, handed: map[string][]byte{}}
	w.startEngine(realm, node.Dial)
	return w
}
