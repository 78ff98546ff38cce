package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// chronicle is the event stream, verified and folded.
type chronicle struct {
	sessions map[eventstore.Key]*tale
	// commits are all that are stored, by session and command id.
	commits map[string]*domain.Commit
}

// tale is the history of one session.
type tale struct {
	session *domain.Session
	seq     uint64
	hash    string
	commits []*domain.Commit
}

func newChronicle() *chronicle {
	return &chronicle{sessions: map[eventstore.Key]*tale{}, commits: map[string]*domain.Commit{}}
}

// readEvents reads the whole event stream as any client may, and checks of
// every commit that it follows the one before it.
func readEvents(t *testing.T, p *peer) *chronicle {
	t.Helper()
	c := newChronicle()
	stream, err := p.stream(t).Stream(bounded(t), p.names.EventsStream())
	if err != nil {
		t.Fatal(err)
	}
	if stream.CachedInfo().State.Msgs == 0 {
		return c
	}
	consumer, err := stream.OrderedConsumer(bounded(t), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.add(msg.Subject(), msg.Headers(), msg.Data(), meta.Sequence.Stream); err != nil {
			t.Errorf("%s, sequence %d: %v", msg.Subject(), meta.Sequence.Stream, err)
		}
		if meta.NumPending == 0 {
			return c
		}
	}
}

// add checks one commit and folds it.
func (c *chronicle) add(subject string, h nats.Header, body []byte, seq uint64) error {
	tokens := strings.Split(subject, ".")
	user, err := contract.ParseUserToken(tokens[2])
	if err != nil {
		return err
	}
	key := eventstore.Key{User: user, Session: tokens[3]}
	known := c.sessions[key]
	if known == nil {
		known = &tale{session: domain.New(key.User, key.Session)}
		c.sessions[key] = known
	}
	m := eventstore.Message{Key: key, Seq: seq, Guarded: true, Body: body}
	committed, err := eventstore.Codec{}.Decode(m)
	if err != nil {
		return err
	}
	commit := committed.Commit
	if err := errors.Join(known.follows(h, commit), checkEnvelope(h, commit)); err != nil {
		return err
	}
	id := key.String() + " " + commit.ID
	if c.commits[id] != nil {
		return fmt.Errorf("command %s was committed twice", commit.ID)
	}
	c.commits[id] = commit
	return known.tell(commit, seq, eventstore.Hash(body))
}

// follows checks guard, hash and version against the commit before. Of a
// session that was deleted only the tombstone is left.
func (s *tale) follows(h nats.Header, commit *domain.Commit) error {
	guard, err := strconv.ParseUint(h.Get(contract.HeaderGuard), 10, 64)
	if err != nil {
		return fmt.Errorf("it carries no guard: %w", err)
	}
	if len(s.commits) == 0 && commit.Tombstone() != nil {
		return nil
	}
	if guard != s.seq || commit.Prev != s.hash || commit.Version != s.session.Version+1 {
		return fmt.Errorf("version %d with guard %d and prev %.8s doesn't follow version %d at %d with hash %.8s",
			commit.Version, guard, commit.Prev, s.session.Version, s.seq, s.hash)
	}
	if len(s.commits) > 0 && commit.Time.Before(s.session.UpdatedAt) {
		return fmt.Errorf("time runs backwards: %s after %s", commit.Time, s.session.UpdatedAt)
	}
	return nil
}

// tell folds a commit.
func (s *tale) tell(commit *domain.Commit, seq uint64, hash string) error {
	s.session, s.seq, s.hash = domain.Apply(s.session, commit), seq, hash
	s.commits = append(s.commits, commit)
	if commit.Tombstone() == nil && s.session.State != commit.State {
		return fmt.Errorf("the fold is %s, the commit says %s", s.session.State, commit.State)
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

// view is the JSON of a session's view.
type view struct {
	Schema int    `json:"schema"`
	Seq    uint64 `json:"seq"`
	Hash   string `json:"hash"`
	*domain.Session
}

// view makes the view that a tale must have; nil if it must have none.
func (s *tale) view() ([]byte, error) {
	if !s.session.Exists() {
		return nil, nil
	}
	kept := *s.session
	kept.Recent = kept.Recent[max(0, len(kept.Recent)-domain.RecentMin):]
	return domain.Marshal(view{Schema: eventstore.SchemaVersion, Seq: s.seq, Hash: s.hash, Session: &kept})
}

// awaitViews waits until the bucket holds the view of every session that exists,
// byte for byte the fold of its events, and of no other.
func awaitViews(t *testing.T, p *peer, c *chronicle) {
	t.Helper()
	kv := p.views(t)
	want := map[string][]byte{}
	for key, told := range c.sessions {
		raw, err := told.view()
		if err != nil {
			t.Fatal(err)
		}
		if raw != nil {
			want[key.String()] = raw
		}
	}
	eventually(t, func() error { return sameViews(t, kv, want) })
}

func sameViews(t *testing.T, kv jetstream.KeyValue, want map[string][]byte) error {
	t.Helper()
	watcher, err := kv.WatchAll(bounded(t), jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	seen := 0
	for entry := range watcher.Updates() {
		if entry == nil {
			break
		}
		if strings.HasPrefix(entry.Key(), "_") {
			continue // the projection's own notes
		}
		if expected := want[entry.Key()]; !bytes.Equal(entry.Value(), expected) {
			return fmt.Errorf("the view %s is\n%s\nthe events say\n%s", entry.Key(), entry.Value(), expected)
		}
		seen++
	}
	if seen != len(want) {
		return fmt.Errorf("there are %d views; the events say %d", seen, len(want))
	}
	return nil
}

// key names a session.
func key(user, session string) eventstore.Key { return eventstore.Key{User: user, Session: session} }
