package natsnode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MinServerVersion is the oldest nats-server an engine works with: atomic batch
// publishing came with it.
const MinServerVersion = "2.12.0"

const (
	// leaderPatience is how long Connect waits for a cluster that has no leader: one
	// is elected within seconds after the last one was lost.
	leaderPatience = 30 * time.Second
	// leaderPause lies between two tries.
	leaderPause = 250 * time.Millisecond
	// connectTimeout is how long one server may take to let a connection in. The
	// library's 2 s are short for a machine that is busy.
	connectTimeout = 5 * time.Second
	// codeNoLeader is what a server of a cluster says while that has no leader
	// (JSClusterNotAvailErr in nats-server's errors).
	codeNoLeader jetstream.ErrorCode = 10008
)

// Remote says how to reach a server that runs elsewhere. What a field leaves
// open the NATS_* variables fill in, then the context; URL wins over both.
//
// The variables are those of the nats CLI: NATS_URL, NATS_CONTEXT, NATS_USER,
// NATS_PASSWORD, NATS_TOKEN, NATS_CREDS, NATS_NKEY, NATS_CERT, NATS_KEY, NATS_CA.
// Credentials of the variables replace all credentials of the context.
type Remote struct {
	// URL is one or more server URLs, separated by commas.
	URL string
	// Context names a context of the nats CLI, or is the path of its file.
	Context string
	// Selected takes the context that is selected in the nats CLI where neither
	// a URL nor a context is named.
	Selected bool
	// Own refuses a context that leads to the JetStream of another domain, or to one
	// under another prefix: what runs an engine uses that of the server it connects to.
	Own bool
	// Options are added to every connection; they win over all else.
	Options []nats.Option
	// Getenv replaces os.Getenv.
	Getenv func(string) string
	// Logger gets warnings; nothing if nil.
	Logger *slog.Logger
}

// target is a resolved Remote.
type target struct {
	url     string
	domain  string
	prefix  string
	own     bool
	options []nats.Option
}

// Connect finds the server, checks that it is new enough and that the account
// has JetStream, and returns a node for it. For a cluster that has no leader at the
// moment it waits up to 30 s, or until ctx ends. It returns ErrOptions,
// ErrUnreachable, ErrTooOld or ErrNoJetStream. The node holds no connection of
// its own.
func Connect(ctx context.Context, r Remote) (*Node, error) {
	t, err := r.resolve()
	if err != nil {
		return nil, err
	}
	log := r.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := t.await(ctx, log); err != nil {
		return nil, err
	}
	return &Node{log: log, remote: t, recovered: make(chan struct{})}, nil
}

// Dial connects as a client does that only sends requests: the server's version
// and JetStream are not checked. The caller closes the connection. Without any
// URL it tries the default address. It returns ErrOptions or ErrUnreachable.
func Dial(r Remote, name string, opts ...nats.Option) (*nats.Conn, error) {
	t, err := r.resolve()
	if err != nil {
		return nil, err
	}
	all := append([]nats.Option{nats.Name(name), nats.Timeout(connectTimeout)}, t.options...)
	nc, err := nats.Connect(t.url, append(all, opts...)...)
	if err != nil {
		return nil, unreachable(t.shown(), err)
	}
	return nc, nil
}

// resolve merges fields, variables and context.
func (r Remote) resolve() (*target, error) {
	if r.Getenv == nil {
		r.Getenv = os.Getenv
	}
	settings, err := r.context()
	if err != nil {
		return nil, err
	}
	settings = settings.override(r.Getenv)
	if u := first(r.URL, r.Getenv("NATS_URL"), settings.URL); u != "" {
		settings.URL = u
	} else {
		settings.URL = nats.DefaultURL
	}
	t, err := settings.target()
	if err != nil {
		return nil, err
	}
	t.own = r.Own
	t.options = append(t.options, r.Options...)
	return t, nil
}

// context reads the named or selected context; none gives empty settings.
func (r Remote) context() (settings, error) {
	name := first(r.Context, r.Getenv("NATS_CONTEXT"))
	dir := contextDir(r.Getenv)
	if name == "" && r.Selected && r.URL == "" && r.Getenv("NATS_URL") == "" {
		name = selectedContext(dir)
	}
	if name == "" {
		return settings{}, nil
	}
	return readContext(dir, name)
}

// await is check that tries again while a cluster has no leader.
func (t *target) await(ctx context.Context, log *slog.Logger) error {
	last := time.Now().Add(leaderPatience)
	for told := false; ; told = true {
		err := t.check(ctx)
		if !leaderless(err) || time.Now().After(last) {
			return err
		}
		if !told {
			log.WarnContext(ctx, "JetStream does not answer; it is tried again", "for", leaderPatience, "error", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(leaderPause):
		}
	}
}

// leaderless reports whether an error may be that of a cluster that elects a leader.
func leaderless(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode == codeNoLeader
	}
	return errors.Is(err, ErrNoJetStream) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout))
}

// check connects once and looks at the server and the account.
func (t *target) check(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	denied := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			cancel(err)
		}
	})
	nc, err := nats.Connect(t.url, append([]nats.Option{nats.Name("reprise check"), nats.Timeout(connectTimeout), denied}, t.options...)...)
	if err != nil {
		return unreachable(t.shown(), err)
	}
	defer nc.Close()
	if err := checkVersion(t.shown(), nc.ConnectedServerVersion()); err != nil {
		return err
	}
	return t.checkJetStream(ctx, nc)
}

func (t *target) checkJetStream(ctx context.Context, nc *nats.Conn) error {
	js, err := t.jetStream(nc)
	if err != nil {
		return problemf(ErrOptions, err, "%s: %s", ErrOptions, err)
	}
	_, err = js.AccountInfo(ctx)
	switch {
	case err == nil:
		return t.checkOwn(ctx, nc)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return problemf(ErrNoJetStream, err, "JetStream is not enabled for this account on %s; enable it in the server's configuration, or use an account that has it", t.shown())
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return problemf(ErrNoJetStream, err, "JetStream is not enabled on %s; start that server with -js, or let reprise embed one", t.shown())
	case errors.Is(context.Cause(ctx), nats.ErrPermissionViolation):
		return problemf(ErrNoJetStream, err, "these credentials may not use $JS.API.> on %s, and so not its JetStream", t.shown())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return problemf(ErrNoJetStream, err, "JetStream does not answer on %s: check that these credentials may use $JS.API.>, and that the cluster has a leader", t.shown())
	}
	return problemf(ErrNoJetStream, err, "JetStream is not available on %s: %s", t.shown(), err)
}

// checkOwn refuses the JetStream of another domain or prefix, where only the
// server's own will do.
func (t *target) checkOwn(ctx context.Context, nc *nats.Conn) error {
	switch {
	case !t.own:
		return nil
	case t.prefix != "" && strings.TrimSuffix(t.prefix, ".") != ownAPI:
		return problemf(ErrOptions, nil, "the NATS context names the JetStream API prefix %s; an engine works with the JetStream of the account it connects with, so connect it with an account that has JetStream", t.prefix)
	case t.prefix != "" || t.domain == "":
		return nil
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	info, err := js.AccountInfo(ctx)
	if err == nil && info.Domain == t.domain {
		return nil
	}
	return problemf(ErrOptions, err, "the NATS context names the JetStream domain %s, which is not that of %s; an engine works with the JetStream of the server it connects to, so connect it to a server of that domain", t.domain, t.shown())
}

// ownAPI is the JetStream API of a connection's own account and server.
const ownAPI = "$JS.API"

// JetStreamAPI returns the first tokens of the JetStream API that the context of a
// Remote names: $JS.API if it names none. It returns ErrOptions.
func JetStreamAPI(r Remote) (string, error) {
	t, err := r.resolve()
	switch {
	case err != nil:
		return "", err
	case t.prefix != "":
		return strings.TrimSuffix(t.prefix, "."), nil
	case t.domain != "":
		return "$JS." + t.domain + ".API", nil
	}
	return ownAPI, nil
}

func (t *target) jetStream(nc *nats.Conn, opts ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	switch {
	case t.prefix != "":
		return jetstream.NewWithAPIPrefix(nc, t.prefix, opts...)
	case t.domain != "":
		return jetstream.NewWithDomain(nc, t.domain, opts...)
	}
	return jetstream.New(nc, opts...)
}

// shown is the URL without credentials.
func (t *target) shown() string {
	urls := strings.Split(t.url, ",")
	for i, text := range urls {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			u.User = nil
			urls[i] = u.String()
		}
	}
	return strings.Join(urls, ",")
}

// checkVersion refuses a server that is older than MinServerVersion. A version
// that can't be read is refused too.
func checkVersion(where, version string) error {
	got, err := parseVersion(version)
	if err != nil {
		return problemf(ErrTooOld, err, "the server at %s says it is version %q, which is not a nats-server version; use nats-server %s or newer", where, version, MinServerVersion)
	}
	oldest, _ := parseVersion(MinServerVersion)
	for i := range got {
		if got[i] != oldest[i] {
			if got[i] > oldest[i] {
				return nil
			}
			return problemf(ErrTooOld, nil, "the server at %s is nats-server %s, which is too old: use %s or newer", where, version, MinServerVersion)
		}
	}
	return nil
}

// parseVersion reads major, minor and patch; what follows a hyphen is ignored.
func parseVersion(text string) ([3]int, error) {
	var version [3]int
	core, _, _ := strings.Cut(strings.TrimPrefix(text, "v"), "-")
	parts := strings.Split(core, ".")
	if len(parts) != len(version) {
		return version, fmt.Errorf("%q is not MAJOR.MINOR.PATCH", text)
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return version, fmt.Errorf("%q is not MAJOR.MINOR.PATCH: %w", text, err)
		}
		version[i] = n
	}
	return version, nil
}

// unreachable says why a connection failed and what to look at.
func unreachable(where string, err error) error {
	reason, hint := err.Error(), "check the address, and that the server runs"
	var pathError *fs.PathError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		reason, hint = "it refuses these credentials", "check user, password, creds or nkey"
	case errors.Is(err, nats.ErrNoServers):
		reason = "nobody answers"
	case errors.As(err, &pathError):
		hint = "check the files of creds, nkey and certificates"
	}
	return problemf(ErrUnreachable, err, "cannot reach the NATS server at %s: %s; %s", where, strings.TrimPrefix(reason, "nats: "), hint)
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
