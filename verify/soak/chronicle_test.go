package soak

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// chronicle is the event stream, verified and folded.
type chronicle struct {
	tales map[eventstore.Key]*tale
	// commits are all that are stored, by view key and command id.
	commits map[string]*domain.Commit
	// claims and takings are what became of attempts.
	claims  map[attemptKey]string
	takings map[attemptKey]time.Time
	// finished are attempts that ended by their worker's own result.
	finished map[attemptKey]domain.EventType
	events   map[domain.EventType]int
	errs     []error
}

// tale is the history of one session.
type tale struct {
	session *domain.Session
	seq     uint64
	hash    string
	last    *domain.Commit
}

// stepKey names a step, attemptKey one attempt of it.
type (
	stepKey    struct{ user, session, chain, step string }
	attemptKey struct {
		stepKey
		attempt int
	}
)

func newChronicle() *chronicle {
	return &chronicle{
		tales: map[eventstore.Key]*tale{}, commits: map[string]*domain.Commit{},
		claims: map[attemptKey]string{}, takings: map[attemptKey]time.Time{},
		finished: map[attemptKey]domain.EventType{}, events: map[domain.EventType]int{},
	}
}

// readEvents reads the whole event stream.
func readEvents(js jetstream.JetStream, names contract.Names) (*chronicle, error) {
	c := newChronicle()
	return c, eachMessage(js, names.EventsStream(), c.add)
}

// eachMessage reads what a stream holds now.
func eachMessage(js jetstream.JetStream, name string, do func(jetstream.Msg, uint64)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	if stream.CachedInfo().State.Msgs == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		do(msg, meta.Sequence.Stream)
		if meta.NumPending == 0 {
			return nil
		}
	}
}

// add checks one commit, folds it and keeps what went wrong.
func (c *chronicle) add(msg jetstream.Msg, seq uint64) {
	if err := c.tell(msg, seq); err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s, sequence %d: %w", msg.Subject(), seq, err))
	}
}

func (c *chronicle) tell(msg jetstream.Msg, seq uint64) error {
	tokens := strings.Split(msg.Subject(), ".")
	user, err := contract.ParseUserToken(tokens[2])
	if err != nil {
		return err
	}
	key := eventstore.Key{User: user, Session: tokens[3]}
	committed, err := eventstore.Codec{}.Decode(eventstore.Message{Key: key, Seq: seq, Guarded: true, Body: msg.Data()})
	if err != nil {
		return err
	}
	known := c.tales[key]
	if known == nil {
		known = &tale{session: domain.New(key.User, key.Session)}
		c.tales[key] = known
	}
	commit, id := committed.Commit, key.String()+" "+committed.Commit.ID
	err = known.follows(msg.Headers(), commit)
	if c.commits[id] != nil {
		err = errors.Join(err, fmt.Errorf("command %s was committed twice", commit.ID))
	}
	c.commits[id] = commit
	for _, e := range commit.Events {
		c.events[e.Type()]++
		err = errors.Join(err, c.attempt(key, commit, e))
	}
	return errors.Join(err, known.fold(commit, seq, eventstore.Hash(msg.Data())))
}

// follows checks guard, hash, version and time against the commit before. Of a
// session that was deleted only the tombstone is left.
func (s *tale) follows(h nats.Header, commit *domain.Commit) error {
	guard, err := strconv.ParseUint(h.Get(contract.HeaderGuard), 10, 64)
	if err != nil {
		return fmt.Errorf("it carries no guard: %w", err)
	}
	if s.last == nil && commit.Tombstone() != nil {
		return nil
	}
	if guard != s.seq || commit.Prev != s.hash || commit.Version != s.session.Version+1 {
		return fmt.Errorf("version %d with guard %d and prev %.8s doesn't follow version %d at %d with hash %.8s",
			commit.Version, guard, commit.Prev, s.session.Version, s.seq, s.hash)
	}
	if s.last != nil && commit.Time.Before(s.last.Time) {
		return fmt.Errorf("time runs backwards: %s after %s", commit.Time, s.last.Time)
	}
	return nil
}

// fold applies a commit.
func (s *tale) fold(commit *domain.Commit, seq uint64, hash string) error {
	s.session, s.seq, s.hash, s.last = domain.Apply(s.session, commit), seq, hash, commit
	if commit.Tombstone() == nil && s.session.State != commit.State {
		return fmt.Errorf("the fold is %s, the commit says %s", s.session.State, commit.State)
	}
	return nil
}

// attempt notes what an event says about an attempt: by the events alone none
// starts twice, none while an earlier one is still on, and each ends once.
func (c *chronicle) attempt(key eventstore.Key, commit *domain.Commit, event domain.Event) error {
	chain, step := event.About()
	at := attemptKey{stepKey: stepKey{key.User, key.Session, chain, step}}
	switch e := event.(type) {
	case *domain.StepStarted:
		at.attempt = e.Attempt
		return c.started(at, e.Worker)
	case *domain.StepSucceeded:
		at.attempt = e.Attempt
		return c.ended(at, e.Worker, e.Type())
	case *domain.StepFailed:
		at.attempt = e.Attempt
		return c.ended(at, e.Worker, e.Type())
	case *domain.StepTimedOut:
		at.attempt = e.Attempt
		c.takings[at] = commit.Time
		return c.ended(at, e.Worker, e.Type())
	case *domain.StepReleased:
		at.attempt = e.Attempt
		c.takings[at] = commit.Time
		return c.ended(at, "", e.Type())
	}
	return nil
}

func (c *chronicle) started(at attemptKey, worker string) error {
	if _, twice := c.claims[at]; twice {
		return fmt.Errorf("attempt %v was claimed twice", at)
	}
	before := at
	before.attempt--
	_, claimed := c.claims[before]
	if _, over := c.finished[before]; claimed && !over {
		return fmt.Errorf("attempt %v began before %v was over", at, before)
	}
	c.claims[at] = worker
	return nil
}

// ended notes the end of an attempt; a manual step has attempts nobody claimed.
func (c *chronicle) ended(at attemptKey, worker string, how domain.EventType) error {
	claimant, claimed := c.claims[at]
	if !claimed {
		return nil
	}
	if first, twice := c.finished[at]; twice {
		return fmt.Errorf("attempt %v ended as %s and as %s", at, first, how)
	}
	c.finished[at] = how
	if worker != "" && worker != claimant {
		return fmt.Errorf("attempt %v of %s was ended by %s", at, claimant, worker)
	}
	return nil
}
