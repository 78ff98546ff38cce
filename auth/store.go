package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"reprise/contract"
)

// The files of a realm. All of them can be read by their owner alone.
const (
	stateFile    = "auth.json"
	operatorFile = "operator.jwt"
	lockFile     = "lock"
	keyDir       = "keys"
	accountDir   = "accounts"
	credsDir     = "creds"
	// serverDir is where an embedded server keeps the accounts it was told of.
	serverDir = "server"

	filePerm = 0o600
	dirPerm  = 0o700
)

// How long a process waits for another one that changes the same realm.
const (
	lockPatience = 5 * time.Second
	lockPause    = 20 * time.Millisecond
)

func (r *Realm) path(parts ...string) string {
	return filepath.Join(append([]string{r.dir}, parts...)...)
}

// prepare makes the directories.
func (r *Realm) prepare() error {
	for _, dir := range []string{"", keyDir, accountDir, credsDir, serverDir} {
		if err := os.MkdirAll(r.path(dir), dirPerm); err != nil {
			return fmt.Errorf("make a directory for credentials: %w", err)
		}
	}
	return nil
}

// lock keeps other processes from changing the realm until unlock.
func (r *Realm) lock() (unlock func(), err error) {
	path := r.path(lockFile)
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPause) {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, filePerm)
		if err == nil {
			return func() { _ = os.Remove(path) }, file.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("change %s: %w", r.dir, err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w; if there is none, remove %s", ErrBusy, path)
		}
	}
}

// write replaces a file at once: readers see the old or the new one.
func (r *Realm) write(name string, body []byte) error {
	path := r.path(name)
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = temporary.Write(body)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (r *Realm) initialised() bool {
	_, err := os.Stat(r.path(stateFile))
	return err == nil
}

// Initialised reports whether a directory holds a realm.
func Initialised(dir string) bool { return (&Realm{dir: dir}).initialised() }

func (r *Realm) save() error {
	body, err := json.MarshalIndent(r.state, "", "  ")
	if err != nil {
		return err
	}
	return r.write(stateFile, append(body, '\n'))
}

func (r *Realm) load() error {
	body, err := os.ReadFile(r.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w in %s; `reprise auth init` does that", ErrNotInitialised, r.dir)
	}
	if err != nil {
		return fmt.Errorf("read the credentials in %s: %w", r.dir, err)
	}
	r.state = state{}
	if err := json.Unmarshal(body, &r.state); err != nil {
		return fmt.Errorf("%s is not what `reprise auth init` writes: %w", r.path(stateFile), err)
	}
	if r.state.Version != stateVersion {
		return fmt.Errorf("%s has version %d, and this program knows %d; use the program that wrote it", r.path(stateFile), r.state.Version, stateVersion)
	}
	r.names, err = contract.NewNames(r.state.Prefix)
	return err
}

func (r *Realm) writeKey(name string, pair nkeys.KeyPair) error {
	seed, err := pair.Seed()
	if err != nil {
		return fmt.Errorf("key %s: %w", name, err)
	}
	return r.write(filepath.Join(keyDir, name+".nk"), seed)
}

// keys reads keys by name.
func (r *Realm) keys(names ...string) (keyring, error) {
	keys := keyring{}
	for _, name := range names {
		path := r.path(keyDir, name+".nk")
		seed, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %s can't be read; run this where `reprise auth init` ran", ErrKeys, path)
		}
		keys[name], err = nkeys.FromSeed(seed)
		clear(seed)
		if err != nil {
			return nil, fmt.Errorf("%w: %s holds no key", ErrKeys, path)
		}
	}
	return keys, nil
}

// allKeys reads every key of the realm.
func (r *Realm) allKeys() (keyring, error) {
	accounts, roles := accountNames(), Roles()
	names := make([]string, 0, 1+len(accounts)+len(roles))
	names = append(names, operatorKey)
	for _, name := range accounts {
		names = append(names, accountKey(name))
	}
	for _, role := range roles {
		names = append(names, signerKey(role))
	}
	return r.keys(names...)
}

// writeAccount signs an account and writes it.
func (r *Realm) writeAccount(c *jwt.AccountClaims, keys keyring) error {
	text, err := sign(c, keys)
	if err != nil {
		return err
	}
	return r.write(filepath.Join(accountDir, c.Subject+".jwt"), []byte(text))
}

func (r *Realm) accountText(name string) (string, error) {
	body, err := os.ReadFile(r.path(accountDir, r.state.Accounts[name]+".jwt"))
	if err != nil {
		return "", fmt.Errorf("read account %s: %w", name, err)
	}
	return string(body), nil
}

func (r *Realm) readAccount(name string) (*jwt.AccountClaims, error) {
	text, err := r.accountText(name)
	if err != nil {
		return nil, err
	}
	c, err := jwt.DecodeAccountClaims(text)
	if err != nil {
		return nil, fmt.Errorf("account %s in %s is damaged: %w", name, r.dir, err)
	}
	return c, nil
}
