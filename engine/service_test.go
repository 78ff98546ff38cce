package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// startServer starts an embedded server for one test.
func startServer(t testing.TB, change ...func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{DontListen: true, NoSigs: true, NoLog: true}
	for _, set := range change {
		set(opts)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(testPatience) {
		t.Fatal("the server is not ready")
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	return ns
}

func dialServer(t testing.TB, ns *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(ns), nats.Timeout(testPatience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// desk is a service over a store in memory, and a plain client.
type desk struct {
	*bench
	service *service
	nc      *nats.Conn
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	b := newBench(t)
	ns := startServer(t)
	d := &desk{bench: b, nc: dialServer(t, ns)}
	lanes := newLanes(maxInFlight, maxPerSession, maxRunning)
	t.Cleanup(lanes.close)
	requests := dialServer(t, ns)
	var err error
	d.service, err = startService(serviceConfig{
		Names: contract.Default(), Version: "0.0.1", Requests: requests, Replies: dialServer(t, ns),
		Executor: &executor{lanes: lanes, commander: b.cmd}, Clock: b.clock, Logger: slog.New(slog.DiscardHandler),
		Queries: map[string]queryFunc{
			"get": func(_ context.Context, user string, body []byte, _ nats.Header) (any, error) {
				if len(body) == 0 {
					return nil, domain.Invalid("session", "which one?")
				}
				return map[string]string{"user": user, "body": string(body)}, nil
			},
			"huge": func(context.Context, string, []byte, nats.Header) (any, error) {
				return strings.Repeat("x", 2<<20), nil
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := requests.Flush(); err != nil {
		t.Fatal(err)
	}
	return d
}

// send requests on a subject and returns the answer; the error is decoded from
// a rejection.
func (d *desk) send(subject, body string, header nats.Header) (*nats.Msg, contract.Error) {
	d.t.Helper()
	m, err := d.nc.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: header}, testPatience)
	if err != nil {
		d.t.Fatalf("%s: %v", subject, err)
	}
	var e contract.Error
	if m.Header.Get(contract.HeaderErrorCode) != "" {
		if err := json.Unmarshal(m.Data, &e); err != nil {
			d.t.Fatalf("%s: %s: %v", subject, m.Data, err)
		}
		if status := m.Header.Get(contract.HeaderErrorCode); status != strconv.Itoa(contract.Status(e.Code)) {
			d.t.Errorf("%s: status %s for code %s", subject, status, e.Code)
		}
		if m.Header.Get(contract.HeaderError) == "" || e.Message == "" {
			d.t.Errorf("%s: a rejection without a sentence", subject)
		}
	}
	return m, e
}

func (d *desk) accept(subject, body string, header nats.Header) contract.Reply {
	d.t.Helper()
	m, e := d.send(subject, body, header)
	if e.Code != "" {
		d.t.Fatalf("%s: %s: %s", subject, e.Code, e.Message)
	}
	return decodeReply(d.t, m.Data)
}

func TestPlainRequests(t *testing.T) {
	d := newDesk(t)
	id := nats.Header{contract.HeaderCommandID: {"order-1"}}
	made := d.accept("reprise.cmd.ann.new.create", openPlan, id)
	if again := d.accept("reprise.cmd.ann.new.create", openPlan, id); !again.Duplicate || again.Session != made.Session || made.User != "ann" || made.CommandID != "order-1" {
		t.Errorf("created %+v, then %+v", made, again)
	}
	at := "reprise.cmd.ann." + made.Session + "."
	if r := d.accept(at+"start", "", nats.Header{contract.HeaderExpectVersion: {"1"}}); r.State != domain.StateRunning || r.CommandID == "" {
		t.Errorf("start: %+v", r)
	}
	if r := d.accept(at+"chain.add", `{"steps":[{"manual":true}]}`, nats.Header{contract.HeaderDryRun: {"true"}}); !r.DryRun || len(r.Events) != 1 {
		t.Errorf("dry run: %+v", r)
	}
	d.accept(at+"step.add", `{"chain":"c","step":{"id":"2","action":"build"}}`, nil)
	d.accept(at+"step.succeed", `{"chain":"c","step":"s"}`, nil)
	work := "reprise.wrk.amber.build.ann." + made.Session + "."
	if r := d.accept(work+"claim", `{"chain":"c","step":"2"}`, nil); r.Claimed == nil || r.Claimed.Action != "build" {
		t.Errorf("claim: %+v", r)
	}
	if s := d.session(made.Session); s.Step("c", "2").Worker != "amber" {
		t.Errorf("claimed by %q", s.Step("c", "2").Worker)
	}
	d.accept("reprise.adm.olga.cmd.ann."+made.Session+".hold", `{"reason":"audit"}`, nil)
	if hold := d.session(made.Session).Hold; hold == nil || hold.By != "olga" {
		t.Errorf("held by %+v", hold)
	}
	fork := d.accept(at+"fork", `{}`, nil)
	if moved := d.accept("reprise.cmd.ann."+made.Session+".chain.add", `{"id":"m","steps":[{"manual":true}]}`, nil); moved.Version == 0 {
		t.Error("chain.add")
	}
	d.accept(at+"chain.move", `{"chain":"m","to":"`+fork.Session+`"}`, nil)
}

func TestUsersAreApart(t *testing.T) {
	d := newDesk(t)
	d.accept("reprise.cmd.ann.s1.create", onePlan, nil)
	for _, user := range []string{"bob", contract.UserToken("b o b"), contract.UserToken("ann.x")} {
		if _, e := d.send("reprise.cmd."+user+".s1.start", "", nil); e.Code != domain.CodeNotFound {
			t.Errorf("user %s: %s", user, e.Code)
		}
	}
	own := d.accept("reprise.cmd."+contract.UserToken("b o b")+".s1.create", manualPlan, nil)
	if own.User != "b o b" || own.Duplicate {
		t.Errorf("the same id under another user: %+v", own)
	}
}

func TestBadInput(t *testing.T) {
	d := newDesk(t)
	d.accept("reprise.cmd.ann.s1.create", onePlan, nil)
	d.accept("reprise.cmd.ann.gone.create", onePlan, nil)
	d.accept("reprise.cmd.ann.gone.delete", "", nil)
	steps := strings.Repeat(`{"manual":true},`, 9999) + `{"manual":true}`
	head := func(name, value string) nats.Header { return nats.Header{name: {value}} }
	tests := []struct {
		name, subject, body string
		header              nats.Header
		code                domain.Code
		says                string
	}{
		{"not JSON", "cmd.ann.s1.pause", `{"mode":`, nil, domain.CodeInvalid, "JSON"},
		{"two values", "cmd.ann.s1.start", `{} {}`, nil, domain.CodeInvalid, "end"},
		{"unknown verb", "cmd.ann.s1.explode", ``, nil, domain.CodeInvalid, "explode"},
		{"unknown verb of two tokens", "cmd.ann.s1.chain.explode", ``, nil, domain.CodeInvalid, "chain.explode"},
		{"no verb", "cmd.ann.s1", ``, nil, domain.CodeInvalid, "there is no command"},
		{"no session", "cmd.ann", ``, nil, domain.CodeInvalid, "session"},
		{"too many tokens", "cmd.ann.s1.a.b.c.d", ``, nil, domain.CodeInvalid, "a.b.c.d"},
		{"unknown field", "cmd.ann.s1.pause", `{"speed":1}`, nil, domain.CodeInvalid, "speed"},
		{"wrong type", "cmd.ann.s1.pause", `{"reason":1}`, nil, domain.CodeInvalid, "reason"},
		{"an id with a dot", "cmd.ann.s.1.start", ``, nil, domain.CodeInvalid, "1.start"},
		{"an id with a sign", "cmd.ann.s$1.start", ``, nil, domain.CodeInvalid, "s$1"},
		{"an id that is too long", "cmd.ann." + strings.Repeat("x", 65) + ".start", ``, nil, domain.CodeInvalid, "64"},
		{"a user with two names", "cmd.=YW5u.s1.start", ``, nil, domain.CodeInvalid, "user"},
		{"a user that is none", "cmd.$ann.s1.start", ``, nil, domain.CodeInvalid, "user"},
		{"chain id with a space", "cmd.ann.s1.chain.add", `{"id":"a b","steps":[{"manual":true}]}`, nil, domain.CodeInvalid, "a b"},
		{"chain id with a wildcard", "cmd.ann.s1.chain.add", `{"id":">","steps":[{"manual":true}]}`, nil, domain.CodeInvalid, ">"},
		{"chain id of 10 kB", "cmd.ann.s1.chain.add", `{"id":"` + strings.Repeat("x", 10_000) + `","open":true}`, nil, domain.CodeInvalid, "id"},
		{"a cycle", "cmd.ann.s2.create", `{"chains":[{"id":"a","waitsFor":["b"],"open":true},{"id":"b","waitsFor":["a"],"open":true}]}`, nil, domain.CodeInvalid, "waits for itself"},
		{"waits for nothing", "cmd.ann.s2.create", `{"chains":[{"id":"a","waitsFor":["zz"],"open":true}]}`, nil, domain.CodeInvalid, "zz"},
		{"duplicate ids", "cmd.ann.s2.create", `{"chains":[{"id":"a","open":true},{"id":"a","open":true}]}`, nil, domain.CodeInvalid, "earlier"},
		{"10,000 steps", "cmd.ann.s2.create", `{"chains":[{"steps":[` + steps + `]}]}`, nil, domain.CodeInvalid, "1000"},
		{"a payload over the limit", "cmd.ann.s2.create", `{"chains":[{"steps":[{"manual":true,"input":"` + strings.Repeat("x", domain.MaxPayloadBytes) + `"}]}]}`, nil, domain.CodeInvalid, "input"},
		{"a body over the limit", "cmd.ann.s2.create", strings.Repeat(" ", domain.MaxCommandBytes+1), nil, domain.CodeInvalid, strconv.Itoa(domain.MaxCommandBytes)},
		{"a purged session", "cmd.ann.gone.start", ``, nil, domain.CodeGone, "gone"},
		{"a wrong expected version", "cmd.ann.s1.start", ``, head(contract.HeaderExpectVersion, "9"), domain.CodeVersionConflict, "9"},
		{"an expected version that is none", "cmd.ann.s1.start", ``, head(contract.HeaderExpectVersion, "-1"), domain.CodeInvalid, "-1"},
		{"a command id that is none", "cmd.ann.s1.start", ``, head(contract.HeaderCommandID, "a b"), domain.CodeInvalid, "command id"},
		{"a header given twice", "cmd.ann.s1.start", ``, nats.Header{contract.HeaderCommandID: {"a", "b"}}, domain.CodeInvalid, "once"},
		{"a dry run that is neither", "cmd.ann.s1.start", ``, head(contract.HeaderDryRun, "perhaps"), domain.CodeInvalid, "perhaps"},
		{"an unknown header", "cmd.ann.s1.start", ``, head("Reprise-Speed", "1"), domain.CodeInvalid, "Reprise-Speed"},
		{"a header in the wrong case", "cmd.ann.s1.start", ``, head("reprise-command-id", "1"), domain.CodeInvalid, contract.HeaderCommandID},
		{"hold by a user", "cmd.ann.s1.hold", ``, nil, domain.CodeNotAllowed, "operators"},
		{"unhold by a user", "cmd.ann.s1.unhold", ``, nil, domain.CodeNotAllowed, "operators"},
		{"claim by a user", "cmd.ann.s1.claim", ``, nil, domain.CodeNotAllowed, "workers"},
		{"start by a worker", "wrk.amber.build.ann.s1.start", ``, nil, domain.CodeNotAllowed, "not for workers"},
		{"an unknown verb of a worker", "wrk.amber.build.ann.s1.sleep", ``, nil, domain.CodeInvalid, "heartbeat"},
		{"a worker that is none", "wrk.$.build.ann.s1.claim", ``, nil, domain.CodeInvalid, "sender"},
		{"an action that is none", "wrk.amber.$.ann.s1.claim", ``, nil, domain.CodeInvalid, "action"},
		{"another action", "wrk.amber.paint.ann.s1.claim", `{"chain":"c","step":"s"}`, nil, domain.CodeIllegalTransition, ""},
		{"an operator's request that is none", "adm.olga.dance", ``, nil, domain.CodeInvalid, "operator"},
		{"an operator that is none", "adm.$.cmd.ann.s1.hold", ``, nil, domain.CodeInvalid, "sender"},
		{"an unknown query", "qry.ann.guess", ``, nil, domain.CodeInvalid, "get"},
		{"a query of nobody", "qry.$.get", `{}`, nil, domain.CodeInvalid, "user"},
		{"a query that is rejected", "qry.ann.get", ``, nil, domain.CodeInvalid, "which"},
		{"an answer that is too long", "qry.ann.huge", ``, nil, domain.CodeInvalid, "bytes"},
		{"a session called new", "cmd.ann.new.start", ``, nil, domain.CodeNotFound, "new"},
		{"a bad move", "cmd.ann.s1.chain.move", `{"chain":`, nil, domain.CodeInvalid, "JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := d.messages()
			m, e := d.send("reprise."+tt.subject, tt.body, tt.header)
			if e.Code != tt.code || !strings.Contains(e.Message, tt.says) {
				t.Errorf("answered with %s: %s (%.200s)", e.Code, e.Message, m.Data)
			}
			if strings.ContainsAny(m.Header.Get(contract.HeaderError), "\r\n") {
				t.Error("the sentence has more than one line")
			}
			if d.messages() != before {
				t.Error("something was stored")
			}
		})
	}
	d.accept("reprise.cmd.ann.s1.start", "", nil)
}

func TestQueries(t *testing.T) {
	d := newDesk(t)
	m, e := d.send("reprise.qry."+contract.UserToken("b o b")+".get", `{"a":1}`, nil)
	if e.Code != "" || string(m.Data) != `{"body":"{\"a\":1}","user":"b o b"}` {
		t.Errorf("answered with %s %s", m.Data, e.Message)
	}
}

func TestDroppedRequests(t *testing.T) {
	d := newDesk(t)
	inbox := d.nc.NewInbox()
	tests := []*nats.Msg{
		{Reply: "reprise.evt.ann.s1"},
		{Reply: "$JS.API.STREAM.PURGE.REPRISE_EVENTS"},
		{Reply: inbox, Header: nats.Header{"Nats-Expected-Last-Subject-Sequence": {"0"}}},
		{Reply: inbox, Header: nats.Header{"nats-rollup": {"all"}}},
		{Reply: inbox, Header: nats.Header{"Status": {"503"}}},
	}
	heard, err := d.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range tests {
		for _, subject := range []string{"reprise.cmd.ann.s1.create", "reprise.cmd.ann.s1.explode"} {
			m.Subject, m.Data = subject, []byte(onePlan)
			if err := d.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		until(t, fmt.Sprintf("message %d is dropped", i), func() bool { return d.service.dropped.Load() == uint64(2*i+2) })
	}
	if err := d.nc.PublishMsg(&nats.Msg{Subject: "reprise.cmd.ann.s2.create", Data: []byte(onePlan), Header: nats.Header{"Nats-Request-Info": {"{}"}}}); err != nil {
		t.Fatal(err)
	}
	until(t, "a command without a reply subject is applied", func() bool { return d.messages() == 1 })
	if n, _, err := heard.Pending(); n != 0 || err != nil {
		t.Errorf("%d answers to dropped requests (%v)", n, err)
	}
}

func TestMicroSeesTheService(t *testing.T) {
	d := newDesk(t)
	d.accept("reprise.cmd.ann.s1.create", onePlan, nil)
	d.send("reprise.cmd.ann.s1.resume", "", nil)
	d.send("reprise.cmd.ann.s1.explode", "", nil)
	m, err := d.nc.Request("$SRV.STATS.reprise", nil, testPatience)
	if err != nil {
		t.Fatal(err)
	}
	var stats micro.Stats
	if err := json.Unmarshal(m.Data, &stats); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, e := range stats.Endpoints {
		seen[e.Name] = string(e.Data)
	}
	want := map[string]string{
		"commands":  `{"create":{"answered":1,"dropped":0,"rejected":0},"other":{"answered":0,"dropped":0,"rejected":1},"resume":{"answered":0,"dropped":0,"rejected":1}}`,
		"operators": `{}`, "workers": `{}`, "queries": `{}`,
	}
	if !maps.Equal(seen, want) {
		t.Errorf("endpoints %v; want %v", seen, want)
	}
}

func TestStopAnswersWhatWasAccepted(t *testing.T) {
	d := newDesk(t)
	const clients = 32
	hold := make(chan struct{})
	d.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { <-hold; return nil }})
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			m, err := d.nc.Request(fmt.Sprintf("reprise.cmd.ann.s%d.create", n), []byte(onePlan), testPatience)
			if err != nil || m.Header.Get(contract.HeaderErrorCode) != "" {
				t.Errorf("client %d: %v", n, err)
			}
		})
	}
	until(t, "all are accepted", func() bool { return d.service.Executor.lanes.inFlight() == clients })
	stopped := make(chan error, 1)
	go func() {
		err := d.service.stop(context.Background())
		if err == nil {
			err = d.service.Executor.lanes.drain(context.Background())
		}
		stopped <- err
	}()
	until(t, "nothing is taken any more", func() bool { return d.service.Requests.NumSubscriptions() == 0 })
	if _, err := d.nc.Request("reprise.cmd.ann.s1.start", nil, testPatience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a request to a service that stops: %v", err)
	}
	close(hold)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	wg.Wait()
	if d.messages() != clients {
		t.Errorf("%d commits; want %d", d.messages(), clients)
	}
}
