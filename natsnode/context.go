package natsnode

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
)

// settings are those of a context of the nats CLI that matter for a connection.
type settings struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	JWT         string `json:"user_jwt"`
	NSC         string `json:"nsc"`
	SocksProxy  string `json:"socks_proxy"`
	Domain      string `json:"jetstream_domain"`
	APIPrefix   string `json:"jetstream_api_prefix"`
	InboxPrefix string `json:"inbox_prefix"`
	TLSFirst    bool   `json:"tls_first"`
}

// contextDir is where the nats CLI keeps its contexts.
func contextDir(getenv func(string) string) string {
	parent := getenv("XDG_CONFIG_HOME")
	if parent == "" {
		parent = filepath.Join(getenv("HOME"), ".config")
	}
	return filepath.Join(parent, "nats", "context")
}

// selectedContext is the name that `nats context select` wrote, or "".
func selectedContext(dir string) string {
	name, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "context.txt"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

// readContext reads a context by name, or by path if the name has a separator.
func readContext(dir, name string) (settings, error) {
	path := name
	if !strings.ContainsRune(name, filepath.Separator) {
		path = filepath.Join(dir, name+".json")
	}
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return settings{}, problemf(ErrOptions, err, "there is no NATS context %q: %s", name, knownContexts(dir))
	}
	if err != nil {
		return settings{}, problemf(ErrOptions, err, "NATS context %q cannot be read: %s", name, err)
	}
	var s settings
	if err := json.Unmarshal(body, &s); err != nil {
		return settings{}, problemf(ErrOptions, err, "NATS context %q in %s is not what the nats CLI writes: %s", name, path, err)
	}
	return s, s.refuse(name)
}

// refuse names what the nats CLI can do with a context and this package can't.
func (s settings) refuse(name string) error {
	switch {
	case s.NSC != "":
		return problemf(ErrOptions, nil, "NATS context %q looks its credentials up with nsc, which is not supported; save it with --creds FILE", name)
	case s.SocksProxy != "":
		return problemf(ErrOptions, nil, "NATS context %q uses a SOCKS proxy, which is not supported; connect directly or through a tunnel", name)
	case s.JWT != "":
		return problemf(ErrOptions, nil, "NATS context %q holds a bare user JWT, which is not supported; save it with --creds FILE", name)
	}
	return nil
}

// knownContexts lists what could have been meant.
func knownContexts(dir string) string {
	paths, _ := filepath.Glob(filepath.Join(dir, "*.json")) // the pattern is well-formed
	if len(paths) == 0 {
		return "there are none in " + dir + "; make one with `nats context save`"
	}
	names := make([]string, len(paths))
	for i, path := range paths {
		names[i] = strings.TrimSuffix(filepath.Base(path), ".json")
	}
	return "there are " + strings.Join(names, ", ")
}

// override returns the settings with the NATS_* variables in place of what they name.
func (s settings) override(getenv func(string) string) settings {
	user, password, token := getenv("NATS_USER"), getenv("NATS_PASSWORD"), getenv("NATS_TOKEN")
	creds, nkey := getenv("NATS_CREDS"), getenv("NATS_NKEY")
	if user != "" || token != "" || creds != "" || nkey != "" {
		s.User, s.Password, s.Token, s.Creds, s.NKey = user, password, token, creds, nkey
	}
	s.Cert = first(getenv("NATS_CERT"), s.Cert)
	s.Key = first(getenv("NATS_KEY"), s.Key)
	s.CA = first(getenv("NATS_CA"), s.CA)
	return s
}

// target turns settings into what nats.go wants.
func (s settings) target() (*target, error) {
	if (s.Cert == "") != (s.Key == "") {
		return nil, problemf(ErrOptions, nil, "a client certificate needs both its file and the file of its key (NATS_CERT and NATS_KEY)")
	}
	t := &target{url: s.URL, domain: s.Domain, prefix: s.APIPrefix}
	if err := s.credentials(t); err != nil {
		return nil, err
	}
	if s.Cert != "" {
		t.options = append(t.options, nats.ClientCert(expandPath(s.Cert), expandPath(s.Key)))
	}
	if s.CA != "" {
		t.options = append(t.options, nats.RootCAs(expandPath(s.CA)))
	}
	if s.TLSFirst {
		t.options = append(t.options, nats.TLSHandshakeFirst())
	}
	if s.InboxPrefix != "" {
		t.options = append(t.options, nats.CustomInboxPrefix(s.InboxPrefix))
	}
	return t, nil
}

// credentials adds the first kind that is set, in the order of the nats CLI. A
// user without a password is a token.
func (s settings) credentials(t *target) error {
	switch {
	case s.User != "" && s.Password != "":
		t.options = append(t.options, nats.UserInfo(s.User, s.Password))
	case s.User != "":
		t.options = append(t.options, nats.Token(s.User))
	case s.Creds != "":
		t.options = append(t.options, nats.UserCredentials(expandPath(s.Creds)))
		t.options = append(t.options, inboxOf(expandPath(s.Creds))...)
	case s.NKey != "":
		option, err := nats.NkeyOptionFromSeed(expandPath(s.NKey))
		if err != nil {
			return problemf(ErrOptions, err, "the nkey file %s cannot be used: %s", s.NKey, err)
		}
		t.options = append(t.options, option)
	case s.Token != "":
		t.options = append(t.options, nats.Token(s.Token))
	}
	return nil
}

// expandPath replaces a leading ~ and variables, as the nats CLI does.
func expandPath(path string) string {
	path = os.ExpandEnv(path)
	rest, ok := strings.CutPrefix(path, "~"+string(filepath.Separator))
	if !ok {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return filepath.Join(home, rest)
}
