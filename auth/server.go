package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// updateSubject takes accounts that have changed: see "full resolver" in the
	// server's documentation.
	updateSubject = "$SYS.REQ.CLAIMS.UPDATE"
	// updateTimeout bounds the wait for the answer of a server.
	updateTimeout = 5 * time.Second
)

// Server is what a server has to know of a realm.
type Server struct {
	// Operator is its JWT.
	Operator string
	// System is the public key of the system account.
	System string
	// Accounts are their JWTs, by public key.
	Accounts map[string]string
	// Dir is where an embedded server keeps the accounts it is told of.
	Dir string
}

// Server reads what a server has to know.
func (r *Realm) Server() (Server, error) {
	operator, err := os.ReadFile(r.path(operatorFile))
	if err != nil {
		return Server{}, fmt.Errorf("read the operator: %w", err)
	}
	s := Server{
		Operator: string(operator), System: r.state.Accounts[accountSystem], Dir: r.path(serverDir),
		Accounts: map[string]string{},
	}
	for name, key := range r.state.Accounts {
		if s.Accounts[key], err = r.accountText(name); err != nil {
			return Server{}, err
		}
	}
	return s, nil
}

// Tell gives a running server the accounts as they are now; connections of revoked
// credentials end then. dial opens a connection to it. It returns ErrKeys if the
// key of the system account is not there.
func (r *Realm) Tell(ctx context.Context, dial Dial) error {
	system, err := r.system()
	if err != nil {
		return err
	}
	nc, err := dial("reprise-auth", system, nats.CustomInboxPrefix(InboxPrefix("reprise-auth")))
	if err != nil {
		return err
	}
	defer nc.Close()
	for _, name := range accountNames() {
		if name == accountSystem {
			continue // it never changes, and other realms may share it
		}
		text, err := r.accountText(name)
		if err != nil {
			return err
		}
		if err := tell(ctx, nc, text); err != nil {
			return fmt.Errorf("tell the server of account %s: %w", name, err)
		}
	}
	return nil
}

// tell sends one account and reads the server's answer.
func tell(ctx context.Context, nc *nats.Conn, text string) error {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, updateSubject, []byte(text))
	if err != nil {
		return err
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("its answer can't be read: %w", err)
	}
	if answer.Error != nil {
		return fmt.Errorf("it refuses: %s", answer.Error.Description)
	}
	return nil
}

// ServerConfig returns the configuration that a nats-server elsewhere needs. It
// holds no secrets.
func (r *Realm) ServerConfig() (string, error) {
	s, err := r.Server()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# For nats-server: accounts of Reprise (prefix %s). No secrets are in here.
operator: %s
system_account: %s
resolver {
  type: full
  dir: "./jwt"
  allow_delete: false
  interval: "2m"
}
`, r.names.Prefix(), s.Operator, s.System)
	b.WriteString("resolver_preload {\n")
	for _, name := range accountNames() {
		key := r.state.Accounts[name]
		fmt.Fprintf(&b, "  # %s\n  %s: %s\n", name, key, s.Accounts[key])
	}
	b.WriteString("}\n# JetStream is used in account engine alone.\njetstream {\n  store_dir: \"./jetstream\"\n}\n")
	return b.String(), nil
}

// NSC returns the commands that put the accounts under an operator that is kept
// with nsc, which signs them again with its own key. They are run again after every
// revocation: that is how its server learns of it.
func (r *Realm) NSC() string {
	var b strings.Builder
	b.WriteString(`# For nsc, with the operator selected whose server is meant (nsc env -o NAME), its
# key at hand, and the server's URL known to it (nsc edit operator --account-jwt-server-url).
# Run them again after each auth revoke.
`)
	for _, name := range accountNames() {
		if name == accountSystem {
			continue // the operator has one
		}
		file := r.path(accountDir, r.state.Accounts[name]+".jwt")
		if whole, err := filepath.Abs(file); err == nil {
			file = whole
		}
		fmt.Fprintf(&b, "nsc import account --file %s --force --overwrite\n", shellWord(file))
	}
	b.WriteString("nsc push --all\n")
	return b.String()
}

// plainWord is what a shell takes as it stands.
var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellWord writes a word so that a shell takes it for one.
func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
