package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// epoch is when the sessions of these tests begin.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// propose decides a command on an aggregate, as an engine does.
func propose(t testing.TB, agg eventstore.Aggregate, id string, c domain.Command) eventstore.Proposal {
	t.Helper()
	now := epoch.Add(time.Duration(agg.Session.Version) * time.Second)
	d, err := domain.Decide(agg.Session, c, domain.Env{Now: now, Actor: "ada", CommandID: id, Head: agg.Hash})
	if err != nil {
		t.Fatalf("%s: %v", c.Verb(), err)
	}
	commit := &domain.Commit{
		ID: id, Session: agg.Key.Session, User: agg.Key.User, Version: agg.Session.Version + 1,
		Time: now, Actor: "ada", Cause: c.Verb(), State: d.Next.State, Digest: domain.Digest(c.Verb(), []byte(id)), Events: d.Events,
	}
	return eventstore.Proposal{Base: agg, Commit: commit, Next: domain.Apply(agg.Session, commit)}
}

func open(t *testing.T, cfg eventstore.Config) *eventstore.Store {
	t.Helper()
	s, err := eventstore.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAppendAndLoad(t *testing.T) {
	ctx := context.Background()
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	agg, err := s.Load(ctx, eventstore.Key{User: "ada", Session: "s1"})
	if err != nil || agg.Seq != 0 || agg.Session.Exists() {
		t.Fatal(agg, err)
	}
	agg, err = s.Append(ctx, propose(t, agg, "c1", &domain.Create{Definition: domain.Definition{Chains: []domain.ChainDef{{Steps: []domain.StepDef{{Action: "a"}}}}}}))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []domain.Command{&domain.Start{}, &domain.Pause{}, &domain.Resume{}} {
		if agg, err = s.Append(ctx, propose(t, agg, fmt.Sprint("c", i+2), c)); err != nil {
			t.Fatal(err)
		}
	}
	again, err := open(t, eventstore.Config{Driver: driver}).Load(ctx, agg.Key)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := domain.Marshal(agg)
	got, _ := domain.Marshal(again)
	if string(want) != string(got) {
		t.Errorf("loaded\n%s\nappended\n%s", got, want)
	}
}

// TestGuardRefusedWithoutReason has the backend refuse a guard that holds, as a
// replicated stream may for a moment.
func TestGuardRefusedWithoutReason(t *testing.T) {
	for refusals, want := range map[int]error{1: nil, 3: nil, 4: eventstore.ErrConflict} {
		driver := eventstore.NewMemory()
		s := open(t, eventstore.Config{Driver: driver})
		agg, err := s.Load(t.Context(), eventstore.Key{User: "ada", Session: "s1"})
		if err != nil {
			t.Fatal(err)
		}
		left := refusals
		driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
			if left--; left >= 0 {
				return eventstore.ErrConflict
			}
			return nil
		}})
		_, err = s.Append(t.Context(), propose(t, agg, "c1", &domain.Create{Definition: domain.Definition{KeepOpen: true}}))
		if !errors.Is(err, want) {
			t.Errorf("after %d refusals: %v, want %v", refusals, err, want)
		}
		if info, _ := driver.Info(t.Context()); want == nil && info.Messages != 1 {
			t.Errorf("after %d refusals %d commits are stored", refusals, info.Messages)
		}
	}
}
