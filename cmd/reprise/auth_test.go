package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/natsnode"
)

// want runs a command line with an environment and wants an exit code; it returns
// both outputs.
func want(t *testing.T, status int, env []string, args ...string) string {
	t.Helper()
	code, stdout, stderr := command(t.Context(), env, args...)
	if code != status {
		t.Fatalf("%q: exit code %d, want %d: %s%s", args, code, status, stdout, stderr)
	}
	return stdout.String() + stderr.String()
}

// TestAuth takes a data directory from no authentication to revoked credentials.
func TestAuth(t *testing.T) {
	dir := t.TempDir()
	env := []string{"REPRISE_DATA=" + dir, "REPRISE_USER=ada", "REPRISE_OPERATOR=root"}
	want(t, exitFailed, env, "auth", "list")
	want(t, exitOK, env, "session", "create", "old", "--keep-open")
	want(t, exitOK, env, "auth", "init")
	want(t, exitFailed, env, "auth", "init")
	// What was there before is the engine's account's now, and a command without a
	// server makes credentials for itself.
	want(t, exitOK, env, "session", "show", "old")
	out := want(t, exitOK, env, "auth", "add", "user", "ada")
	want(t, exitFailed, env, "auth", "add", "user", "ada")
	want(t, exitFailed, env, "auth", "add", "worker", "amber")
	want(t, exitOK, env, "session", "export", "--all", "-f", filepath.Join(dir, "alone.jsonl"))
	want(t, exitOK, env, "auth", "add", "worker", "amber", "--actions", "exec", "--out", filepath.Join(dir, "amber.creds"))
	want(t, exitUsage, env, "session", "list", "--prefix", "other")
	s := startServing(t, map[string]string{"REPRISE_DATA": dir}, "--listen", "127.0.0.1:0", "--log-level", "error")
	want(t, exitOK, env, "session", "start", "old")
	want(t, exitOK, env, "hold", "old")
	want(t, exitOK, env, "session", "export", "--all", "-f", filepath.Join(dir, "served.jsonl"))
	if _, err := nats.Connect(s.url()); err == nil {
		t.Error("a connection without credentials was let in")
	}
	file, _, _ := strings.Cut(out, "\n")
	mine := []string{"NATS_CREDS=" + file, "NATS_URL=" + s.url()}
	if out := want(t, exitOK, mine, "session", "list"); !strings.Contains(out, "old") {
		t.Errorf("the credentials' own sessions are %s", out)
	}
	if out := want(t, exitFailed, mine, "session", "list", "--user", "bob"); !strings.Contains(out, "these credentials do not allow it") {
		t.Errorf("another's sessions: %s", out)
	}
	if out := want(t, exitFailed, mine, "session", "export", "--all", "-f", filepath.Join(dir, "mine.jsonl")); !strings.Contains(out, "this is for operators") {
		t.Errorf("an export with a user's credentials: %s", out)
	}
	if out := want(t, exitOK, env, "auth", "test"); !strings.Contains(out, "auditor") {
		t.Errorf("auth test says %s", out)
	}
	want(t, exitOK, env, "session", "show", "old")
	revokeConnected(t, env, s.url(), file)
	if out := want(t, exitOK, env, "auth", "list", "--json"); !strings.Contains(out, `"revoked"`) {
		t.Errorf("auth list says %s", out)
	}
	want(t, exitUnreachable, mine, "session", "list")
	if out := want(t, exitOK, env, "auth", "config"); !strings.Contains(out, "resolver_preload") || strings.Contains(out, " SEED-") {
		t.Errorf("auth config says %s", out)
	}
	if out := want(t, exitOK, env, "auth", "config", "--nsc"); strings.Count(out, "nsc import account") != 4 {
		t.Errorf("auth config --nsc says %s", out)
	}
}

// revokeConnected revokes the credentials of a connection and waits for its end.
func revokeConnected(t *testing.T, env []string, url, file string) {
	t.Helper()
	creds, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options, err := auth.With(creds)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc, err := nats.Connect(url, append(options, nats.Timeout(servePatience), nats.ClosedHandler(func(*nats.Conn) { close(closed) }), nats.MaxReconnects(0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	want(t, exitOK, env, "auth", "revoke", "user", "ada")
	want(t, exitFailed, env, "auth", "revoke", "user", "ada")
	select {
	case <-closed:
	case <-time.After(servePatience):
		t.Error("a revoked connection lives on")
	}
}

func TestServeRefusesToBeOpen(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	tests := map[string]struct{ args, want string }{
		"everywhere":           {"--listen 0.0.0.0:0", "--insecure if that is meant"},
		"every address":        {"--listen :0", "reprise auth init"},
		"memory":               {"--memory --listen 0.0.0.0:0", "--insecure"},
		"no credentials there": {"--auth " + dir + "/none", "not initialised"},
		"half a certificate":   {"--listen 127.0.0.1:0 --tls-cert " + cert, "belong together"},
		"no certificate":       {"--listen 127.0.0.1:0 --tls-cert " + key + " --tls-key " + key, "--tls-cert"},
		"authority alone":      {"--listen 127.0.0.1:0 --tls-ca " + cert, "needs --tls-cert"},
		"no authority":         {"--listen 127.0.0.1:0 --tls-cert " + cert + " --tls-key " + key + " --tls-ca " + key, "no certificate"},
		"TLS of another":       {"--nats nats://x --tls-cert " + cert, "embedded server"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			env := []string{"REPRISE_DATA=" + filepath.Join(dir, "data")}
			if out := want(t, exitUsage, env, append([]string{"serve"}, strings.Fields(test.args)...)...); !strings.Contains(out, test.want) {
				t.Errorf("it says %s", out)
			}
		})
	}
	s := startServing(t, nil, "--memory", "--listen", "0.0.0.0:0", "--insecure")
	s.stop(t)
}

func TestServeWithTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	s := startServing(t, map[string]string{"REPRISE_DATA": dir}, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	env := []string{"REPRISE_DATA=" + dir, "REPRISE_USER=ada", "NATS_CA=" + cert}
	want(t, exitOK, env, "session", "list")
	want(t, exitUnreachable, env[:2], "session", "list")
	if code := s.stop(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// selfSigned writes a certificate for the loopback address and its key.
func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	body, err := x509.CreateCertificate(rand.Reader, template, template, &pair.PublicKey, pair)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: body}, key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestWorkerWithCredentials: a worker takes its id from its credentials.
func TestWorkerWithCredentials(t *testing.T) {
	dir := t.TempDir()
	realm, err := auth.Init(filepath.Join(dir, authFolder), auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	issue, creds, err := realm.Add(auth.RoleWorker, "amber", "exec")
	if err != nil {
		t.Fatal(err)
	}
	file, err := realm.WriteCreds(issue, creds)
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(strings.NewReader(""), &sharedText{}, &sharedText{})
	a.getenv = func(name string) string { return map[string]string{"NATS_CREDS": file, "REPRISE_DATA": dir}[name] }
	f := workerFlags{}
	if options, err := a.meAsWorker(&f, nil); err != nil || options != nil || f.id != "amber" {
		t.Errorf("with credentials it is %q, with %d options, %v", f.id, len(options), err)
	}
	a.getenv = func(name string) string { return map[string]string{"REPRISE_DATA": dir}[name] }
	f = workerFlags{}
	if options, err := a.meAsWorker(&f, map[string]string{"exec": "exec"}); err != nil || len(options) != 2 || !strings.HasPrefix(f.id, "w-") {
		t.Errorf("without it is %q, with %d options, %v", f.id, len(options), err)
	}
	if name := natsnode.CredsName(natsnode.Remote{Getenv: func(string) string { return "" }}); name != "" {
		t.Errorf("no credentials are those of %q", name)
	}
}

// TestOperatorsMoveSessions: with nothing but an operator's credentials sessions come
// into a server that asks for them, by import and by migration, and out of it.
func TestOperatorsMoveSessions(t *testing.T) {
	dir := t.TempDir()
	other, file := filepath.Join(dir, "other"), filepath.Join(dir, "all.jsonl")
	elsewhere := []string{"REPRISE_DATA=" + other, "REPRISE_USER=ada", "REPRISE_OPERATOR=root"}
	want(t, exitOK, elsewhere, "session", "create", "one", "--keep-open")
	want(t, exitOK, elsewhere, "session", "export", "--all", "-f", file)
	want(t, exitOK, elsewhere, "session", "create", "two", "--keep-open")
	env := []string{"REPRISE_DATA=" + dir}
	want(t, exitOK, env, "auth", "init")
	creds, _, _ := strings.Cut(want(t, exitOK, env, "auth", "add", "operator", "root"), "\n")
	s := startServing(t, map[string]string{"REPRISE_DATA": dir}, "--listen", "127.0.0.1:0", "--log-level", "error")
	root := []string{"NATS_CREDS=" + creds, "NATS_URL=" + s.url(), "REPRISE_USER=root", "REPRISE_OPERATOR=root"}
	want(t, exitOK, root, "session", "import", file)
	want(t, exitOK, root, "migrate", "--from", other, "--to", s.url())
	want(t, exitOK, root, "migrate", "--from", s.url(), "--to", filepath.Join(dir, "copy"))
	for _, id := range []string{"one", "two"} {
		want(t, exitOK, root, "session", "show", id, "--user", "ada")
	}
	want(t, exitOK, root, "repair")
}

// TestTenantsOfOneServer: a second engine with another prefix comes to a server that
// runs, once that was given its accounts; nothing crosses.
func TestTenantsOfOneServer(t *testing.T) {
	dir, dirTwo := t.TempDir(), t.TempDir()
	one, two := []string{"REPRISE_DATA=" + dir}, []string{"REPRISE_DATA=" + dirTwo}
	want(t, exitOK, one, "auth", "init")
	want(t, exitOK, two, "auth", "init", "--prefix", "two", "--join", filepath.Join(dir, authFolder))
	want(t, exitUnreachable, one, "auth", "push")
	credsOne, _, _ := strings.Cut(want(t, exitOK, one, "auth", "add", "user", "ada"), "\n")
	credsTwo, _, _ := strings.Cut(want(t, exitOK, two, "auth", "add", "user", "ada"), "\n")
	s := startServing(t, map[string]string{"REPRISE_DATA": dir}, "--listen", "127.0.0.1:0", "--log-level", "error")
	want(t, exitOK, two, "auth", "push", "--nats", s.url())
	want(t, exitOK, one, "auth", "push")
	startServing(t, nil, "--nats", s.url(), "--prefix", "two", "--auth", filepath.Join(dirTwo, authFolder), "--log-level", "error")
	asOne, asTwo := []string{"NATS_CREDS=" + credsOne, "NATS_URL=" + s.url()}, []string{"NATS_CREDS=" + credsTwo, "NATS_URL=" + s.url()}
	want(t, exitOK, asOne, "session", "create", "first", "--keep-open")
	want(t, exitOK, asTwo, "session", "create", "second", "--keep-open", "--prefix", "two")
	if out := want(t, exitOK, asTwo, "session", "list", "--prefix", "two"); strings.Contains(out, "first") {
		t.Errorf("the second lists %s", out)
	}
	for env, prefix := range map[*[]string]string{&asOne: "two", &asTwo: "reprise"} {
		if out := want(t, exitFailed, *env, "session", "list", "--prefix", prefix); !strings.Contains(out, "do not allow it") {
			t.Errorf("across: %s", out)
		}
	}
	want(t, exitOK, two, "auth", "test", "--nats", s.url())
}
