package natsnode

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// localAccount is the one account of a server without authentication, as the
// directory of its streams is named.
const localAccount = "$G"

// tlsPatience bounds the handshake of a client.
const tlsPatience = 5 * time.Second

// Auth makes an embedded server ask for credentials. All its fields are required.
type Auth struct {
	// Operator is the JWT of the operator that the server trusts.
	Operator string
	// System is the public key of the system account.
	System string
	// Accounts are JWTs of accounts by public key.
	Accounts map[string]string
	// Dir is where the server keeps the accounts, also those it is told of while it
	// runs; it is made if missing.
	Dir string
}

// apply sets the options of a server.
func (a *Auth) apply(opts *server.Options) error {
	operator, err := jwt.DecodeOperatorClaims(a.Operator)
	if err != nil {
		return problemf(ErrOptions, err, "%s: the operator's JWT is damaged: %s", ErrOptions, err)
	}
	resolver, err := server.NewDirAccResolver(a.Dir, 0, 0, server.NoDelete)
	if err != nil {
		return directoryProblem(a.Dir, "keep accounts there", err)
	}
	for key, text := range a.Accounts {
		if err := resolver.Store(key, text); err != nil {
			return directoryProblem(a.Dir, "write account "+key+" there", err)
		}
	}
	opts.TrustedOperators, opts.SystemAccount, opts.AccountResolver = []*jwt.OperatorClaims{operator}, a.System, resolver
	return nil
}

// secure sets what a server asks of its clients: credentials, and TLS.
func (o Options) secure(opts *server.Options) error {
	if o.TLS != nil {
		opts.TLSConfig, opts.TLS, opts.TLSTimeout = o.TLS, true, tlsPatience.Seconds()
		opts.TLSVerify = o.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	}
	if o.Auth == nil {
		return nil
	}
	return o.Auth.apply(opts)
}

// AdoptStreams gives the streams that a server without authentication stored in a
// data directory to an account, so that they are there when authentication is on.
// Nobody may serve the directory meanwhile. It does nothing if there are none, and
// returns ErrInUse, or ErrDirectory if the account has streams of its own.
func AdoptStreams(dataDir, account string) error {
	from := filepath.Join(dataDir, server.JetStreamStoreDir, localAccount)
	to := filepath.Join(dataDir, server.JetStreamStoreDir, account)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := takeLock(dataDir, time.Now())
	if err != nil {
		return err
	}
	if _, err = os.Stat(to); err == nil {
		err = directoryProblem(dataDir, "give its streams to an account", fmt.Errorf("both %s and %s are there", from, to))
	} else if err = os.Rename(from, to); err != nil {
		err = directoryProblem(dataDir, "give its streams to an account", err)
	}
	return errors.Join(err, lock.release())
}

// CredsName returns the name in the credentials that connecting would use, if
// `reprise auth` made them; else "".
func CredsName(r Remote) string {
	if r.Getenv == nil {
		r.Getenv = os.Getenv
	}
	settings, err := r.context()
	if err != nil {
		return ""
	}
	return nameIn(expandPath(settings.override(r.Getenv).Creds))
}

// nameIn returns the name in a .creds file that `reprise auth` made; else "".
// What is wrong with a file connecting says.
func nameIn(file string) string {
	body, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	text, err := jwt.ParseDecoratedJWT(body)
	if err != nil {
		return ""
	}
	claims, err := jwt.DecodeUserClaims(text)
	if err != nil || !claims.Tags.Contains("reprise") {
		return ""
	}
	return claims.Name
}

// inboxOf returns the option of a connection whose inboxes have to be those of the
// name in its credentials.
func inboxOf(file string) []nats.Option {
	name := nameIn(file)
	if name == "" {
		return nil
	}
	return []nats.Option{nats.CustomInboxPrefix("_INBOX." + name)}
}
