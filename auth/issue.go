package auth

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"reprise/contract"
	"reprise/domain"
)

// clientTag marks the JWTs of this program, whose inboxes are those of their name.
const clientTag = "reprise"

// Issue is a credential that was given out.
type Issue struct {
	Role Role `json:"role"`
	// Name is the token by which subjects name its owner: for a user that is
	// contract.UserToken of the user.
	Name    string   `json:"name"`
	Actions []string `json:"actions,omitempty"`
	// Key is the public key of the credential.
	Key     string    `json:"key"`
	Created time.Time `json:"created"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// Valid reports whether a credential was not revoked.
func (i Issue) Valid() bool { return i.Revoked.IsZero() }

// Add makes a credential and returns it with the contents of its .creds file,
// which are not kept. A worker needs at least one action, nobody else has any. It
// returns ErrName, ErrExists if there is a valid one of that name, or ErrKeys.
func (r *Realm) Add(role Role, name string, actions ...string) (Issue, []byte, error) {
	token, err := checkName(role, name, actions)
	if err != nil {
		return Issue{}, nil, err
	}
	unlock, err := r.change()
	if err != nil {
		return Issue{}, nil, err
	}
	defer unlock()
	if old := r.find(role, token); old != nil {
		return Issue{}, nil, fmt.Errorf("%w: %s %s was added at %s; revoke it first to replace it",
			ErrExists, role, name, old.Created.Format(time.RFC3339))
	}
	key, creds, err := r.make(role, token, actions, 0)
	if err != nil {
		return Issue{}, nil, err
	}
	issue := Issue{Role: role, Name: token, Actions: actions, Key: key, Created: r.now().UTC().Truncate(time.Second)}
	r.state.Issued = append(r.state.Issued, issue)
	return issue, creds, r.save()
}

// Temporary makes credentials that end by themselves, and are not listed: for
// somebody on this machine who could read the keys anyway. It returns ErrName or
// ErrKeys.
func (r *Realm) Temporary(role Role, name string, valid time.Duration, actions ...string) ([]byte, error) {
	token, err := checkName(role, name, actions)
	if err != nil {
		return nil, err
	}
	_, creds, err := r.make(role, token, actions, valid)
	return creds, err
}

// List returns every credential that was ever issued, oldest first.
func (r *Realm) List() []Issue { return slices.Clone(r.state.Issued) }

// Revoke ends a credential and returns it. Servers have to be told (Tell). It
// returns ErrUnknown if there is none that is valid, or ErrKeys.
func (r *Realm) Revoke(role Role, name string) (Issue, error) {
	unlock, err := r.change()
	if err != nil {
		return Issue{}, err
	}
	defer unlock()
	token := tokenOf(role, name)
	issue := r.find(role, token)
	if issue == nil {
		return Issue{}, fmt.Errorf("%w: %s %s; `reprise auth list` says what there is", ErrUnknown, role, name)
	}
	c, err := r.readAccount(role.account())
	if err != nil {
		return Issue{}, err
	}
	c.RevokeAt(issue.Key, r.now())
	keys, err := r.keys(operatorKey)
	if err != nil {
		return Issue{}, err
	}
	if err := r.writeAccount(c, keys); err != nil {
		return Issue{}, err
	}
	issue.Revoked = r.now().UTC().Truncate(time.Second)
	return *issue, r.save()
}

// change locks the realm and reads what others have written to it.
func (r *Realm) change() (unlock func(), err error) {
	unlock, err = r.lock()
	if err != nil {
		return nil, err
	}
	if err := r.load(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// find returns the valid credential of a name; nil if there is none.
func (r *Realm) find(role Role, token string) *Issue {
	for i := range r.state.Issued {
		if issue := &r.state.Issued[i]; issue.Role == role && issue.Name == token && issue.Valid() {
			return issue
		}
	}
	return nil
}

// tokenOf is how subjects name somebody.
func tokenOf(role Role, name string) string {
	if role == RoleUser {
		return contract.UserToken(name)
	}
	return name
}

func checkName(role Role, name string, actions []string) (token string, err error) {
	if !slices.Contains(Issued(), role) {
		return "", fmt.Errorf("%w: there is no role %q; there are user, worker, auditor and operator", ErrName, string(role))
	}
	token = tokenOf(role, name)
	if role == RoleUser {
		if _, err := contract.ParseUserToken(token); err != nil {
			return "", fmt.Errorf("%w: %.140q is no user; use 1 to %d bytes of UTF-8 without control characters", ErrName, name, domain.MaxUserLength)
		}
	} else if !domain.ValidID(name) {
		return "", fmt.Errorf("%w: %.80q is no name of a %s; use 1 to %d of A-Z a-z 0-9 _ -", ErrName, name, role, domain.MaxIDLength)
	}
	return token, checkActions(role, actions)
}

func checkActions(role Role, actions []string) error {
	if role != RoleWorker {
		if len(actions) > 0 {
			return fmt.Errorf("%w: actions are for workers, and this is %s", ErrName, role)
		}
		return nil
	}
	if len(actions) == 0 {
		return fmt.Errorf("%w: a worker needs the actions it may serve", ErrName)
	}
	for _, action := range actions {
		if !domain.ValidID(action) {
			return fmt.Errorf("%w: %.80q is no action; use 1 to %d of A-Z a-z 0-9 _ -", ErrName, action, domain.MaxIDLength)
		}
	}
	return nil
}

// make signs a new credential. It is valid for ever if valid is 0.
func (r *Realm) make(role Role, token string, actions []string, valid time.Duration) (key string, creds []byte, err error) {
	keys, err := r.keys(signerKey(role))
	if err != nil {
		return "", nil, err
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", nil, err
	}
	defer pair.Wipe()
	if key, err = pair.PublicKey(); err != nil {
		return "", nil, err
	}
	c := jwt.NewUserClaims(key)
	c.Name, c.IssuerAccount = token, r.Account(role)
	c.Tags.Add(clientTag)
	if valid > 0 {
		c.Expires = r.now().Add(valid).Unix()
	}
	if c.SetScoped(true); role == RoleWorker {
		c.SetScoped(false)
		c.Permissions, c.Subs = permissions(role, r.names, token, actions), maxSubscriptions
	}
	text, err := c.Encode(keys[signerKey(role)])
	if err != nil {
		return "", nil, fmt.Errorf("sign the credential of %s %s: %w", role, token, err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return "", nil, err
	}
	creds, err = jwt.FormatUserConfig(text, seed)
	return key, creds, err
}

// WriteCreds writes the .creds file of a credential into the realm's directory and
// returns its path. Only the owner of the file can read it.
func (r *Realm) WriteCreds(issue Issue, creds []byte) (path string, err error) {
	name := filepath.Join(credsDir, string(issue.Role)+"-"+issue.Name+".creds")
	return r.path(name), r.write(name, creds)
}
