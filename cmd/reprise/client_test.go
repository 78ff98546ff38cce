package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

// newClient is one of package client on a test's engine; what its own tests
// check against a stand-in is checked here against the engine.
func newClient(t *testing.T, url string) *client.Client {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(servePatience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c, err := client.New(nc, client.Config{User: "ada lovelace", Operator: "root", WatchIdle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClientWithEngine: batch, repeat, guard, own writes and errors.
func TestClientWithEngine(t *testing.T) {
	c := newClient(t, startEngine(t, nil).URL())
	ctx := t.Context()
	batch := domain.Batch{Commands: []domain.Command{
		&domain.Create{Definition: domain.Definition{KeepOpen: true}}, &domain.Start{},
		&domain.AddChain{ChainDef: domain.ChainDef{ID: "c", Open: true, Steps: []domain.StepDef{{ID: "look", Manual: true}}}},
	}}
	first, err := c.Batch(ctx, "s1", batch, client.WithCommandID("b1"))
	if err != nil || first.State != domain.StateRunning || len(first.Results) != 3 {
		t.Fatalf("reply %+v, error %v", first, err)
	}
	again, err := c.Batch(ctx, "s1", batch, client.WithCommandID("b1"))
	if err != nil || !again.Duplicate || again.Version != first.Version {
		t.Errorf("repeat %+v, error %v", again, err)
	}
	if _, err := c.Pause(ctx, "s1", domain.Pause{}, client.WithCommandID("b1")); client.CodeOf(err) != domain.CodeIDReused {
		t.Errorf("another body under the same id: %v", err)
	}
	var rejected *client.Error
	if _, err := c.Pause(ctx, "s1", domain.Pause{}, client.ExpectVersion(99)); !errors.As(err, &rejected) || rejected.Version != first.Version {
		t.Errorf("a wrong version: %v", err)
	}
	page, err := c.List(ctx, contract.ListRequest{}, client.MinPosition(first.Position))
	if err != nil || len(page.Sessions) != 1 || page.Sessions[0].User != "ada lovelace" {
		t.Errorf("page %+v, error %v", page, err)
	}
	if _, err := c.Get(ctx, "s2"); !errors.Is(err, &domain.Rejection{Code: domain.CodeNotFound}) {
		t.Errorf("an unknown session: %v", err)
	}
}

// TestLiveCommitsAreHistory: what a watch makes of a live message is the same
// as the history has it, so a watch needs no query for it.
func TestLiveCommitsAreHistory(t *testing.T) {
	c := newClient(t, startEngine(t, nil).URL())
	ctx, cancel := context.WithTimeout(t.Context(), servePatience)
	defer cancel()
	if _, err := c.Create(ctx, "s1", domain.Definition{KeepOpen: true}); err != nil {
		t.Fatal(err)
	}
	started := false
	for entry, err := range c.Watch(ctx, "s1", 1) {
		if err != nil {
			t.Fatal(err)
		}
		page, err := c.History(ctx, contract.HistoryRequest{Session: "s1", FromVersion: entry.Version, Limit: 1})
		if err != nil || len(page.Commits) != 1 {
			t.Fatalf("history %+v, error %v", page, err)
		}
		live, stored := mustMarshal(t, entry), mustMarshal(t, page.Commits[0])
		if live != stored {
			t.Errorf("live\n%s\nhistory\n%s", live, stored)
		}
		if entry.Cause == domain.VerbComplete {
			return
		}
		next := c.Complete
		if !started {
			started, next = true, c.Start
		}
		if _, err := next(ctx, "s1"); err != nil {
			t.Fatal(err)
		}
	}
}

func mustMarshal(t *testing.T, v any) string {
	t.Helper()
	raw, err := domain.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestQueuedCommandsAreApplied in order, without anybody waiting for them.
func TestQueuedCommandsAreApplied(t *testing.T) {
	c := newClient(t, startEngine(t, nil).URL())
	for _, command := range []domain.Command{
		&domain.Create{Definition: domain.Definition{KeepOpen: true}}, &domain.Start{}, &domain.Pause{}, &domain.Resume{}, &domain.Complete{},
	} {
		if queued, err := c.Enqueue(t.Context(), "s1", command); err != nil || queued.Seq == 0 || queued.CommandID == "" {
			t.Fatalf("queued %+v, error %v", queued, err)
		}
	}
	eventually(t, "the last queued command", func() bool {
		got, err := c.Get(t.Context(), "s1")
		return err == nil && got.Session.State == domain.StateCompleted
	})
}
