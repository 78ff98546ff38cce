package engine

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// The second token of a subject says what it is for.
const (
	forCommand  = "cmd"
	forQuery    = "qry"
	forWorker   = "wrk"
	forOperator = "adm"
	forQueue    = "queue"
)

// maxLease bounds the lease a worker may ask for.
const maxLease = domain.Duration(time.Hour)

// headerRequestInfo is what the server itself puts on a request that came over
// a shared service import; every other header of the server's is refused.
const headerRequestInfo = "Nats-Request-Info"

// address is what the subject of a command says.
type address struct {
	key  eventstore.Key
	verb domain.Verb
	// actor is the authenticated sender: the user, the operator or the worker.
	actor          string
	worker, action string
	// sender is the part of the subject that names the actor and what kind of one
	// that is.
	sender string
}

// The verbs by who may send them.
var (
	userVerbs     = verbSet(domain.UserVerbs())
	operatorVerbs = verbSet(append(domain.UserVerbs(), domain.OperatorVerbs()...))
	workerVerbs   = verbSet(domain.WorkerVerbs())
)

func verbSet(verbs []domain.Verb) map[domain.Verb]bool {
	set := make(map[domain.Verb]bool, len(verbs))
	for _, v := range verbs {
		set[v] = true
	}
	return set
}

// cutToken returns the first token of a subject and the rest.
func cutToken(subject string) (token, rest string) {
	token, rest, _ = strings.Cut(subject, ".")
	return token, rest
}

// senderIn returns the first two tokens of the end of a subject: what kind of
// sender, and who.
func senderIn(rest string) string {
	kind, more := cutToken(rest)
	who, _ := cutToken(more)
	return rest[:min(len(kind)+1+len(who), len(rest))]
}

// parseAddress reads the subject of a command: of a user, of an operator, of a
// worker or of the queue. The error is a *domain.Rejection.
func parseAddress(subject string) (address, error) {
	_, rest := cutToken(subject)
	sender := senderIn(rest)
	kind, rest := cutToken(rest)
	a, verbs := address{sender: sender}, userVerbs
	switch kind {
	case forOperator:
		var cmd string
		verbs = operatorVerbs
		a.actor, rest = cutToken(rest)
		if cmd, rest = cutToken(rest); cmd != forCommand {
			return a, domain.Invalid("subject", "%.120q is no subject for operators; write <prefix>.adm.<operator>.cmd.<user>.<session>.<verb>", subject)
		}
	case forWorker:
		verbs = workerVerbs
		a.worker, rest = cutToken(rest)
		a.action, rest = cutToken(rest)
		a.actor = a.worker
		if !domain.ValidID(a.action) {
			return a, badToken("action", a.action)
		}
	}
	if kind == forOperator && !domain.ValidID(a.actor) || kind == forWorker && !domain.ValidID(a.worker) {
		return a, badToken("sender", a.actor)
	}
	return a.parseTarget(rest, kind, verbs)
}

// parseTarget reads the end of the subject: <user>.<session>.<verb>.
func (a address) parseTarget(rest, kind string, verbs map[domain.Verb]bool) (address, error) {
	token, rest := cutToken(rest)
	session, verb := cutToken(rest)
	user, err := contract.ParseUserToken(token)
	if err != nil {
		return a, domain.Invalid("user", "%.160q is %v", token, err)
	}
	if !domain.ValidID(session) {
		return a, badToken("session", session)
	}
	a.key, a.verb = eventstore.Key{User: user, Session: session}, domain.Verb(verb)
	if kind == forCommand || kind == forQueue {
		a.actor = user
	}
	if !verbs[a.verb] {
		return a, wrongVerb(a.verb, kind, verbs)
	}
	return a, nil
}

func badToken(field, token string) *domain.Rejection {
	return domain.Invalid(field, "%.80q is no id; use 1 to %d of A-Z a-z 0-9 _ -", token, domain.MaxIDLength)
}

// wrongVerb says that a verb is somebody else's, or that there is none.
func wrongVerb(verb domain.Verb, kind string, verbs map[domain.Verb]bool) error {
	switch {
	case operatorVerbs[verb] && !userVerbs[verb]:
		return domain.Reject(domain.CodeNotAllowed, domain.StateNone, "%s is for operators; they send it on <prefix>.adm.<operator>.cmd.<user>.<session>.%s", verb, verb)
	case workerVerbs[verb]:
		return domain.Reject(domain.CodeNotAllowed, domain.StateNone, "%s is for workers; they send it on <prefix>.wrk.<worker>.<action>.<user>.<session>.%s", verb, verb)
	case kind == forWorker && userVerbs[verb]:
		return domain.Reject(domain.CodeNotAllowed, domain.StateNone, "%s is not for workers; send it on <prefix>.cmd.<user>.<session>.%s", verb, verb)
	}
	names := make([]string, 0, len(verbs))
	for _, list := range [][]domain.Verb{domain.UserVerbs(), domain.OperatorVerbs(), domain.WorkerVerbs()} {
		for _, v := range list {
			if verbs[v] {
				names = append(names, string(v))
			}
		}
	}
	return domain.Invalid("verb", "there is no command %.80q; there are %s", string(verb), strings.Join(names, ", "))
}

// foreign says why a message is not to be looked at: it carries a header that
// only the server writes. It is "" for a message that may be.
func foreign(header nats.Header) string {
	for name := range header {
		switch {
		case name == "Status" || name == "Description":
			return "it carries a status line"
		case hasPrefixFold(name, "Nats-") && name != headerRequestInfo:
			return "it carries the header " + name
		}
	}
	return ""
}

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

// readHeader fills in what the headers say. Headers that begin with Reprise-
// and are not known are rejected by name.
func (r *Request) readHeader(header nats.Header) error {
	if ids := header[contract.HeaderCommandID]; len(ids) == 1 && domain.ValidCommandID(ids[0]) {
		r.ID = ids[0] // first of all, so that every answer can name it
	}
	for name, values := range header {
		if name == contract.HeaderTraceParent && len(values) > 0 {
			r.TraceParent = values[0]
		}
		if !hasPrefixFold(name, "Reprise-") {
			continue
		}
		if len(values) != 1 {
			return domain.Invalid(name, "give the header once, not %d times", len(values))
		}
		if err := r.setHeader(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) setHeader(name, value string) error {
	switch name {
	case contract.HeaderCommandID:
		if !domain.ValidCommandID(value) {
			return domain.Invalid(name, "%.80q is no command id; use 1 to %d printable ASCII characters without spaces", value, domain.MaxCommandIDLength)
		}
		r.ID = value
	case contract.HeaderExpectVersion:
		version, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return domain.Invalid(name, "%.40q is no version; write a whole number", value)
		}
		r.Expect = &version
	case contract.HeaderDryRun:
		dry, err := strconv.ParseBool(value)
		if err != nil {
			return domain.Invalid(name, "%.40q is neither true nor false", value)
		}
		r.DryRun = dry
	default:
		return domain.Invalid(name, "there is no header %.80q for commands; there are %s, %s and %s",
			name, contract.HeaderCommandID, contract.HeaderExpectVersion, contract.HeaderDryRun)
	}
	return nil
}

// newRequest reads all of a command but its body. The id is set whenever it
// could be read, so that also an error can name it.
func newRequest(subject string, header nats.Header, now time.Time) (Request, address, error) {
	r := Request{}
	if err := r.readHeader(header); err != nil {
		return r, address{}, err
	}
	a, err := parseAddress(subject)
	if err != nil {
		return r, a, err
	}
	if r.ID == "" {
		r.ID = newCommandID(now)
	}
	r.Key, r.Verb, r.Actor = a.key, a.verb, a.actor
	if a.key.Session == reservedSession && makesSession(a.verb) {
		r.Key.Session = derivedID("create", a.key.User, r.ID)
	}
	return r, a, nil
}

// makesSession reports whether a verb may be sent to the session "new".
func makesSession(verb domain.Verb) bool {
	return verb == domain.VerbCreate || verb == domain.VerbBatch
}

// readBody decodes the body and puts in what the subject says of the worker.
func (r *Request) readBody(a address, body []byte) error {
	command, err := domain.DecodeCommand(r.Verb, body)
	if err != nil {
		return err
	}
	switch c := command.(type) {
	case *domain.Claim:
		c.Worker, c.Action, c.Lease = a.worker, a.action, min(c.Lease, maxLease)
	case *domain.Heartbeat:
		c.Worker, c.Action = a.worker, a.action
	case *domain.Succeed:
		c.Worker, c.Action, c.Lease = a.worker, a.action, min(c.Lease, maxLease)
	case *domain.Fail:
		c.Worker, c.Action = a.worker, a.action
	case *domain.Release:
		c.Worker, c.Action = a.worker, a.action
	}
	r.Command, r.Digest = command, domain.Digest(r.Verb, body)
	return nil
}

// other returns the second session that a command is about, which is named in
// its body; false if there is none. The body has to be read.
func (r *Request) other() (eventstore.Key, bool) {
	switch c := r.Command.(type) {
	case *domain.Fork:
		return forkKey(r.Key, c, r.ID), true
	case *domain.MoveChain:
		return eventstore.Key{User: r.Key.User, Session: c.To}, c.To != "" && c.To != r.Key.Session
	}
	return eventstore.Key{}, false
}
