package security

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
	"reprise/natsnode"
)

// TestServerElsewhere: a server that was started from what `reprise auth config`
// prints keeps the table, serves an engine, and obeys a revocation at once.
func TestServerElsewhere(t *testing.T) {
	dir := t.TempDir()
	realm, err := auth.Init(filepath.Join(dir, "auth"), auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := realm.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, " SEED") || seed.MatchString(text) {
		t.Error("the configuration holds a secret")
	}
	text = strings.ReplaceAll(text, `"./`, `"`+dir+"/")
	ns := serverElsewhere(t, dir, "listen: 127.0.0.1:-1\n"+text)
	w := elsewhere(t, realm, ns)
	must(t, w.as(auth.RoleUser, "ada"), w.names.Command("ada", "s", domain.VerbCreate), onePlan)
	proofs, err := realm.Prove(t.Context(), dialTo(ns))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range proofs {
		if len(p.Wrong) > 0 {
			t.Errorf("%s: %v", p.Role, p.Wrong)
		}
	}
	w.revoked(t, dialTo(ns))
}

// TestRevocation: what is revoked ends at once, stays ended, and can be replaced.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	w.revoked(t, func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(w.node.URL(), append(options, nats.Timeout(patience))...)
	})
}

// revoked revokes a user and a worker who are connected.
func (w *world) revoked(t *testing.T, dial auth.Dial) {
	t.Helper()
	bystander := w.as(auth.RoleUser, "bystander")
	for role, actions := range map[auth.Role][]string{auth.RoleUser: nil, auth.RoleWorker: {"build"}, auth.RoleOperator: nil} {
		creds := w.creds(role, "leaver", actions...)
		options, err := auth.With(creds)
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		nc, err := dial("leaver", append(options, nats.MaxReconnects(0), nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.realm.Revoke(role, "leaver"); err != nil {
			t.Fatal(err)
		}
		if err := w.realm.Tell(t.Context(), dial); err != nil {
			t.Fatal(err)
		}
		select {
		case <-closed:
		case <-time.After(patience):
			t.Errorf("the connection of a revoked %s lives on", role)
			nc.Close()
		}
		if nc, err := dial("leaver", options...); err == nil {
			nc.Close()
			t.Errorf("a revoked %s is let in", role)
		}
		delete(w.handed, string(role)+" leaver")
		w.as(role, "leaver", actions...)
	}
	if !bystander.IsConnected() || bystander.Reconnects > 0 {
		t.Error("somebody else was thrown out")
	}
}

// TestTenants: engines with another prefix, or with accounts of their own, share a
// server and nothing else.
func TestTenants(t *testing.T) {
	dir := t.TempDir()
	var realms []*auth.Realm
	for _, tenant := range []struct{ name, prefix string }{{"first", ""}, {"prefix", "two"}, {"account", ""}} {
		cfg := auth.Config{Prefix: tenant.prefix}
		if len(realms) > 0 {
			cfg.Join = realms[0].Dir()
		}
		realm, err := auth.Init(filepath.Join(dir, tenant.name), cfg)
		if err != nil {
			t.Fatal(err)
		}
		realms = append(realms, realm)
	}
	var guard natsnode.Auth
	for i, realm := range realms {
		s, err := realm.Server()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			guard = natsnode.Auth(s)
		}
		if s.Operator == "" || s.System != guard.System {
			t.Errorf("the operator of %s is another", realm.Dir())
		}
		maps.Copy(guard.Accounts, s.Accounts)
	}
	node, err := natsnode.StartEmbedded(natsnode.Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0", MinFree: -1, Auth: &guard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, node) })
	worlds := make([]*world, len(realms))
	for i, realm := range realms {
		worlds[i] = &world{t: t, realm: realm, node: node, names: realm.Names(), log: &lockedText{}, handed: map[string][]byte{}}
		worlds[i].startEngine(realm, node.Dial)
	}
	for i, w := range worlds {
		ada := w.as(auth.RoleUser, "ada")
		id := []string{"one", "two", "three"}[i]
		must(t, ada, w.names.Command("ada", id, domain.VerbCreate), onePlan)
		for j, other := range worlds {
			if other.names != w.names {
				refusedBy(t, ada, "", other.names.Query("ada", contract.QueryGet), `{"session":"one"}`)
				refusedBy(t, w.as(auth.RoleOperator, "root"), "", other.names.Query("ada", contract.QueryGet), `{"session":"one"}`)
			} else if j != i {
				refusedBy(t, ada, domain.CodeNotFound, w.names.Query("ada", contract.QueryGet), `{"session":"`+[]string{"one", "two", "three"}[j]+`"}`)
			}
		}
	}
}
