package contract

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"reprise/domain"
)

// DefaultPrefix is the first token of every subject of an engine that was not
// told another.
const DefaultPrefix = "reprise"

// Names makes every subject, stream and bucket name of one engine from its
// prefix. The zero value is not usable; see NewNames.
type Names struct{ prefix string }

// NewNames checks a prefix (a lower-case token of at most 32 characters; empty
// means DefaultPrefix) and returns its names.
func NewNames(prefix string) (Names, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	if len(prefix) > 32 || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return Names{}, fmt.Errorf("prefix %q: use 1 to 32 lower-case letters and digits", prefix)
	}
	return Names{prefix: prefix}, nil
}

// Default returns the names under DefaultPrefix.
func Default() Names { return Names{prefix: DefaultPrefix} }

// Prefix returns the first token of every subject.
func (n Names) Prefix() string { return n.prefix }

// Command returns the subject of a command: <prefix>.cmd.<user>.<session>.<verb>.
func (n Names) Command(user, session string, verb domain.Verb) string {
	return n.prefix + ".cmd." + UserToken(user) + "." + session + "." + string(verb)
}

// Queue returns the subject of a fire-and-forget command.
func (n Names) Queue(user, session string, verb domain.Verb) string {
	return n.prefix + ".queue." + UserToken(user) + "." + session + "." + string(verb)
}

// AdminCommand returns the subject of a command sent by an operator.
func (n Names) AdminCommand(operator, user, session string, verb domain.Verb) string {
	return n.prefix + ".adm." + operator + ".cmd." + UserToken(user) + "." + session + "." + string(verb)
}

// Query returns the subject of a query: <prefix>.qry.<user>.<name>.
func (n Names) Query(user, name string) string {
	return n.prefix + ".qry." + UserToken(user) + "." + name
}

// Admin returns the subject of an operator's request.
func (n Names) Admin(operator, name string) string { return n.prefix + ".adm." + operator + "." + name }

// Worker returns the subject of a worker's command:
// <prefix>.wrk.<worker>.<action>.<user>.<session>.<verb>.
func (n Names) Worker(worker, action, user, session string, verb domain.Verb) string {
	return n.prefix + ".wrk." + worker + "." + action + "." + UserToken(user) + "." + session + "." + string(verb)
}

// Work returns the subject of a task.
func (n Names) Work(action, user, session, chain, step string) string {
	return n.prefix + ".work." + action + "." + UserToken(user) + "." + session + "." + chain + "." + step
}

// Event returns the subject that holds the history of one session.
func (n Names) Event(user, session string) string {
	return n.prefix + ".evt." + UserToken(user) + "." + session
}

// Live returns the subject on which the commits of one session are republished.
func (n Names) Live(user, session string) string {
	return n.prefix + ".live." + UserToken(user) + "." + session
}

// Dead returns the subject of a queued command that was rejected.
func (n Names) Dead(user, session string, verb domain.Verb) string {
	return n.prefix + ".dead." + UserToken(user) + "." + session + "." + string(verb)
}

// EventsStream returns the name of the event stream; the names of streams are
// upper case: REPRISE_EVENTS and so on.
func (n Names) EventsStream() string { return strings.ToUpper(n.prefix) + "_EVENTS" }

// QueueStream returns the name of the stream of queued commands.
func (n Names) QueueStream() string { return strings.ToUpper(n.prefix) + "_QUEUE" }

// DeadStream returns the name of the stream of rejected queued commands.
func (n Names) DeadStream() string { return strings.ToUpper(n.prefix) + "_DEAD" }

// WorkStream returns the name of the stream of tasks.
func (n Names) WorkStream() string { return strings.ToUpper(n.prefix) + "_WORK" }

// LeaseStream returns the name of the stream of attempt leases.
func (n Names) LeaseStream() string { return strings.ToUpper(n.prefix) + "_LEASES" }

// SessionsBucket returns the name of the KV bucket of session views.
func (n Names) SessionsBucket() string { return n.prefix + "_sessions" }

// HistoryBucket returns the name of the KV bucket of history blocks: what long
// sessions keep so that their histories are read fast. It is derived.
func (n Names) HistoryBucket() string { return n.prefix + "_history" }

// ControlBucket returns the name of the KV bucket in which engines agree who
// holds the projections, timers and the queue.
func (n Names) ControlBucket() string { return n.prefix + "_control" }

// ViewKey returns the KV key of a session's view: <user>.<session>.
func ViewKey(user, session string) string { return UserToken(user) + "." + session }

// ErrUserToken says that a token is not the one name of a user.
var ErrUserToken = errors.New("not a user token: use 1-64 of A-Z a-z 0-9 _ -, or = and the user id in base64url without padding")

// ValidToken reports whether text is a legal id or action name: 1-64 of
// A-Z a-z 0-9 _ and -.
func ValidToken(text string) bool { return domain.ValidID(text) }

// UserToken writes a user id as one token of a subject: itself if it is a legal
// token, else "=" and its base64url without padding.
func UserToken(user string) string {
	if ValidToken(user) {
		return user
	}
	return "=" + base64.RawURLEncoding.EncodeToString([]byte(user))
}

// ParseUserToken reads a token written by UserToken. A token that UserToken
// would not have written is refused with ErrUserToken, so that no user has two
// names.
func ParseUserToken(token string) (string, error) {
	if ValidToken(token) {
		return token, nil
	}
	encoded, ok := strings.CutPrefix(token, "=")
	if !ok {
		return "", ErrUserToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	user := string(raw)
	if err != nil || ValidUser(user) != nil || UserToken(user) != token {
		return "", ErrUserToken
	}
	return user, nil
}

// ValidUser returns nil if user is a legal user id: 1-128 bytes of UTF-8
// without control characters.
func ValidUser(user string) error {
	switch {
	case user == "" || len(user) > domain.MaxUserLength:
		return fmt.Errorf("a user id has 1 to %d bytes, not %d", domain.MaxUserLength, len(user))
	case !utf8.ValidString(user):
		return errors.New("a user id is UTF-8 text")
	case strings.ContainsFunc(user, unicode.IsControl):
		return errors.New("a user id has no control characters")
	}
	return nil
}
