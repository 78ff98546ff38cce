package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"reprise/contract"
)

// The questions a caller may ask of an error with errors.Is.
var (
	// ErrNotInitialised: there are no credentials in the directory.
	ErrNotInitialised = errors.New("authentication is not initialised")
	// ErrInitialised: there are some already.
	ErrInitialised = errors.New("authentication is initialised already")
	// ErrName: a name, role or action can't be used.
	ErrName = errors.New("not usable as a name")
	// ErrExists: the credential is there already.
	ErrExists = errors.New("the credential exists")
	// ErrUnknown: there is no such credential.
	ErrUnknown = errors.New("no such credential")
	// ErrKeys: a key is needed that is not in the directory.
	ErrKeys = errors.New("a key is missing")
	// ErrBusy: another process is changing the directory.
	ErrBusy = errors.New("the credentials are being changed by another process")
)

// Realm is what one engine's credentials hang on: an operator, five accounts, and
// what was issued. It lives in a directory. A Realm is not safe for concurrent
// use; processes that share a directory exclude each other.
type Realm struct {
	dir   string
	state state
	names contract.Names
	now   func() time.Time
}

// state is what the file of a realm says.
type state struct {
	Version int    `json:"version"`
	Prefix  string `json:"prefix"`
	// Operator and Accounts are public keys, the latter by the names of accounts.
	Operator string            `json:"operator"`
	Accounts map[string]string `json:"accounts"`
	// Joined says that operator and system account are another realm's.
	Joined bool    `json:"joined,omitempty"`
	Issued []Issue `json:"issued"`
}

// stateVersion is that of the file's form.
const stateVersion = 1

// Config says how a realm is made.
type Config struct {
	// Prefix is the first token of the engine's subjects; "reprise" if empty.
	Prefix string
	// Join is the directory of another realm whose operator and system account this
	// one shares, so that both can be on one server. Nothing crosses between them.
	Join string
	// Now returns the time; time.Now if nil.
	Now func() time.Time
}

// Init makes a realm in a directory, with all its keys. The directory is made if
// it is missing. It returns ErrInitialised if there is one, and ErrNotInitialised
// or ErrKeys if the one to join is not usable.
func Init(dir string, cfg Config) (*Realm, error) {
	names, err := contract.NewNames(cfg.Prefix)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrName, err)
	}
	r := &Realm{dir: dir, names: names, now: orNow(cfg.Now)}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r.initialised() {
		return nil, fmt.Errorf("%w in %s; `reprise auth list` says what was issued", ErrInitialised, dir)
	}
	keys, err := newKeys(cfg.Join)
	if err != nil {
		return nil, err
	}
	r.state = state{
		Version: stateVersion, Prefix: names.Prefix(), Operator: keys.public(operatorKey),
		Accounts: map[string]string{}, Issued: []Issue{}, Joined: cfg.Join != "",
	}
	return r, r.found(keys)
}

func orNow(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// newKeys makes all keys, but those of the realm that is joined.
func newKeys(join string) (keyring, error) {
	keys := keyring{}
	if join != "" {
		other, err := Open(join)
		if err != nil {
			return nil, err
		}
		if keys, err = other.keys(operatorKey, accountKey(accountSystem)); err != nil {
			return nil, err
		}
	}
	add := func(name string, makeKey func() (nkeys.KeyPair, error)) error {
		if keys[name] != nil {
			return nil
		}
		pair, err := makeKey()
		keys[name] = pair
		return err
	}
	errs := []error{add(operatorKey, nkeys.CreateOperator)}
	for _, name := range accountNames() {
		errs = append(errs, add(accountKey(name), nkeys.CreateAccount))
	}
	for _, role := range Roles() {
		errs = append(errs, add(signerKey(role), nkeys.CreateAccount))
	}
	return keys, errors.Join(errs...)
}

// found writes everything of a new realm; its file comes last and makes it valid.
func (r *Realm) found(keys keyring) error {
	for name, pair := range keys {
		if err := r.writeKey(name, pair); err != nil {
			return err
		}
	}
	operator := jwt.NewOperatorClaims(r.state.Operator)
	operator.Name, operator.SystemAccount = "reprise", keys.public(accountKey(accountSystem))
	text, err := operator.Encode(keys[operatorKey])
	if err != nil {
		return fmt.Errorf("sign the operator: %w", err)
	}
	if err := r.write(operatorFile, []byte(text)); err != nil {
		return err
	}
	for _, name := range accountNames() {
		r.state.Accounts[name] = keys.public(accountKey(name))
		c, err := claims(name, r.names, keys)
		if err != nil {
			return err
		}
		if err := r.writeAccount(c, keys); err != nil {
			return err
		}
	}
	if err := r.writeEngine(); err != nil {
		return err
	}
	return r.save()
}

// Open reads the realm of a directory. It returns ErrNotInitialised if there is
// none. Keys are read when they are needed, so a copy without them will do for a
// server or an engine.
func Open(dir string) (*Realm, error) {
	r := &Realm{dir: dir, now: time.Now}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// Dir returns the directory of the realm.
func (r *Realm) Dir() string { return r.dir }

// Names returns the names under the prefix for which the realm was made.
func (r *Realm) Names() contract.Names { return r.names }

// Account returns the public key of the account in which a role lives.
func (r *Realm) Account(role Role) string { return r.state.Accounts[role.account()] }

// Refresh makes the accounts anew that an earlier version of this program made
// from another table. Revocations stay. It needs the keys only if there are any
// such accounts, and returns ErrKeys then if they are not there.
func (r *Realm) Refresh() error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range accountNames() {
		old, err := r.readAccount(name)
		if err != nil {
			return err
		}
		if name == accountSystem || old.Tags.Contains(tableTag) {
			continue
		}
		if err := r.renew(name, old); err != nil {
			return fmt.Errorf("account %s was made by an earlier version and has to be made anew: %w", name, err)
		}
	}
	return nil
}

func (r *Realm) renew(name string, old *jwt.AccountClaims) error {
	keys, err := r.allKeys()
	if err != nil {
		return err
	}
	c, err := claims(name, r.names, keys)
	if err != nil {
		return err
	}
	c.Revocations = old.Revocations
	return r.writeAccount(c, keys)
}
