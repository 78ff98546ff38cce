package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/contract"
	"reprise/engine"
	"reprise/natsnode"
)

const (
	// authFolder is where in a data directory the credentials are.
	authFolder = "auth"
	// ownValid is how long the credentials last that a command makes for itself.
	ownValid = 24 * time.Hour
)

// guard is what a server and an engine need for authentication. A nil guard lets
// everybody in.
type guard struct{ realm *auth.Realm }

// guardIn opens the credentials in a directory; nil if there are none. They have
// to be for the prefix.
func guardIn(dir, prefix string) (*guard, error) {
	if !auth.Initialised(dir) {
		return nil, nil //nolint:nilnil // nil is a guard that lets everybody in
	}
	realm, err := auth.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := contract.NewNames(prefix)
	if err != nil {
		return nil, &usageError{"--prefix: " + err.Error()}
	}
	if own := realm.Names().Prefix(); names.Prefix() != own {
		return nil, &usageError{fmt.Sprintf("the credentials in %s are for prefix %s, and not for %s; say --prefix %s", dir, own, names.Prefix(), own)}
	}
	return &guard{realm}, nil
}

// protect makes an embedded server ask for credentials.
func (g *guard) protect(opts natsnode.Options) (natsnode.Options, error) {
	if g == nil {
		return opts, nil
	}
	if err := g.realm.Refresh(); err != nil {
		return opts, err
	}
	server, err := g.realm.Server()
	if err != nil {
		return opts, err
	}
	protected := natsnode.Auth(server)
	opts.Auth = &protected
	return opts, nil
}

// admit gives an engine its connections, and the accounts it believes.
func (g *guard) admit(node *natsnode.Node, cfg engine.Config) (engine.Config, error) {
	if g == nil {
		return cfg, nil
	}
	var err error
	cfg.Dial, err = g.realm.Engine(node.Dial)
	cfg.Accounts = &engine.Accounts{
		Users: g.realm.Account(auth.RoleUser), Workers: g.realm.Account(auth.RoleWorker), Auditors: g.realm.Account(auth.RoleAuditor),
	}
	return cfg, err
}

// look returns the options of a connection that looks at a server elsewhere.
func (g *guard) look() ([]nats.Option, error) {
	if g == nil {
		return nil, nil
	}
	return g.realm.EngineOptions()
}

// person returns the options of a connection for somebody who may read the keys.
func (g *guard) person(role auth.Role, name string, actions ...string) ([]nats.Option, error) {
	if g == nil {
		return nil, nil
	}
	creds, err := g.realm.Temporary(role, name, ownValid, actions...)
	if err != nil {
		return nil, err
	}
	return auth.With(creds)
}

// localGuard opens the credentials of a data directory.
func (a *app) localGuard(dir string) (*guard, error) {
	return guardIn(filepath.Join(dir, authFolder), a.flags.prefix)
}

// me are the options of a connection of a command to the server of a data
// directory: with the credentials that are named, else with some made for it.
func (a *app) me(dir string) ([]nats.Option, error) {
	if a.getenv("NATS_CREDS") != "" {
		return nil, nil
	}
	g, err := a.localGuard(dir)
	if err != nil {
		return nil, err
	}
	if a.operator != "" {
		return g.person(auth.RoleOperator, a.operator)
	}
	return g.person(auth.RoleUser, a.owner())
}

// meAsWorker is me for a worker. A worker's id is the name of its credentials.
func (a *app) meAsWorker(f *workerFlags, served map[string]string) ([]nats.Option, error) {
	if name := a.credsName(); name != "" {
		if f.id == "" {
			f.id = name
		}
		return nil, nil
	}
	if f.id == "" {
		f.id = "w-" + uuid.NewString()
	}
	if a.remote() {
		return nil, nil
	}
	g, err := a.localGuard(a.dataDir())
	if err != nil {
		return nil, err
	}
	actions := make([]string, 0, len(served))
	for name := range served {
		actions = append(actions, name)
	}
	return g.person(auth.RoleWorker, f.id, actions...)
}

// credsName is the name in the credentials that the environment or a context
// names, if `reprise auth` made them.
func (a *app) credsName() string {
	return natsnode.CredsName(natsnode.Remote{URL: a.flags.nats, Context: a.flags.context, Getenv: a.getenv})
}

// credsUser is the user in those credentials; "" if there are none.
func (a *app) credsUser() string {
	user, err := contract.ParseUserToken(a.credsName())
	if err != nil {
		return ""
	}
	return user
}

// withoutContext is the environment for a server that was found, not named: the
// credentials of a context are another server's.
func (a *app) withoutContext(name string) string {
	if name == "NATS_CONTEXT" {
		return ""
	}
	return a.getenv(name)
}

// guarding are the flags of serve about who may connect.
type guarding struct {
	dir, cert, key, ca string
	insecure           bool
}

// open opens what --auth names, else what is in the data directory of an embedded
// server.
func (f *guarding) open(a *app, s *serveFlags) (*guard, error) {
	switch {
	case f.dir != "":
		g, err := guardIn(f.dir, a.flags.prefix)
		if g == nil && err == nil {
			err = &usageError{fmt.Sprintf("--auth %s: %s there; `reprise auth init` does that", f.dir, auth.ErrNotInitialised)}
		}
		return g, err
	case !s.embed || s.memory:
		return nil, nil //nolint:nilnil // as in guardIn
	}
	return a.localGuard(a.dataDir())
}

// refuse says why a server may not listen where it was told to: beyond this
// machine with nobody asked who they are.
func (f *guarding) refuse(listen string, g *guard) error {
	if g != nil || f.insecure || listen == natsnode.ListenNone {
		return nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil || host == "localhost" {
		return nil //nolint:nilerr // the node says what is wrong with it
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return &usageError{fmt.Sprintf("--listen %s lets everybody who reaches this machine do everything: give out credentials with `reprise auth init`, listen on 127.0.0.1, or say --insecure if that is meant", listen)}
}

// tls reads the certificates; nil if there are none.
func (f *guarding) tls() (*tls.Config, error) {
	if f.cert == "" && f.key == "" {
		if f.ca != "" {
			return nil, &usageError{"--tls-ca asks clients for certificates, and needs --tls-cert and --tls-key too"}
		}
		return nil, nil //nolint:nilnil // no TLS
	}
	if f.cert == "" || f.key == "" {
		return nil, &usageError{"--tls-cert and --tls-key belong together"}
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("--tls-cert %s, --tls-key %s: %s", f.cert, f.key, err)}
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if f.ca == "" {
		return cfg, nil
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.ClientCAs, err = certificates(f.ca)
	return cfg, err
}

func certificates(file string) (*x509.CertPool, error) {
	body, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(body) {
		err = errors.New("no certificate is in it")
	}
	if err != nil {
		return nil, &usageError{fmt.Sprintf("--tls-ca %s: %s", file, err)}
	}
	return pool, nil
}
