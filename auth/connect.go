package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// tellValid is how long credentials for telling a server of changes last.
const tellValid = time.Minute

// serviceConnections begin the names of the connections on which an engine takes
// requests and answers them. They can do nothing else.
var serviceConnections = []string{"reprise-requests-", "reprise-replies-"}

// With returns the options of a connection that has credentials: what stands in a
// .creds file. Its inboxes are those of the credentials' name. It returns ErrName
// if they are not this program's.
func With(creds []byte) ([]nats.Option, error) {
	name, err := NameIn(creds)
	if err != nil {
		return nil, err
	}
	return []nats.Option{nats.UserCredentialBytes(creds), nats.CustomInboxPrefix(InboxPrefix(name))}, nil
}

// NameIn returns the name in the contents of a .creds file, or ErrName if it is
// not one of this program's.
func NameIn(creds []byte) (string, error) {
	text, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		return "", fmt.Errorf("%w: these are no credentials: %w", ErrName, err)
	}
	c, err := jwt.DecodeUserClaims(text)
	if err != nil {
		return "", fmt.Errorf("%w: the credentials are damaged: %w", ErrName, err)
	}
	if !c.Tags.Contains(clientTag) {
		return "", fmt.Errorf("%w: the credentials of %q were not made by `reprise auth`", ErrName, c.Name)
	}
	return c.Name, nil
}

// Dial opens a connection under a name.
type Dial = func(name string, options ...nats.Option) (*nats.Conn, error)

// EngineOptions returns the options of a connection of an engine, also for looking
// at a server before an engine starts.
func (r *Realm) EngineOptions() ([]nats.Option, error) { return r.engineOptions(RoleEngine) }

func (r *Realm) engineOptions(role Role) ([]nats.Option, error) {
	creds, err := os.ReadFile(r.enginePath(role))
	if err != nil {
		return nil, fmt.Errorf("%w: an engine needs %s", ErrKeys, r.enginePath(role))
	}
	return With(creds)
}

// Engine returns a Dial for an engine: each of its connections has the rights it
// needs, and no more.
func (r *Realm) Engine(dial Dial) (Dial, error) {
	options := map[Role][]nats.Option{}
	for _, role := range []Role{RoleEngine, RoleService} {
		var err error
		if options[role], err = r.engineOptions(role); err != nil {
			return nil, err
		}
	}
	return func(name string, more ...nats.Option) (*nats.Conn, error) {
		role := RoleEngine
		for _, prefix := range serviceConnections {
			if strings.HasPrefix(name, prefix) {
				role = RoleService
			}
		}
		return dial(name, append(options[role][:2:2], more...)...)
	}, nil
}

func (r *Realm) enginePath(role Role) string { return r.path(credsDir, string(role)+".creds") }

// writeEngine makes the credentials of engines.
func (r *Realm) writeEngine() error {
	for _, role := range []Role{RoleEngine, RoleService} {
		_, creds, err := r.make(role, string(role), nil, 0)
		if err != nil {
			return err
		}
		if err := r.write(filepath.Join(credsDir, string(role)+".creds"), creds); err != nil {
			return err
		}
	}
	return nil
}

// system returns credentials for the system account.
func (r *Realm) system() (nats.Option, error) {
	keys, err := r.keys(accountKey(accountSystem))
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	key, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	c := jwt.NewUserClaims(key)
	c.Name, c.Expires = "reprise-auth", r.now().Add(tellValid).Unix()
	text, err := c.Encode(keys[accountKey(accountSystem)])
	if err != nil {
		return nil, err
	}
	return nats.UserJWT(func() (string, error) { return text, nil }, pair.Sign), nil
}
