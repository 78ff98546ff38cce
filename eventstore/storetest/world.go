package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// epoch is when the sessions of the suite begin; each command is a second later
// than the one before it.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is one case with its backend.
type world struct {
	*testing.T
	Backend
	ctx context.Context //nolint:containedctx // it is the test's own
}

// store opens a store over the backend.
func (w *world) store(cfg eventstore.Config) *eventstore.Store {
	w.Helper()
	if cfg.Driver == nil {
		cfg.Driver = w.Driver
	}
	s, err := eventstore.Open(w.ctx, cfg)
	w.must(err)
	return s
}

// cold opens a store that caches nothing.
func (w *world) cold() *eventstore.Store { return w.store(eventstore.Config{CacheBytes: -1}) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// want fails the case unless the error is of a kind.
func (w *world) want(err, kind error) {
	w.Helper()
	if !errors.Is(err, kind) {
		w.Fatalf("the error is %v; it should be: %v", err, kind)
	}
}

func (w *world) equal(what string, got, want any) {
	w.Helper()
	if g, v := text(w.T, got), text(w.T, want); g != v {
		w.Fatalf("%s is\n%s\nand should be\n%s", what, g, v)
	}
}

// text is a value as JSON, which compares states by what they say.
func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := domain.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func key(n int) eventstore.Key {
	return eventstore.Key{User: "ada", Session: fmt.Sprintf("s%d", n)}
}

// plan is a session of one chain with steps that are done by hand.
func plan(steps int) *domain.Create {
	chain := domain.ChainDef{ID: "main"}
	for range steps {
		chain.Steps = append(chain.Steps, domain.StepDef{Manual: true})
	}
	return &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{chain}, KeepOpen: true}}
}

// note is a command that always changes something.
func note(value string) *domain.SetMetadata {
	return &domain.SetMetadata{Set: map[string]string{"note": value}}
}

// propose decides a command on an aggregate, as an engine does.
func (w *world) propose(agg eventstore.Aggregate, id string, c domain.Command) eventstore.Proposal {
	w.Helper()
	p, err := proposal(agg, id, c)
	w.must(err)
	return p
}

func proposal(agg eventstore.Aggregate, id string, c domain.Command) (eventstore.Proposal, error) {
	env := domain.Env{Now: epoch.Add(time.Duration(agg.Session.Commits) * time.Second), Actor: "ada", CommandID: id, Head: agg.Hash}
	d, err := domain.Decide(agg.Session, c, env)
	if err != nil {
		return eventstore.Proposal{}, fmt.Errorf("%s: %w", c.Verb(), err)
	}
	return propose(agg, env, c.Verb(), d), nil
}

// propose makes a commit of a decision.
func propose(agg eventstore.Aggregate, env domain.Env, cause domain.Verb, d domain.Decision) eventstore.Proposal {
	commit := &domain.Commit{
		ID: env.CommandID, Session: agg.Key.Session, User: agg.Key.User, Version: agg.Session.Version + 1,
		Time: env.Now, Actor: env.Actor, Cause: cause, State: d.Next.State,
		Digest: domain.Digest(cause, []byte(env.CommandID)), Events: d.Events,
	}
	return eventstore.Proposal{Base: agg, Commit: commit, Next: domain.Apply(agg.Session, commit)}
}

// run appends commands one after another, with the ids <first letter>1, 2, ...
// by version, and returns the aggregates after each.
func (w *world) run(s *eventstore.Store, k eventstore.Key, commands ...domain.Command) []eventstore.Aggregate {
	w.Helper()
	agg, err := s.Load(w.ctx, k)
	w.must(err)
	after := make([]eventstore.Aggregate, 0, len(commands))
	for _, c := range commands {
		p := w.propose(agg, commandID(agg), c)
		w.must(insist(func() error {
			agg, err = s.Append(w.ctx, p)
			return err
		}))
		after = append(after, agg)
	}
	return after
}

// commandID names the next command of a session.
func commandID(agg eventstore.Aggregate) string {
	return fmt.Sprintf("c%d", agg.Session.Commits+1)
}

// history appends a create, a start and notes, n commits in all.
func (w *world) history(s *eventstore.Store, k eventstore.Key, n int) []eventstore.Aggregate {
	w.Helper()
	commands := []domain.Command{plan(2), &domain.Start{}}
	for len(commands) < n {
		commands = append(commands, note(strconv.Itoa(len(commands))))
	}
	return w.run(s, k, commands[:n]...)
}

// raw appends a body as it is, under a good guard.
func (w *world) raw(k eventstore.Key, last uint64, body string) uint64 {
	w.Helper()
	var seqs []uint64
	w.must(insist(func() (err error) {
		seqs, err = w.Driver.Append(w.ctx, []eventstore.Record{{Key: k, Guard: eventstore.ExpectLast(last), Body: []byte(body)}})
		return err
	}))
	return seqs[0]
}

// insist appends under a guard that is right: replicas may refuse it for a moment
// after the append before it was acknowledged.
func insist(appending func() error) error {
	deadline := time.Now().Add(insistFor)
	err := appending()
	for errors.Is(err, eventstore.ErrConflict) && time.Now().Before(deadline) {
		err = appending()
	}
	return err
}

// insistFor is how long a conflict is not believed.
const insistFor = 10 * time.Second

// replay reads everything by Scan: the commits and the damage, in order.
func (w *world) replay(s *eventstore.Store, f eventstore.Filter) (commits []eventstore.Committed, damage []*eventstore.CommitError) {
	w.Helper()
	w.must(s.Scan(w.ctx, f, func(c eventstore.Committed, err error) error {
		var damaged *eventstore.CommitError
		switch {
		case errors.As(err, &damaged):
			damage = append(damage, damaged)
		case err != nil:
			return err
		default:
			commits = append(commits, c)
		}
		return nil
	}))
	return commits, damage
}

// big is a JSON string of about n bytes.
func big(n int) []byte { return []byte(`"` + strings.Repeat("x", n) + `"`) }

// lossy is a driver that loses the acknowledgement of appends.
type lossy struct {
	eventstore.Driver
	lose func() bool
}

// Append stores and answers as if nobody knew.
func (l lossy) Append(ctx context.Context, records []eventstore.Record) ([]uint64, error) {
	seqs, err := l.Driver.Append(ctx, records)
	if err == nil && l.lose() {
		return nil, eventstore.ErrUnknownOutcome
	}
	return seqs, err
}
