package security

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/worker"
)

// TestWorkersWithCredentials: a worker that has nothing but its credentials
// executes a session, and its name is in the history.
func TestWorkersWithCredentials(t *testing.T) {
	w := newWorld(t)
	ada := w.as(auth.RoleUser, "ada")
	must(t, ada, w.names.Command("ada", "s", domain.VerbCreate), `{"chains":[{"id":"c","steps":[{"id":"one","action":"build"},{"id":"two","action":"build"}]}]}`)
	amber, err := worker.New(w.as(auth.RoleWorker, "amber", "build"), worker.Config{ID: "amber", Names: w.names})
	if err != nil {
		t.Fatal(err)
	}
	amber.Handle("build", func(context.Context, *worker.Task) (any, error) { return "built", nil })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- amber.Run(ctx) }()
	must(t, ada, w.names.Command("ada", "s", domain.VerbStart), "{}")
	var got contract.GetReply
	poll(t, "the session's end", func() bool {
		m := must(t, ada, w.names.Query("ada", contract.QueryGet), `{"session":"s"}`)
		return json.Unmarshal(m.Data, &got) == nil && got.Session.State == domain.StateCompleted
	})
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	actors := w.actors(t, "ada", "s")
	if !actors["ada"] || !actors["amber"] || len(actors) != 2 {
		t.Errorf("the history names %v", actors)
	}
}

// actors are those who did what is in the history of a session.
func (w *world) actors(t *testing.T, user, session string) map[string]bool {
	t.Helper()
	m := must(t, w.as(auth.RoleAuditor, "historian"), w.names.Query(user, contract.QueryHistory), `{"session":"`+session+`"}`)
	var history contract.HistoryReply
	if err := json.Unmarshal(m.Data, &history); err != nil {
		t.Fatal(err)
	}
	actors := map[string]bool{}
	for _, c := range history.Commits {
		actors[c.Actor] = true
	}
	return actors
}

// refusedBy asks and wants to be refused with a code, or not to be heard at all
// (an empty code).
func refusedBy(t *testing.T, nc *nats.Conn, code domain.Code, subject, body string, header ...nats.Header) {
	t.Helper()
	m := &nats.Msg{Subject: subject, Data: []byte(body)}
	if len(header) > 0 {
		m.Header = header[0]
	}
	if code == "" {
		if reply, err := nc.RequestMsg(m, 300*time.Millisecond); err == nil {
			t.Errorf("%s %s was answered: %s", subject, body, reply.Data)
		}
		return
	}
	var e contract.Error
	if reply := settled(t, nc, m, code); json.Unmarshal(reply.Data, &e) != nil || e.Code != code {
		t.Errorf("%s %s: %v; want %s", subject, body, reply, code)
	}
}

// TestStolenClaims: a worker can't settle what another one claimed, or what is no
// work of its own, whatever it says in subject, body and headers.
func TestStolenClaims(t *testing.T) {
	w := newWorld(t)
	n := w.names
	ada := w.as(auth.RoleUser, "ada")
	must(t, ada, n.Command("ada", "s", domain.VerbCreate), `{"chains":[{"id":"c","steps":[{"id":"s","action":"build"}]},{"id":"d","steps":[{"id":"s","action":"deploy"}]}]}`)
	must(t, ada, n.Command("ada", "s", domain.VerbStart), "{}")
	amber, mallory := w.as(auth.RoleWorker, "amber", "build"), w.as(auth.RoleWorker, "mallory", "build")
	must(t, amber, n.Worker("amber", "build", "ada", "s", domain.VerbClaim), `{"chain":"c","step":"s"}`)
	for _, verb := range []domain.Verb{domain.VerbHeartbeat, domain.VerbRelease, domain.VerbFail, domain.VerbSucceed} {
		body := `{"chain":"c","step":"s","attempt":1}`
		if verb == domain.VerbFail {
			body = `{"chain":"c","step":"s","attempt":1,"error":{"message":"forged"}}`
		}
		refusedBy(t, mallory, domain.CodeStaleAttempt, n.Worker("mallory", "build", "ada", "s", verb), body)
		refusedBy(t, mallory, "", n.Worker("amber", "build", "ada", "s", verb), body)
	}
	// The action is the credential's; the body can't name another, or another session.
	refusedBy(t, mallory, "", n.Worker("mallory", "deploy", "ada", "s", domain.VerbClaim), `{"chain":"d","step":"s"}`)
	refusedBy(t, mallory, domain.CodeNotAllowed, n.Worker("mallory", "build", "ada", "s", domain.VerbClaim), `{"chain":"d","step":"s"}`)
	for _, field := range []string{"worker", "action", "session", "user", "actor"} {
		refusedBy(t, mallory, domain.CodeInvalid, n.Worker("mallory", "build", "ada", "s", domain.VerbSucceed), `{"chain":"c","step":"s","attempt":1,"`+field+`":"amber"}`)
	}
	refusedBy(t, mallory, domain.CodeNotAllowed, n.Worker("mallory", "build", "ada", "s", domain.VerbStart), "{}")
	must(t, amber, n.Worker("amber", "build", "ada", "s", domain.VerbSucceed), `{"chain":"c","step":"s","attempt":1}`)
	if actors := w.actors(t, "ada", "s"); actors["mallory"] {
		t.Errorf("the history names %v", actors)
	}
}

// TestActionsAreTheCredentials: a worker that asks for the next step of a chain gets
// none of an action that its credentials don't list, whatever its body says, and
// learns nothing of it.
func TestActionsAreTheCredentials(t *testing.T) {
	w := newWorld(t)
	n := w.names
	ada := w.as(auth.RoleUser, "ada")
	must(t, ada, n.Command("ada", "s", domain.VerbCreate), `{"chains":[{"id":"c","steps":[
		{"id":"a","action":"build"},{"id":"b","action":"build"},{"id":"s","action":"deploy","input":{"key":"secret"}}]}]}`)
	must(t, ada, n.Command("ada", "s", domain.VerbStart), "{}")
	amber := w.as(auth.RoleWorker, "amber", "build")
	must(t, amber, n.Worker("amber", "build", "ada", "s", domain.VerbClaim), `{"chain":"c","step":"a"}`)
	succeed := n.Worker("amber", "build", "ada", "s", domain.VerbSucceed)
	m := must(t, amber, succeed, `{"chain":"c","step":"a","attempt":1,"claimNext":true,"actions":["deploy"]}`)
	if !strings.Contains(string(m.Data), `"claimed"`) {
		t.Errorf("the next step of its own action was not given: %s", m.Data)
	}
	m = must(t, amber, succeed, `{"chain":"c","step":"b","attempt":1,"claimNext":true,"actions":["build","deploy"]}`)
	if strings.Contains(string(m.Data), "claimed") || strings.Contains(string(m.Data), "secret") {
		t.Errorf("a worker of build was given a step of deploy: %s", m.Data)
	}
	m = must(t, ada, n.Query("ada", contract.QueryGet), `{"session":"s"}`)
	var got contract.GetReply
	if err := json.Unmarshal(m.Data, &got); err != nil {
		t.Fatal(err)
	}
	if step := got.Session.Chain("c").Step("s"); step.Status != domain.StepStatusPending {
		t.Errorf("the step of deploy is %s", step.Status)
	}
}

// TestClaimedIdentities: neither bodies nor headers choose who somebody is.
func TestClaimedIdentities(t *testing.T) {
	w := newWorld(t)
	n := w.names
	bob, mallory := w.as(auth.RoleUser, "bob"), w.as(auth.RoleUser, "mallory")
	must(t, bob, n.Command("bob", "s", domain.VerbCreate), onePlan)
	info := `{"acc":"` + w.realm.Account(auth.RoleUser) + `","name_tag":"bob"}`
	for _, header := range []nats.Header{
		{"Nats-Request-Info": {info}},
		{"Nats-Request-Info": {info, info}},
		{"nats-request-info": {info}},
		{"Reprise-Actor": {"bob"}},
		{"Nats-Expected-Last-Subject-Sequence": {"0"}},
		{"Status": {"200"}},
	} {
		m := &nats.Msg{Subject: n.Command("bob", "s", domain.VerbStart), Header: header}
		if reply, err := mallory.RequestMsg(m, 200*time.Millisecond); err == nil {
			t.Errorf("%v was answered: %s", header, reply.Data)
		}
	}
	for _, field := range []string{"user", "actor", "session"} {
		refusedBy(t, mallory, domain.CodeInvalid, n.Command("mallory", "s", domain.VerbCreate), `{"`+field+`":"bob","keepOpen":true}`)
		refusedBy(t, mallory, domain.CodeInvalid, n.Query("mallory", contract.QueryGet), `{"session":"s","`+field+`x":"bob"}`)
	}
	// The server replaces what a client says of itself.
	own := &nats.Msg{Subject: n.Command("mallory", "own", domain.VerbCreate), Data: []byte(onePlan), Header: nats.Header{"Nats-Request-Info": {info}}}
	if reply := settled(t, mallory, own); reply.Header.Get(contract.HeaderError) != "" {
		t.Errorf("%v", reply)
	}
	if actors := w.actors(t, "mallory", "own"); len(actors) != 1 || !actors["mallory"] {
		t.Errorf("the history names %v", actors)
	}
	if actors := w.actors(t, "bob", "s"); len(actors) != 1 {
		t.Errorf("bob's history names %v", actors)
	}
}

// TestGuessedIDs: for whoever guesses the id of another's session, it isn't there.
func TestGuessedIDs(t *testing.T) {
	w := newWorld(t)
	n := w.names
	bob, mallory := w.as(auth.RoleUser, "bob"), w.as(auth.RoleUser, "mallory")
	must(t, bob, n.Command("bob", "secret", domain.VerbCreate), onePlan)
	view := "$JS.API.DIRECT.GET.KV_" + n.SessionsBucket() + ".$KV." + n.SessionsBucket() + "."
	poll(t, "bob's view", func() bool { return strings.Contains(string(ask(t, bob, view+"bob.secret", "").Data), "secret") })
	for _, id := range []string{"secret", "nobodys"} {
		refusedBy(t, mallory, domain.CodeNotFound, n.Query("mallory", contract.QueryGet), `{"session":"`+id+`"}`)
		refusedBy(t, mallory, domain.CodeNotFound, n.Command("mallory", id, domain.VerbStart), "{}")
		refusedBy(t, mallory, domain.CodeNotFound, n.Command("mallory", id, domain.VerbFork), `{"id":"copy"}`)
		refusedBy(t, mallory, "", n.Query("bob", contract.QueryGet), `{"session":"`+id+`"}`)
		if m := ask(t, mallory, view+"mallory."+id, ""); m.Header.Get("Status") != "404" {
			t.Errorf("view of %s: %v %s", id, m.Header, m.Data)
		}
		if m, err := mallory.Request(view+"bob."+id, nil, 200*time.Millisecond); err == nil {
			t.Errorf("view of bob's %s: %s", id, m.Data)
		}
	}
	// The body of a direct get can't ask for more than its subject.
	for _, body := range []string{
		`{"last_by_subj":"$KV.` + n.SessionsBucket() + `.bob.secret"}`, `{"seq":1}`, `{"seq":1,"batch":10}`,
		`{"multi_last":["$KV.` + n.SessionsBucket() + `.>"]}`, `{"next_by_subj":"$KV.` + n.SessionsBucket() + `.>"}`,
	} {
		if m := ask(t, mallory, view+"mallory.none", body); len(m.Data) > 0 || m.Header.Get("Status") == "" {
			t.Errorf("%s: %v %s", body, m.Header, m.Data)
		}
	}
}

// TestOddUsers: a user whose name is no token has credentials like all others.
func TestOddUsers(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"ada@example.org", "Ørsted", "a.b.>", "*", " "} {
		c := w.user(name)
		if _, err := c.Do(t.Context(), "s", &domain.Create{Definition: domain.Definition{KeepOpen: true}}); err != nil {
			t.Fatalf("%q: %v\n%s", name, err, w.log)
		}
		if _, err := c.Get(t.Context(), "s"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if actors := w.actors(t, name, "s"); !actors[name] || len(actors) != 1 {
			t.Errorf("%q: the history names %v", name, actors)
		}
	}
	other, err := client.New(w.as(auth.RoleUser, "mallory"), client.Config{User: "ada@example.org", Names: w.names, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.Get(t.Context(), "s"); err == nil {
		t.Errorf("mallory reads %+v", got)
	}
}
