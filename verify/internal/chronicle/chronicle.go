// Package chronicle is the judge of the tests from outside: it reads the event
// stream as any client may, checks of every commit that it follows the one before
// it, folds it, and says what acknowledged commands and stored views have to be.
package chronicle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// Chronicle is an event stream, verified and folded. It is for one goroutine.
type Chronicle struct {
	// Tales are the histories of the sessions.
	Tales map[eventstore.Key]*Tale
	// Commits are all that are stored, by view key and command id.
	Commits map[string]*domain.Commit
}

// Tale is the history of one session.
type Tale struct {
	Session *domain.Session
	// Seq and Hash are those of the last commit.
	Seq     uint64
	Hash    string
	Commits []*domain.Commit
}

// New returns a Chronicle without a commit.
func New() *Chronicle {
	return &Chronicle{Tales: map[eventstore.Key]*Tale{}, Commits: map[string]*domain.Commit{}}
}

// Add checks one commit, folds it and returns it, unless it can't be read. The
// error joins what is wrong with it.
func (c *Chronicle) Add(subject string, h nats.Header, body []byte, seq uint64) (*domain.Commit, error) {
	tokens := strings.Split(subject, ".")
	user, err := contract.ParseUserToken(tokens[2])
	if err != nil {
		return nil, err
	}
	key := eventstore.Key{User: user, Session: tokens[3]}
	committed, err := eventstore.Codec{}.Decode(eventstore.Message{Key: key, Seq: seq, Guarded: true, Body: body})
	if err != nil {
		return nil, err
	}
	known := c.Tales[key]
	if known == nil {
		known = &Tale{Session: domain.New(key.User, key.Session)}
		c.Tales[key] = known
	}
	commit, id := committed.Commit, key.String()+" "+committed.Commit.ID
	err = errors.Join(known.follows(h, commit), checkEnvelope(h, commit))
	if c.Commits[id] != nil {
		err = errors.Join(err, fmt.Errorf("command %s was committed twice", commit.ID))
	}
	c.Commits[id] = commit
	return commit, errors.Join(err, known.fold(commit, seq, eventstore.Hash(body)))
}

// Last returns the last commit of a session, nil if it has none.
func (s *Tale) Last() *domain.Commit {
	if len(s.Commits) == 0 {
		return nil
	}
	return s.Commits[len(s.Commits)-1]
}

// Gone reports whether a session ended with its tombstone.
func (s *Tale) Gone() bool { return s.Last() != nil && s.Last().Tombstone() != nil }

// follows checks guard, hash, version and time against the commit before. Of a
// session that was deleted only the tombstone is left.
func (s *Tale) follows(h nats.Header, commit *domain.Commit) error {
	guard, err := strconv.ParseUint(h.Get(contract.HeaderGuard), 10, 64)
	if err != nil {
		return fmt.Errorf("it carries no guard: %w", err)
	}
	last := s.Last()
	if last == nil && commit.Tombstone() != nil {
		return nil
	}
	if guard != s.Seq || commit.Prev != s.Hash || commit.Version != s.Session.Version+1 {
		return fmt.Errorf("version %d with guard %d and prev %.8s doesn't follow version %d at %d with hash %.8s",
			commit.Version, guard, commit.Prev, s.Session.Version, s.Seq, s.Hash)
	}
	if last != nil && commit.Time.Before(last.Time) {
		return fmt.Errorf("time runs backwards: %s after %s", commit.Time, last.Time)
	}
	return nil
}

// fold applies a commit.
func (s *Tale) fold(commit *domain.Commit, seq uint64, hash string) error {
	s.Session, s.Seq, s.Hash = domain.Apply(s.Session, commit), seq, hash
	s.Commits = append(s.Commits, commit)
	if commit.Tombstone() == nil && s.Session.State != commit.State {
		return fmt.Errorf("the fold is %s, the commit says %s", s.Session.State, commit.State)
	}
	return nil
}

// checkEnvelope looks at the headers that other programs read.
func checkEnvelope(h nats.Header, commit *domain.Commit) error {
	want := map[string]string{
		"ce-specversion": "1.0",
		"ce-type":        "reprise.commit.v1",
		"ce-subject":     contract.ViewKey(commit.User, commit.Session),
	}
	for name, value := range want {
		if h.Get(name) != value {
			return fmt.Errorf("header %s is %q, want %q", name, h.Get(name), value)
		}
	}
	for _, name := range []string{"ce-id", "ce-source", "ce-time"} {
		if h.Get(name) == "" {
			return fmt.Errorf("header %s is missing", name)
		}
	}
	types := "," + h.Get(contract.HeaderTypes) + ","
	for _, e := range commit.Events {
		if !strings.Contains(types, ","+string(e.Type())+",") {
			return fmt.Errorf("header %s is %q and doesn't name %s", contract.HeaderTypes, types, e.Type())
		}
	}
	return nil
}

// Holds returns why the reply to an accepted command doesn't fit the history; nil if
// it does. The id is the command's in Commits. Deleted sessions have no history left
// but their tombstone, which is later than all of it.
func (c *Chronicle) Holds(id string, reply contract.Reply) error {
	known := c.Tales[eventstore.Key{User: reply.User, Session: reply.Session}]
	if known == nil {
		return errors.New("its session has no history")
	}
	if known.Gone() && known.Last().LastVersion() >= reply.Version {
		return nil
	}
	commit := c.Commits[id]
	if commit == nil {
		return fmt.Errorf("it was acknowledged at version %d and is lost", reply.Version)
	}
	if commit.LastVersion() != reply.Version || commit.State != reply.State {
		return fmt.Errorf("it was acknowledged at version %d, %s; the history has %d, %s", reply.Version, reply.State, commit.LastVersion(), commit.State)
	}
	return nil
}
