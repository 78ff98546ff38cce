package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/verify/internal/chronicle"
)

// ledger is the event stream, verified and folded, and what became of attempts.
type ledger struct {
	*chronicle.Chronicle

	claims  map[attemptKey]string
	takings map[attemptKey]time.Time
	// finished are attempts that ended by their worker's own result.
	finished map[attemptKey]domain.EventType
	events   map[domain.EventType]int
	errs     []error
}

// stepKey names a step, attemptKey one attempt of it.
type (
	stepKey    struct{ user, session, chain, step string }
	attemptKey struct {
		stepKey
		attempt int
	}
)

func newLedger() *ledger {
	return &ledger{
		Chronicle: chronicle.New(), claims: map[attemptKey]string{}, takings: map[attemptKey]time.Time{},
		finished: map[attemptKey]domain.EventType{}, events: map[domain.EventType]int{},
	}
}

// readEvents reads the whole event stream.
func readEvents(js jetstream.JetStream, names contract.Names) (*ledger, error) {
	c := newLedger()
	return c, eachMessage(js, names.EventsStream(), c.add)
}

// eachMessage reads what a stream holds now.
func eachMessage(js jetstream.JetStream, name string, do func(jetstream.Msg, uint64)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return chronicle.Each(ctx, js, name, patience, func(msg jetstream.Msg, seq uint64) error {
		do(msg, seq)
		return nil
	})
}

// add checks one commit, folds it and keeps what went wrong.
func (c *ledger) add(msg jetstream.Msg, seq uint64) {
	commit, err := c.Add(msg.Subject(), msg.Headers(), msg.Data(), seq)
	if commit != nil {
		for _, e := range commit.Events {
			c.events[e.Type()]++
			err = errors.Join(err, c.attempt(eventstore.Key{User: commit.User, Session: commit.Session}, commit, e))
		}
	}
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s, sequence %d: %w", msg.Subject(), seq, err))
	}
}

// attempt notes what an event says about an attempt: by the events alone none
// starts twice, none while an earlier one is still on, and each ends once.
func (c *ledger) attempt(key eventstore.Key, commit *domain.Commit, event domain.Event) error {
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

func (c *ledger) started(at attemptKey, worker string) error {
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
func (c *ledger) ended(at attemptKey, worker string, how domain.EventType) error {
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
