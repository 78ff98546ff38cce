// Package security plays users, workers and strangers who want more than they may,
// against a server with real credentials. All of it stays on the loopback interface.
package security

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/client"
	"reprise/contract"
	"reprise/engine"
	"reprise/natsnode"
)

// patience bounds everything that a test waits for.
const patience = time.Minute

// world is a server with authentication, and an engine on it.
type world struct {
	t     testing.TB
	realm *auth.Realm
	node  *natsnode.Node
	names contract.Names
	log   *lockedText
	// handed are the credentials that were given out, by role and name.
	handed map[string][]byte
}

// lockedText is a writer that may be read while others write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends.
func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what was written.
func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newWorld starts all of it; change may alter the engine's configuration.
func newWorld(t testing.TB, change ...func(*engine.Config)) *world {
	t.Helper()
	realm, err := auth.Init(filepath.Join(t.TempDir(), "auth"), auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, realm: realm, names: realm.Names(), log: &lockedText{}, handed: map[string][]byte{}}
	server, err := realm.Server()
	if err != nil {
		t.Fatal(err)
	}
	guard := natsnode.Auth(server)
	w.node, err = natsnode.StartEmbedded(natsnode.Options{
		DataDir: t.TempDir(), Listen: "127.0.0.1:0", MinFree: -1, Auth: &guard, Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, w.node) })
	w.startEngine(realm, w.node.Dial, change...)
	return w
}

func closeNode(t testing.TB, node *natsnode.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := node.Close(ctx); err != nil {
		t.Error(err)
	}
}

// startEngine starts an engine of a realm and waits until it answers.
func (w *world) startEngine(realm *auth.Realm, dial auth.Dial, change ...func(*engine.Config)) {
	w.t.Helper()
	dial, err := realm.Engine(dial)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := engine.Config{
		Dial: dial, Prefix: realm.Names().Prefix(), Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		Accounts: &engine.Accounts{
			Users: realm.Account(auth.RoleUser), Workers: realm.Account(auth.RoleWorker), Auditors: realm.Account(auth.RoleAuditor),
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	e, err := engine.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	})
	select {
	case <-e.Ready():
	case err := <-ended:
		ended <- err
		w.t.Fatalf("the engine ended at its start: %v\n%s", err, w.log)
	case <-time.After(patience):
		w.t.Fatal("the engine is not ready")
	}
}

// creds returns the credentials of somebody, made when first asked for.
func (w *world) creds(role auth.Role, name string, actions ...string) []byte {
	w.t.Helper()
	key := string(role) + " " + name
	if w.handed[key] == nil {
		_, creds, err := w.realm.Add(role, name, actions...)
		if err != nil {
			w.t.Fatal(err)
		}
		w.handed[key] = creds
	}
	return w.handed[key]
}

// as connects as somebody, over the network.
func (w *world) as(role auth.Role, name string, actions ...string) *nats.Conn {
	w.t.Helper()
	options, err := auth.With(w.creds(role, name, actions...))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.connect(options...)
}

func (w *world) connect(options ...nats.Option) *nats.Conn {
	w.t.Helper()
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	nc, err := nats.Connect(w.node.URL(), append([]nats.Option{quiet, nats.Timeout(patience)}, options...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// user returns a client for a user, with the user's own credentials.
func (w *world) user(name string) *client.Client {
	w.t.Helper()
	c, err := client.New(w.as(auth.RoleUser, name), client.Config{User: name, Names: w.names})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// poll waits until ok.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
