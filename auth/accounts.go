package auth

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"reprise/contract"
)

const (
	// pullThreshold is how long a request with several answers may wait for the
	// next one; a pull request waits for tasks.
	pullThreshold = 10 * time.Minute
	// maxSubscriptions bounds the subscriptions of one connection.
	maxSubscriptions = 1000
)

// keyring holds the keys with which accounts and credentials are signed, by the
// names of their files.
type keyring map[string]nkeys.KeyPair

// public returns a public key. The keys of a keyring always have one.
func (k keyring) public(name string) string {
	public, err := k[name].PublicKey()
	if err != nil {
		panic(fmt.Sprintf("auth: key %s has no public part: %v", name, err))
	}
	return public
}

func accountKey(name string) string { return "account-" + name }
func signerKey(role Role) string    { return "sign-" + string(role) }

const operatorKey = "operator"

// accountNames lists the accounts in the order in which they are shown.
func accountNames() []string {
	return []string{accountSystem, accountEngine, accountUsers, accountWorkers, accountAuditors}
}

// claims makes the account of a name from the table.
func claims(name string, n contract.Names, keys keyring) (*jwt.AccountClaims, error) {
	c := jwt.NewAccountClaims(keys.public(accountKey(name)))
	c.Name = n.Prefix() + "-" + name
	if name == accountSystem {
		c.Name = "SYS"
	}
	if name == accountEngine {
		c.Limits.JetStreamLimits = jwt.JetStreamLimits{
			MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
			MaxAckPending: jwt.NoLimit,
		}
		c.Exports = exports(n)
	} else if err := addImports(c, name, n, keys); err != nil {
		return nil, err
	}
	c.Tags.Add(tableTag)
	c.DefaultPermissions.Pub.Deny.Add(">")
	c.DefaultPermissions.Sub.Deny.Add(">")
	if name == accountSystem {
		c.DefaultPermissions = jwt.Permissions{}
	}
	addSigners(c, name, n, keys)
	keepFeedsClean(c, n)
	return c, nil
}

// forged and feedKind follow the prefix in the subjects of messages that only look
// as if they were of a feed, and of a feed.
const (
	forged   = ".forged."
	feedKind = ".live."
)

// keepFeedsClean sends what is published within an account on the subjects of its
// feeds elsewhere: an answer goes to whatever reply subject was named, and must
// not pass for a message of the feed.
func keepFeedsClean(c *jwt.AccountClaims, n contract.Names) {
	for _, i := range c.Imports {
		if i.Type == jwt.Stream {
			c.AddMapping(i.Subject, jwt.WeightedMapping{Subject: jwt.Subject(n.Prefix() + forged + "{{wildcard(1)}}.>")})
		}
	}
}

// addSigners lets the roles of an account have credentials. A worker's rights
// hang on its actions, which its own JWT has to list: its key signs for the
// workers' account, whose imports bound it.
func addSigners(c *jwt.AccountClaims, name string, n contract.Names, keys keyring) {
	for _, role := range Roles() {
		switch {
		case name == accountSystem || role.account() != name:
		case role == RoleWorker:
			c.SigningKeys.Add(keys.public(signerKey(role)))
		default:
			c.SigningKeys.AddScopedSigner(scope(role, n, keys))
		}
	}
}

// tableTag marks accounts that were made from this table.
var tableTag = fmt.Sprintf("table-%x", sha256.Sum256(fmt.Append(nil, table)))

// scope cuts what a signing key may sign to the rights of its role.
func scope(role Role, n contract.Names, keys keyring) jwt.Scope {
	s := jwt.NewUserScope()
	s.Key, s.Role = keys.public(signerKey(role)), string(role)
	s.Template.Permissions, s.Template.Subs = permissions(role, n, nameTemplate, nil), maxSubscriptions
	return s
}

func permissions(role Role, n contract.Names, name string, actions []string) jwt.Permissions {
	send, receive := granted(role, n, name, actions)
	var p jwt.Permissions
	p.Pub.Allow.Add(send...)
	p.Sub.Allow.Add(receive...)
	return p
}

// exports lists what crosses from the engine's account, once each and only for
// those with a token.
func exports(n contract.Names) jwt.Exports {
	var list jwt.Exports
	for _, r := range table {
		subject := jwt.Subject(r.crossed(n))
		if r.cross == inside || slices.ContainsFunc(list, func(e *jwt.Export) bool { return e.Subject == subject }) {
			continue
		}
		e := &jwt.Export{Name: string(subject), Subject: subject, Type: jwt.Service, ResponseType: jwt.ResponseTypeSingleton, TokenReq: true}
		switch r.cross {
		case many:
			e.ResponseType, e.ResponseThreshold = jwt.ResponseTypeStream, pullThreshold
		case feed:
			e.Type, e.ResponseType = jwt.Stream, ""
		case inside, single: // as it is
		}
		list = append(list, e)
	}
	return list
}

// addImports gives an account what its roles need of the engine's. Requests carry
// who sent them (share).
func addImports(c *jwt.AccountClaims, name string, n contract.Names, keys keyring) error {
	engine := keys.public(accountKey(accountEngine))
	for _, r := range table {
		if r.Role.account() != name || r.cross == inside {
			continue
		}
		i := &jwt.Import{
			Name: r.crossed(n), Subject: jwt.Subject(r.crossed(n)), Account: engine, Type: jwt.Service, Share: true,
		}
		if r.cross == feed {
			i.Type, i.Share = jwt.Stream, false
		}
		token := jwt.NewActivationClaims(c.Subject)
		token.Name, token.ImportSubject, token.ImportType = i.Name, i.Subject, i.Type
		var err error
		if i.Token, err = token.Encode(keys[accountKey(accountEngine)]); err != nil {
			return fmt.Errorf("let account %s use %s: %w", name, i.Subject, err)
		}
		c.Imports = append(c.Imports, i)
	}
	return nil
}

// sign checks an account and signs it for the server.
func sign(c *jwt.AccountClaims, keys keyring) (string, error) {
	result := jwt.CreateValidationResults()
	c.Validate(result)
	for _, issue := range result.Issues {
		if issue.Blocking {
			return "", fmt.Errorf("account %s: %s", c.Name, issue.Description)
		}
	}
	return c.Encode(keys[operatorKey])
}
