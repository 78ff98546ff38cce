package security

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
)

// onePlan is a session with one step for action build.
const onePlan = `{"chains":[{"id":"c","steps":[{"id":"s","action":"build"}]}]}`

// ask sends a request and returns the answer's body; the test fails without one.
func ask(t testing.TB, nc *nats.Conn, subject, body string) *nats.Msg {
	t.Helper()
	m, err := nc.Request(subject, []byte(body), patience)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return m
}

// must is ask for a request that has to be accepted.
func must(t testing.TB, nc *nats.Conn, subject, body string) *nats.Msg {
	t.Helper()
	m := settled(t, nc, &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{contract.HeaderCommandID: {rand.Text()}}})
	if sentence := m.Header.Get(contract.HeaderError); sentence != "" {
		t.Fatalf("%s: %s", subject, sentence)
	}
	return m
}

// settled sends a request and returns its answer. What is answered with a hint to
// ask again is asked again, as clients do, unless with a code that is waited for.
func settled(t testing.TB, nc *nats.Conn, request *nats.Msg, codes ...domain.Code) *nats.Msg {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		m, err := nc.RequestMsg(request, patience)
		if err != nil {
			t.Fatalf("%s: %v", request.Subject, err)
		}
		var e contract.Error
		if m.Header.Get(contract.HeaderError) == "" || json.Unmarshal(m.Data, &e) != nil || e.RetryAfter == 0 ||
			slices.Contains(codes, e.Code) || time.Now().After(deadline) {
			return m
		}
	}
}

// events returns how many events are stored.
func (w *world) events(t *testing.T) uint64 {
	t.Helper()
	m := ask(t, w.as(auth.RoleAuditor, "counter"), "$JS.API.DIRECT.GET."+w.names.EventsStream(), `{"last_by_subj":"`+w.names.Prefix()+`.evt.>"}`)
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		t.Fatalf("the last event is %v %q", m.Header, m.Data)
	}
	return seq
}

// engineConn is a connection with the rights of an engine's part: what an attacker
// wants to act as.
func (w *world) engineConn(role auth.Role) *nats.Conn {
	w.t.Helper()
	creds, err := os.ReadFile(filepath.Join(w.realm.Dir(), "creds", string(role)+".creds"))
	if err != nil {
		w.t.Fatal(err)
	}
	options, err := auth.With(creds)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.connect(options...)
}

// targets are reply subjects by which somebody else would be made to do a thing.
func targets(n contract.Names) []string {
	return []string{
		n.Command("bob", "victim", domain.VerbCancel), n.Queue("bob", "victim", domain.VerbCancel),
		n.AdminCommand("root", "bob", "victim", domain.VerbHold), n.Event("bob", "victim"), n.Live("bob", "victim"),
		n.Worker("amber", "build", "bob", "victim", domain.VerbClaim), n.Work("build", "bob", "victim", "c", "s"),
		"$KV." + n.SessionsBucket() + ".bob.victim", "$KV." + n.ControlBucket() + ".holder",
		"$JS.API.STREAM.DELETE." + n.EventsStream(), "$JS.API.STREAM.PURGE." + n.EventsStream(),
		"$JS.API.CONSUMER.DELETE." + n.WorkStream() + ".build", "$JS.ACK." + n.WorkStream() + ".build.1.1.1.1.1",
		"$SYS.REQ.SERVER.PING", "$SRV.PING", n.Query("bob", "list"),
	}
}

// TestNobodyIsMadeADeputy plays the attack by reply subjects through everything
// that answers: the engine, the queue's acknowledgement, direct gets, pull
// requests, acknowledgements of tasks, the JetStream API and the micro service.
func TestNobodyIsMadeADeputy(t *testing.T) {
	w := newWorld(t)
	n := w.names
	bob := w.as(auth.RoleUser, "bob")
	must(t, bob, n.Command("bob", "victim", domain.VerbCreate), onePlan)
	alice, amber, eve := w.as(auth.RoleUser, "alice"), w.as(auth.RoleWorker, "amber", "build"), w.as(auth.RoleAuditor, "eve")
	must(t, amber, n.Serve("amber", "build"), "")
	must(t, alice, n.Command("alice", "own", domain.VerbCreate), onePlan)
	live, err := bob.SubscribeSync(n.Live("bob", "victim"))
	if err != nil || bob.Flush() != nil {
		t.Fatal("bob can't watch", err)
	}
	view := "$JS.API.DIRECT.GET.KV_" + n.SessionsBucket() + ".$KV." + n.SessionsBucket() + ".alice.own"
	poll(t, "alice's view", func() bool {
		return strings.Contains(string(ask(t, alice, view, "").Data), `"own"`)
	})
	before := w.events(t)
	attacks := []struct {
		as            *nats.Conn
		subject, body string
	}{
		{alice, n.Command("alice", "own", domain.VerbCancel), "{}"},
		{alice, n.Command("alice", "own", "nonsense"), "{}"},
		{alice, n.Query("alice", "list"), "{}"},
		{alice, n.Query("alice", "get"), `{"session":"own"}`},
		{alice, n.Query("alice", "nonsense"), ""},
		{alice, n.Queue("alice", "missing", domain.VerbStart), "{}"},
		{alice, view, ""},
		{amber, n.Serve("amber", "build"), ""},
		{amber, n.Worker("amber", "build", "bob", "victim", domain.VerbClaim), `{"chain":"c","step":"s"}`},
		{amber, "$JS.API.CONSUMER.MSG.NEXT." + n.WorkStream() + ".build", `{"batch":1,"no_wait":true}`},
		{amber, "$JS.ACK." + n.WorkStream() + ".build.1.1.1.1.1", "+ACK"},
		{eve, n.Query("bob", "get"), `{"session":"victim"}`},
		{eve, view, ""},
		{eve, "$JS.API.DIRECT.GET." + n.EventsStream(), `{"seq":1,"batch":10}`},
		{eve, "$JS.API.DIRECT.GET." + n.EventsStream() + "." + n.Event("bob", "victim"), ""},
		{w.as(auth.RoleOperator, "root"), "$SRV.PING", ""},
		{w.as(auth.RoleOperator, "root"), "$SRV.STATS." + "reprise", ""},
	}
	for _, a := range attacks {
		for _, target := range targets(n) {
			if err := a.as.PublishRequest(a.subject, target, []byte(a.body)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.as.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	w.untouched(t, bob, live, before)
}

// untouched checks that bob's session is as it was created, that nothing was
// stored on its subjects, and that bob saw no forged message.
func (w *world) untouched(t *testing.T, bob *nats.Conn, live *nats.Subscription, before uint64) {
	t.Helper()
	n := w.names
	eve := w.as(auth.RoleAuditor, "judge")
	must(t, bob, n.Command("bob", "victim", domain.VerbStart), "{}")
	var history contract.HistoryReply
	if err := json.Unmarshal(must(t, bob, n.Query("bob", contract.QueryHistory), `{"session":"victim"}`).Data, &history); err != nil {
		t.Fatal(err)
	}
	for _, c := range history.Commits {
		if c.Actor != "bob" {
			t.Errorf("%s did %s to bob's session", c.Actor, c.Cause)
		}
	}
	if len(history.Commits) != 2 {
		t.Errorf("bob's session has %d commits, want create and start", len(history.Commits))
	}
	m, err := live.NextMsg(patience)
	if err != nil || !strings.Contains(string(m.Data), `"session.started"`) || m.Header.Get("ce-type") == "" {
		t.Errorf("bob watched %v: %v", m, err)
	}
	if m, err := live.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("bob also watched %s", m.Data)
	}
	// What alice did to her own session, and bob's start.
	if after := w.events(t); after > before+2 {
		t.Errorf("%d events were added, want 2 at most", after-before)
	}
	m = ask(t, eve, "$JS.API.DIRECT.GET."+n.DeadStream()+"."+n.Dead("bob", "victim", domain.VerbCancel), "")
	if m.Header.Get("Status") != "404" {
		t.Errorf("bob's queue was used: %s", m.Data)
	}
}
