package engine

import (
	"encoding/json"
	"sync"

	"github.com/nats-io/nats.go"
)

// Accounts are the public keys of the server's accounts from which requests come.
// With them the engine believes nobody but the server about who sent a request;
// what comes from elsewhere is dropped and logged. Operators are in the account of
// the engine, where the server's permissions cut subjects to their names.
type Accounts struct {
	Users, Workers, Auditors string

	senders senders
}

// importedInbox begins the subjects on which the server wants answers for other
// accounts.
const importedInbox = "_R_."

// inboxes are the prefixes of the subjects to which answers may go; nil for the
// default.
func (a *Accounts) inboxes() []string {
	if a == nil {
		return nil
	}
	return []string{importedInbox, defaultInbox}
}

// sender is what the server says of the connection that sent a request.
type sender struct {
	Account string `json:"acc"`
	Name    string `json:"name_tag"`
}

// impostor says why a request is not from whom its subject names; "" if it is.
func (a *Accounts) impostor(subject string, header nats.Header) string {
	if a == nil {
		return ""
	}
	_, rest := cutToken(subject)
	kind, rest := cutToken(rest)
	name, _ := cutToken(rest)
	from, known := a.senders.of(header)
	switch kind {
	case forCommand, forQueue:
		known = known && from == sender{a.Users, name}
	case forWorker:
		known = known && from == sender{a.Workers, name}
	case forQuery:
		// Operators ask from within the engine's account.
		known = header[headerRequestInfo] == nil || known && (from == sender{a.Users, name} || from.Account == a.Auditors)
	case forOperator:
		known = header[headerRequestInfo] == nil
	default:
		known = false
	}
	if known {
		return ""
	}
	return "the server does not say that it is from " + name
}

// senderOf reads what the server wrote; false if it wrote nothing, or somebody
// else did too.
func senderOf(header nats.Header) (sender, bool) {
	info := header[headerRequestInfo]
	if len(info) != 1 {
		return sender{}, false
	}
	var from sender
	err := json.Unmarshal([]byte(info[0]), &from)
	return from, err == nil && from.Account != "" && from.Name != ""
}

// maxSenders is how many connections' headers are remembered.
const maxSenders = 4096

// senders remembers what the server's header says, since it is the same for every
// request of a connection. It is safe for concurrent use.
type senders struct {
	mu    sync.Mutex
	known map[string]sender
}

// of is senderOf, from memory if it can be.
func (s *senders) of(header nats.Header) (sender, bool) {
	info := header[headerRequestInfo]
	if len(info) != 1 {
		return sender{}, false
	}
	s.mu.Lock()
	from, ok := s.known[info[0]]
	s.mu.Unlock()
	if ok {
		return from, true
	}
	if from, ok = senderOf(header); !ok {
		return from, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxSenders {
		s.known = make(map[string]sender)
	}
	s.known[info[0]] = from
	return from, true
}
