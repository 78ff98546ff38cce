package security

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
)

// TestQueriesKeepToTheUser: no answer to bob, to whatever he asks, holds anything of
// wendy's: her session, her actions, her counts, what her steps say of their progress.
// Her name is one that no digest in hexadecimal can hold by chance.
func TestQueriesKeepToTheUser(t *testing.T) {
	w := newWorld(t)
	n := w.names
	wendy, bob := w.as(auth.RoleUser, "wendy"), w.as(auth.RoleUser, "bob")
	must(t, bob, n.Command("bob", "mine", domain.VerbCreate), onePlan)
	must(t, bob, n.Command("bob", "mine", domain.VerbStart), "{}")
	amber := w.as(auth.RoleWorker, "amber", "hers")
	for i := range 3 {
		id := "hers-" + strconv.Itoa(i)
		must(t, wendy, n.Command("wendy", id, domain.VerbCreate), `{"chains":[{"id":"c","steps":[{"id":"s","action":"hers"}]},{"id":"d","steps":[{"id":"s","action":"hers-alone"}]}]}`)
		must(t, wendy, n.Command("wendy", id, domain.VerbStart), "{}")
		must(t, amber, n.Worker("amber", "hers", "wendy", id, domain.VerbClaim), `{"chain":"c","step":"s"}`)
		must(t, amber, n.Worker("amber", "hers", "wendy", id, domain.VerbHeartbeat), `{"chain":"c","step":"s","attempt":1,"progress":{"says":"hers"}}`)
	}
	w.listed(t, n.Query("wendy", contract.QueryList), 3)
	w.listed(t, n.Query("bob", contract.QueryList), 1)
	last := w.events(t)
	bodies := map[string][]string{
		contract.QueryList:    {"{}", `{"waiting":["no_worker"]}`, `{"limit":1}`, `{"sort":"-updated"}`},
		contract.QueryCount:   {"{}", `{"waiting":["no_worker"]}`},
		contract.QueryGet:     {`{"session":"mine"}`, `{"session":"hers"}`},
		contract.QueryHistory: {`{"session":"mine"}`},
	}
	for seq := range last {
		bodies[contract.QueryAt] = append(bodies[contract.QueryAt], fmt.Sprintf(`{"session":"mine","seq":%d}`, seq+1))
	}
	for name, list := range bodies {
		for _, body := range list {
			m := ask(t, bob, n.Query("bob", name), body)
			if text := string(m.Data); strings.Contains(text, "wendy") || strings.Contains(text, "hers-") || strings.Contains(text, "says") {
				t.Errorf("%s %s is answered with %s", name, body, text)
			}
		}
	}
	var count contract.CountReply
	if err := json.Unmarshal(must(t, bob, n.Query("bob", contract.QueryCount), "{}").Data, &count); err != nil {
		t.Fatal(err)
	}
	if count.Total != 1 {
		t.Errorf("bob counts %+v", count)
	}
}

// TestPagesOfAnother: the token of a page of ada's list brings bob none of her
// sessions.
func TestPagesOfAnother(t *testing.T) {
	w := newWorld(t)
	n := w.names
	ada, bob := w.as(auth.RoleUser, "ada"), w.as(auth.RoleUser, "bob")
	for _, id := range []string{"one", "two", "three"} {
		must(t, ada, n.Command("ada", id, domain.VerbCreate), onePlan)
	}
	w.listed(t, n.Query("ada", contract.QueryList), 3)
	var page contract.ListReply
	if err := json.Unmarshal(must(t, ada, n.Query("ada", contract.QueryList), `{"limit":1}`).Data, &page); err != nil || page.Next == "" {
		t.Fatalf("the first page is %+v, %v", page, err)
	}
	m := ask(t, bob, n.Query("bob", contract.QueryList), `{"page":"`+page.Next+`"}`)
	for _, id := range []string{"one", "two", "three"} {
		if strings.Contains(string(m.Data), `"`+id+`"`) {
			t.Errorf("bob is shown %s", m.Data)
		}
	}
}

// listed waits until a list has so many sessions, for an auditor, who may ask for
// everybody's.
func (w *world) listed(t *testing.T, subject string, want int) {
	t.Helper()
	eve := w.as(auth.RoleAuditor, "eve")
	poll(t, subject, func() bool {
		var reply contract.ListReply
		m := ask(t, eve, subject, "{}")
		return json.Unmarshal(m.Data, &reply) == nil && len(reply.Sessions) == want
	})
}
