package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

func TestQueries(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc,
		ok(contract.GetReply{Session: &domain.Session{ID: "s1"}}),
		ok(contract.CountReply{Total: 3, States: map[domain.State]int{domain.StateRunning: 3}}),
		ok(contract.GetReply{Session: &domain.Session{ID: "s1", Version: 2}}))
	c := patient(t, nc)
	ctx := t.Context()
	got, err := c.Get(ctx, "s1")
	if err != nil || got.Session.ID != "s1" {
		t.Errorf("get %v, error %v", got, err)
	}
	count, err := c.Count(ctx, contract.Filter{States: []domain.State{domain.StateRunning}})
	if err != nil || count.Total != 3 {
		t.Errorf("count %v, error %v", count, err)
	}
	at, err := c.At(ctx, contract.AtRequest{Session: "s1", Version: 2})
	if err != nil || at.Session.Version != 2 {
		t.Errorf("at %v, error %v", at, err)
	}
	want := []string{
		`reprise.qry.ada.get {"session":"s1"}`,
		`reprise.qry.ada.count {"states":["RUNNING"]}`,
		`reprise.qry.ada.at {"session":"s1","version":2}`,
	}
	for i, r := range engine.seen() {
		if text := r.Subject + " " + string(r.Data); text != want[i] {
			t.Errorf("sent %s, want %s", text, want[i])
		}
	}
}

func TestSessionsFollowsPages(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc,
		ok(contract.ListReply{Sessions: []contract.Row{{ID: "a"}, {ID: "b"}}, Next: "p2"}),
		ok(contract.ListReply{Sessions: []contract.Row{{ID: "c"}}}))
	c := patient(t, nc)
	var ids strings.Builder
	for row, err := range c.Sessions(t.Context(), contract.ListRequest{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		ids.WriteString(row.ID)
	}
	if ids.String() != "abc" {
		t.Errorf("ids %s", ids.String())
	}
	if second := decode[contract.ListRequest](t, engine.seen()[1].Data); second.Page != "p2" || second.Limit != 2 {
		t.Errorf("second request %+v", second)
	}
	for range c.Sessions(t.Context(), contract.ListRequest{}) {
		break
	}
}

func TestCommitsFollowsPages(t *testing.T) {
	nc := connect(t)
	engine := serve(t, nc,
		ok(contract.HistoryReply{Commits: []contract.CommitEntry{{Version: 1}}, Next: 2}),
		ok(contract.HistoryReply{Commits: []contract.CommitEntry{{Version: 2}}}),
		ok(contract.HistoryReply{Commits: []contract.CommitEntry{{Version: 1}, {Version: 2}}}),
		reject(contract.Error{Code: domain.CodeNotFound, Message: "no session"}))
	c := patient(t, nc)
	n := 0
	for entry, err := range c.Commits(t.Context(), contract.HistoryRequest{Session: "s1"}) {
		n++
		if err != nil || entry.Version != uint64(n) {
			t.Errorf("entry %+v, error %v", entry, err)
		}
	}
	if n != 2 || decode[contract.HistoryRequest](t, engine.seen()[1].Data).FromVersion != 2 {
		t.Errorf("%d commits", n)
	}
	for range c.Commits(t.Context(), contract.HistoryRequest{Session: "s1"}) {
		break
	}
	for _, err := range c.Commits(t.Context(), contract.HistoryRequest{Session: "s1"}) {
		if !errors.Is(err, &client.Error{Code: domain.CodeNotFound}) {
			t.Errorf("error %v", err)
		}
	}
	for _, err := range c.Sessions(t.Context(), contract.ListRequest{}) {
		if client.CodeOf(err) != domain.CodeNotFound {
			t.Errorf("error %v", err)
		}
	}
}

// TestRunsAreAskedForAgain: what an engine refuses for the moment before a run
// begins is sent again; what it breaks off later is not, since parts of it were
// handed over.
func TestRunsAreAskedForAgain(t *testing.T) {
	ctx, report := t.Context(), contract.CleanupMessage{Report: &contract.CleanupReport{ID: "r1"}}
	later := reject(contract.Error{Code: domain.CodeUnavailable, Message: "no engine holds the office"})
	nc := connect(t)
	f := serve(t, nc, later, later, ok(report))
	got, err := patient(t, nc).Purge(ctx, contract.CleanupRequest{}, nil)
	if err != nil || got.ID != "r1" || len(f.seen()) != 3 {
		t.Errorf("the report is %+v, %v, after %d requests", got, err, len(f.seen()))
	}
	nc = connect(t)
	f = serve(t, nc, func(m *nats.Msg) {
		ok(contract.CleanupMessage{Progress: &contract.CleanupProgress{Run: "r1"}})(m)
		later(m)
	})
	parts := 0
	_, err = patient(t, nc).Purge(ctx, contract.CleanupRequest{}, func(contract.CleanupMessage) { parts++ })
	if client.CodeOf(err) != domain.CodeUnavailable || parts != 1 || len(f.seen()) != 1 {
		t.Errorf("the error is %v after %d parts and %d requests", err, parts, len(f.seen()))
	}
}
