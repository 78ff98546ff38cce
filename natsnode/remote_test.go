package natsnode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// serve starts a plain nats-server for a test, with JetStream unless change
// says otherwise, and returns its URL.
func serve(t *testing.T, change func(*server.Options)) string {
	t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true}
	if change != nil {
		change(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(testPatience) {
		t.Fatal("the server does not accept connections")
	}
	return srv.ClientURL()
}

// env is an environment for Remote.Getenv.
func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func connectTo(t *testing.T, r Remote) (*Node, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	return Connect(ctx, r)
}

func TestConnect(t *testing.T) {
	url := serve(t, nil)
	n, err := connectTo(t, Remote{URL: url, Logger: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	_, js := dial(t, n)
	makeStream(t, n, js)
	if err := n.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(n.Promise(), "sync setting of that server") || n.SyncsAlways() {
		t.Errorf("it promises %q", n.Promise())
	}
	if n.Embedded() || n.URL() != url || n.String() != "NATS at "+url {
		t.Errorf("embedded %v, URL %s, %s", n.Embedded(), n.URL(), n)
	}
	if err := n.Recover(t.Context()); err != nil {
		t.Errorf("recover: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	closeNode(t, n)
	if _, err := n.Dial("late"); !errors.Is(err, ErrClosed) {
		t.Errorf("dial after Close: %v", err)
	}
}

func TestConnectSaysWhatIsMissing(t *testing.T) {
	accounts := func(o *server.Options) {
		o.Accounts = []*server.Account{server.NewAccount("A")}
		o.Users = []*server.User{{Username: "u", Password: "p", Account: o.Accounts[0]}}
	}
	silent := func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.API.>"}},
		}}}
	}
	login := env(map[string]string{"NATS_USER": "u", "NATS_PASSWORD": "p"})
	tests := map[string]struct {
		change func(*server.Options)
		remote Remote
		kind   error
		want   []string
	}{
		"nobody there":          {nil, Remote{URL: "nats://127.0.0.1:1"}, ErrUnreachable, []string{"127.0.0.1:1", "that the server runs"}},
		"no JetStream":          {func(o *server.Options) { o.JetStream = false }, Remote{}, ErrNoJetStream, []string{"-js"}},
		"none for this account": {accounts, Remote{Getenv: login}, ErrNoJetStream, []string{"this account"}},
		"wrong password":        {accounts, Remote{}, ErrUnreachable, []string{"refuses these credentials"}},
		"not permitted":         {silent, Remote{Getenv: login}, ErrNoJetStream, []string{"$JS.API.>"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.remote.URL == "" {
				test.remote.URL = serve(t, test.change)
			}
			ctx, cancel := context.WithTimeout(t.Context(), testPatience)
			defer cancel()
			n, err := Connect(ctx, test.remote)
			if !errors.Is(err, test.kind) || n != nil {
				t.Fatalf("got %v, %v; want %v", n, err, test.kind)
			}
			wantSentence(t, err, test.want...)
		})
	}
}

// TestConnectWaitsForALeader: a cluster that has lost its leader elects another one,
// for which whoever starts just then waits.
func TestConnectWaitsForALeader(t *testing.T) {
	url := serve(t, func(o *server.Options) { o.JetStream = false })
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var asked atomic.Int32
	_, err = nc.Subscribe("$JS.API.INFO", func(m *nats.Msg) {
		answer := `{"type":"io.nats.jetstream.api.v1.account_info_response","error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`
		if asked.Add(1) > 2 {
			answer = `{"type":"io.nats.jetstream.api.v1.account_info_response"}`
		}
		if err := m.Respond([]byte(answer)); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connectTo(t, Remote{URL: url}); err != nil || asked.Load() != 3 {
		t.Errorf("after %d tries: %v", asked.Load(), err)
	}
}

func TestServerVersion(t *testing.T) {
	tests := map[string]string{
		"2.12.0": "", "2.15.2": "", "3.0.0": "", "v2.12.1": "", "2.12.0-RC.1": "", "2.14.0-dev": "",
		"2.11.9": "too old", "1.4.1": "too old", "2.2.12": "too old",
		"": "not a nats-server version", "2.12": "not a nats-server version", "2.x.0": "not a nats-server version",
	}
	for version, want := range tests {
		err := checkVersion("nats://host", version)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", version, err)
			}
			continue
		}
		if !errors.Is(err, ErrTooOld) {
			t.Errorf("%s: got %v, want ErrTooOld", version, err)
		}
		wantSentence(t, err, want, "nats://host", "2.12.0 or newer")
	}
}

func TestDialNeedsNoJetStream(t *testing.T) {
	url := serve(t, func(o *server.Options) { o.JetStream = false })
	nc, err := Dial(Remote{Getenv: env(map[string]string{"NATS_URL": url})}, "client")
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if _, err := Dial(Remote{URL: "nats://127.0.0.1:1"}, "client"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	if _, err := Dial(Remote{Context: "/missing/context.json"}, "client"); !errors.Is(err, ErrOptions) {
		t.Errorf("got %v, want ErrOptions", err)
	}
	if _, err := connectTo(t, Remote{Context: "/missing/context.json"}); !errors.Is(err, ErrOptions) {
		t.Errorf("got %v, want ErrOptions", err)
	}
}

func TestShownURLHasNoCredentials(t *testing.T) {
	target := &target{url: "nats://user:secret@one:4222, tls://token@two:4222"}
	if got := target.shown(); got != "nats://one:4222,tls://two:4222" {
		t.Errorf("got %s", got)
	}
}

// contexts writes nats CLI contexts and returns the environment that has them.
func contexts(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, "nats", name)
		mkdir(t, filepath.Dir(path))
		writeFile(t, path, text)
	}
	return map[string]string{"XDG_CONFIG_HOME": dir}
}

func TestWhichURL(t *testing.T) {
	files := map[string]string{
		"context/one.json": `{"url":"nats://one"}`,
		"context/two.json": `{"url":"nats://two"}`,
		"context.txt":      "two\n",
	}
	tests := map[string]struct {
		remote Remote
		env    map[string]string
		want   string
	}{
		"nothing":             {Remote{}, nil, nats.DefaultURL},
		"URL":                 {Remote{URL: "nats://url", Selected: true}, map[string]string{"NATS_URL": "nats://env"}, "nats://url"},
		"variable":            {Remote{Selected: true}, map[string]string{"NATS_URL": "nats://env"}, "nats://env"},
		"context":             {Remote{Context: "one", Selected: true}, nil, "nats://one"},
		"context variable":    {Remote{}, map[string]string{"NATS_CONTEXT": "one"}, "nats://one"},
		"context and its URL": {Remote{Context: "one", URL: "nats://url"}, nil, "nats://url"},
		"selected":            {Remote{Selected: true}, nil, "nats://two"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			values := contexts(t, files)
			maps.Copy(values, test.env)
			test.remote.Getenv = env(values)
			got, err := test.remote.resolve()
			if err != nil || got.url != test.want {
				t.Errorf("got %+v, %v; want %s", got, err, test.want)
			}
		})
	}
	home := env(map[string]string{"HOME": "/home/ann"})
	if got := contextDir(home); got != "/home/ann/.config/nats/context" {
		t.Errorf("contexts of ann are in %s", got)
	}
	if got, err := (Remote{Selected: true, Getenv: home}).resolve(); err != nil || got.url != nats.DefaultURL {
		t.Errorf("no selected context: %+v, %v", got, err)
	}
}

func TestContextsThatDoNotWork(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"not JSON":    {`url: nats://x`, []string{"not what the nats CLI writes"}},
		"nsc":         {`{"nsc":"nsc://o/a/u"}`, []string{"nsc", "--creds"}},
		"proxy":       {`{"socks_proxy":"socks5://x"}`, []string{"SOCKS"}},
		"JWT":         {`{"user_jwt":"x"}`, []string{"JWT", "--creds"}},
		"half a cert": {`{"cert":"x"}`, []string{"key"}},
		"nkey":        {`{"nkey":"/missing/seed"}`, []string{"nkey file /missing/seed"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			values := contexts(t, map[string]string{"context/it.json": test.text})
			_, err := Remote{Context: "it", Getenv: env(values)}.resolve()
			if !errors.Is(err, ErrOptions) {
				t.Fatalf("got %v, want ErrOptions", err)
			}
			wantSentence(t, err, test.want...)
		})
	}
}

func TestUnknownContext(t *testing.T) {
	values := contexts(t, map[string]string{"context/a.json": "{}", "context/b.json": "{}"})
	_, err := Remote{Context: "c", Getenv: env(values)}.resolve()
	wantSentence(t, err, `no NATS context "c"`, "there are a, b")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v hides its cause", err)
	}
	_, err = Remote{Context: "c", Getenv: env(map[string]string{"HOME": t.TempDir()})}.resolve()
	wantSentence(t, err, "there are none", "nats context save")
	_, err = Remote{Context: t.TempDir()}.resolve()
	wantSentence(t, err, "cannot be read")
}

// TestCredentials logs in with every kind, from variables and from contexts.
func TestCredentials(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	seedFile := filepath.Join(t.TempDir(), "seed")
	writeFile(t, seedFile, string(seed))
	password := serve(t, func(o *server.Options) { o.Username, o.Password = "u", "p" })
	token := serve(t, func(o *server.Options) { o.Authorization = "secret" })
	nkey := serve(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	tests := map[string]struct {
		url, context string
		env          map[string]string
	}{
		"password":        {password, "", map[string]string{"NATS_USER": "u", "NATS_PASSWORD": "p"}},
		"token":           {token, "", map[string]string{"NATS_TOKEN": "secret"}},
		"user as token":   {token, "", map[string]string{"NATS_USER": "secret"}},
		"nkey":            {nkey, "", map[string]string{"NATS_NKEY": seedFile}},
		"context":         {password, `{"user":"u","password":"p","inbox_prefix":"_INBOX_u","jetstream_api_prefix":"$JS.API"}`, nil},
		"variables win":   {password, `{"token":"wrong"}`, map[string]string{"NATS_USER": "u", "NATS_PASSWORD": "p"}},
		"nkey in context": {nkey, `{"nkey":"` + seedFile + `"}`, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			values := contexts(t, map[string]string{"context/it.json": first(test.context, "{}")})
			maps.Copy(values, test.env)
			if _, err := connectTo(t, Remote{URL: test.url, Context: "it", Getenv: env(values)}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCredentialFilesAreMissing(t *testing.T) {
	url := serve(t, nil)
	for _, name := range []string{"NATS_CREDS", "NATS_CA"} {
		_, err := connectTo(t, Remote{URL: url, Getenv: env(map[string]string{name: "/missing/file"})})
		wantSentence(t, err, "/missing/file")
	}
	_, err := connectTo(t, Remote{URL: url, Getenv: env(map[string]string{"NATS_CERT": "/missing/c", "NATS_KEY": "/missing/k"})})
	wantSentence(t, err, "/missing/c")
}

func TestDomain(t *testing.T) {
	url := serve(t, func(o *server.Options) { o.JetStreamDomain = "hub" })
	values := contexts(t, map[string]string{
		"context/hub.json":   `{"jetstream_domain":"hub"}`,
		"context/leaf.json":  `{"jetstream_domain":"leaf"}`,
		"context/first.json": `{"tls_first":true}`,
	})
	n, err := connectTo(t, Remote{URL: url, Context: "hub", Getenv: env(values)})
	if err != nil {
		t.Fatal(err)
	}
	_, js := dial(t, n)
	makeStream(t, n, js)
	if _, err := connectTo(t, Remote{URL: url, Context: "leaf", Getenv: env(values)}); !errors.Is(err, ErrNoJetStream) {
		t.Errorf("another domain: %v", err)
	}
	if _, err := connectTo(t, Remote{URL: url, Context: "first", Getenv: env(values)}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a server without TLS: %v", err)
	}
}

// TestOwnJetStream: what runs an engine takes the server's own JetStream, also by its
// domain's name, and no other.
func TestOwnJetStream(t *testing.T) {
	url := serve(t, func(o *server.Options) { o.JetStreamDomain = "hub" })
	values := contexts(t, map[string]string{
		"context/hub.json":    `{"jetstream_domain":"hub"}`,
		"context/plain.json":  `{"jetstream_api_prefix":"$JS.API"}`,
		"context/prefix.json": `{"jetstream_api_prefix":"$JS.hub.API"}`,
	})
	for _, name := range []string{"hub", "plain"} {
		if _, err := connectTo(t, Remote{URL: url, Context: name, Own: true, Getenv: env(values)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := connectTo(t, Remote{URL: url, Context: "prefix", Own: true, Getenv: env(values)})
	if !errors.Is(err, ErrOptions) {
		t.Errorf("another prefix gives %v", err)
	}
	wantSentence(t, err, "JetStream API prefix $JS.hub.API")
}

// TestOwnJetStreamOfAnotherDomain: a leaf node reaches the hub's JetStream by the name
// of its domain; an engine there is refused.
func TestOwnJetStreamOfAnotherDomain(t *testing.T) {
	var hub *server.Options
	serve(t, func(o *server.Options) {
		hub, o.JetStreamDomain, o.LeafNode.Host, o.LeafNode.Port = o, "hub", "127.0.0.1", server.RANDOM_PORT
	})
	leaf := serve(t, func(o *server.Options) {
		o.JetStreamDomain = "leaf"
		o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", hub.LeafNode.Port)}}}}
	})
	values := contexts(t, map[string]string{"context/hub.json": `{"jetstream_domain":"hub"}`})
	eventually(t, "the hub's JetStream at the leaf node", func() bool {
		_, err := connectTo(t, Remote{URL: leaf, Context: "hub", Getenv: env(values)})
		return err == nil
	})
	_, err := connectTo(t, Remote{URL: leaf, Context: "hub", Own: true, Getenv: env(values)})
	if !errors.Is(err, ErrOptions) {
		t.Errorf("the hub's JetStream for an engine at the leaf node gives %v", err)
	}
	wantSentence(t, err, "JetStream domain hub")
}

func TestJetStreamAPI(t *testing.T) {
	values := contexts(t, map[string]string{
		"context/domain.json": `{"jetstream_domain":"hub"}`,
		"context/prefix.json": `{"jetstream_api_prefix":"other.API."}`,
		"context/none.json":   `{}`,
	})
	for name, want := range map[string]string{"domain": "$JS.hub.API", "prefix": "other.API", "none": "$JS.API", "": "$JS.API"} {
		if got, err := JetStreamAPI(Remote{Context: name, Getenv: env(values)}); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := JetStreamAPI(Remote{Context: "missing", Getenv: env(values)}); !errors.Is(err, ErrOptions) {
		t.Errorf("a missing context gives %v", err)
	}
}

func TestExpandPath(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	t.Setenv("KEYS", "/keys")
	for path, want := range map[string]string{
		"~/a.creds": "/home/ann/a.creds", "$KEYS/a": "/keys/a", "/x": "/x", "~ann/x": "~ann/x", "": "",
	} {
		if got := expandPath(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
	t.Setenv("HOME", "")
	if got := expandPath("~/x"); strings.HasPrefix(got, "/x") {
		t.Errorf("without a home it is %q", got)
	}
}
