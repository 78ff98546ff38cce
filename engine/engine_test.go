package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// house is a server with engines, and a plain client of them.
type house struct {
	t  *testing.T
	ns *server.Server
	nc *nats.Conn
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, ns: startJetStream(t)}
	h.nc = dialServer(t, h.ns)
	return h
}

// start runs an engine and returns what stops it and gives Run's error.
func (h *house) start(change ...func(*Config)) (stop func() error) {
	h.t.Helper()
	cfg := Config{Dial: func(name string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("", append(options, nats.Name(name), nats.InProcessServer(h.ns), nats.Timeout(testPatience))...)
	}}
	for _, set := range change {
		set(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-e.Ready():
	case err := <-done:
		h.t.Fatalf("the engine did not start: %v", err)
	}
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	h.t.Cleanup(func() { _ = stop() })
	return stop
}

// ask sends a request until it is answered for good, as clients do: what got no
// answer, or a hint to ask again, is asked again under the same command id. The
// answer is decoded into reply, or is an error.
func (h *house) ask(subject string, request, reply any, headers ...string) *contract.Error {
	h.t.Helper()
	const oneTry = 10 * time.Second
	m := h.message(subject, request, append([]string{contract.HeaderCommandID, newCommandID(time.Now())}, headers...))
	for deadline := time.Now().Add(testPatience); ; pause(h.t.Context(), 20*time.Millisecond) {
		answer, err := h.nc.RequestMsg(m, oneTry)
		late := time.Now().After(deadline)
		if err != nil && late {
			h.t.Fatalf("%s: %v", subject, err)
		}
		if err != nil {
			continue
		}
		if rejected := h.read(answer, reply); rejected == nil || rejected.RetryAfter == 0 || late {
			return rejected
		}
	}
}

// askOnce sends a request and decodes its answer into reply, or returns the error.
func (h *house) askOnce(subject string, request, reply any, headers ...string) *contract.Error {
	h.t.Helper()
	answer, err := h.nc.RequestMsg(h.message(subject, request, headers), testPatience)
	if err != nil {
		h.t.Fatalf("%s: %v", subject, err)
	}
	return h.read(answer, reply)
}

func (h *house) message(subject string, request any, headers []string) *nats.Msg {
	h.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		h.t.Fatal(err)
	}
	m := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	return m
}

func (h *house) read(answer *nats.Msg, reply any) *contract.Error {
	h.t.Helper()
	if answer.Header.Get(contract.HeaderError) != "" {
		rejected := &contract.Error{}
		if err := json.Unmarshal(answer.Data, rejected); err != nil {
			h.t.Fatalf("%s: %v", answer.Data, err)
		}
		return rejected
	}
	if err := json.Unmarshal(answer.Data, reply); err != nil {
		h.t.Fatalf("%s: %v", answer.Data, err)
	}
	return nil
}

// command sends a command that has to be accepted.
func (h *house) command(session string, verb domain.Verb, request any) contract.Reply {
	h.t.Helper()
	var reply contract.Reply
	if rejected := h.ask(contract.Default().Command("ann", session, verb), request, &reply); rejected != nil {
		h.t.Fatalf("%s %s: %s", verb, session, rejected.Message)
	}
	return reply
}

func query[R any](h *house, name string, request any, headers ...string) (R, *contract.Error) {
	h.t.Helper()
	var reply R
	rejected := h.ask(contract.Default().Query("ann", name), request, &reply, headers...)
	return reply, rejected
}

var housePlan = domain.Definition{
	Metadata: map[string]string{"team": "red"},
	Chains:   []domain.ChainDef{{ID: "a", Steps: []domain.StepDef{{Manual: true}, {Manual: true}}}},
}

func TestConfigNamesEveryProblem(t *testing.T) {
	_, err := New(Config{Prefix: "Not.A.Prefix", Replicas: 9})
	for _, want := range []string{"prefix", "Dial", "replicas"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

func TestGroupCommitIsForOneReplicaOnFile(t *testing.T) {
	dial := func(string, ...nats.Option) (*nats.Conn, error) { return nil, errors.New("not asked for") }
	for _, cfg := range []Config{{Replicas: 3}, {Memory: true}} {
		cfg.Dial, cfg.GroupCommit = dial, true
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "one replica") {
			t.Errorf("%d replicas, memory %v: %v", cfg.Replicas, cfg.Memory, err)
		}
	}
	if _, err := New(Config{Dial: dial, GroupCommit: true}); err != nil {
		t.Error(err)
	}
}

func TestRunOnce(t *testing.T) {
	down := errors.New("the server is down")
	e, err := New(Config{Dial: func(string, ...nats.Option) (*nats.Conn, error) { return nil, down }})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); !errors.Is(err, down) {
		t.Errorf("Run gave %v", err)
	}
	if err := e.Run(t.Context()); err == nil || errors.Is(err, down) {
		t.Errorf("the second Run gave %v", err)
	}
}

func TestQueriesOfOneSession(t *testing.T) {
	h := newHouse(t)
	h.start()
	h.command("s1", domain.VerbCreate, housePlan)
	h.command("s1", domain.VerbStart, nil)
	done := h.command("s1", domain.VerbStepSucceed, domain.SucceedManual{Chain: "a", Step: "1", Output: json.RawMessage(`{"n":1}`)})

	got, rejected := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: "s1"})
	if rejected != nil || got.Session.Version != done.Version || got.Session.Step("a", "1").Status != domain.StepStatusSuccess {
		t.Errorf("get: %+v %+v", got.Session, rejected)
	}
	if got.Session.Recent != nil {
		t.Error("get shows the engine's memory of command ids")
	}
	past, rejected := query[contract.GetReply](h, contract.QueryAt, contract.AtRequest{Session: "s1", Version: 1})
	if rejected != nil || past.Session.State != domain.StatePending {
		t.Errorf("at version 1: %+v %+v", past.Session, rejected)
	}
	history, rejected := query[contract.HistoryReply](h, contract.QueryHistory, contract.HistoryRequest{Session: "s1", Limit: 2})
	if rejected != nil || len(history.Commits) != 2 || history.Next != 3 {
		t.Fatalf("history: %+v %+v", history, rejected)
	}
	rest, rejected := query[contract.HistoryReply](h, contract.QueryHistory, contract.HistoryRequest{Session: "s1", FromVersion: history.Next})
	if rejected != nil || len(rest.Commits) != 1 || rest.Next != 0 || rest.Commits[0].Prev != history.Commits[1].Hash {
		t.Errorf("the rest of the history: %+v %+v", rest, rejected)
	}
	some, rejected := query[contract.HistoryReply](h, contract.QueryHistory, contract.HistoryRequest{
		Session: "s1", Types: []domain.EventType{domain.TypeSessionStarted},
	})
	if rejected != nil || len(some.Commits) != 1 || some.Commits[0].Cause != domain.VerbStart {
		t.Errorf("the history of one type: %+v %+v", some, rejected)
	}
}

func TestListSeesWhatWasAnswered(t *testing.T) {
	h := newHouse(t)
	h.start(func(c *Config) { c.MetadataKeys = []string{"team"} })
	for i := range 20 {
		reply := h.command(fmt.Sprintf("s%d", i), domain.VerbCreate, housePlan)
		at := []string{contract.HeaderMinPosition, reply.Position.String()}
		page, rejected := query[contract.ListReply](h, contract.QueryList, contract.ListRequest{
			Filter: contract.Filter{Metadata: map[string]string{"team": "red"}},
		}, at...)
		if rejected != nil || len(page.Sessions) != i+1 {
			t.Fatalf("the list after %d creations has %d sessions: %+v", i+1, len(page.Sessions), rejected)
		}
		count, rejected := query[contract.CountReply](h, contract.QueryCount, contract.CountRequest{}, at...)
		if rejected != nil || count.States[domain.StatePending] != i+1 {
			t.Fatalf("the count after %d creations is %+v: %+v", i+1, count, rejected)
		}
	}
}

func TestRefusedQueries(t *testing.T) {
	h := newHouse(t)
	h.start()
	here := h.command("s1", domain.VerbCreate, housePlan).Position
	h.command("s2", domain.VerbCreate, housePlan)
	h.command("s2", domain.VerbDelete, nil)
	for _, c := range []struct {
		name    string
		query   string
		request any
		header  string
		code    domain.Code
		says    string
	}{
		{"no such session", contract.QueryGet, contract.GetRequest{Session: "nobody"}, "", domain.CodeNotFound, `there is no session "nobody"`},
		{"a bad id", contract.QueryGet, contract.GetRequest{Session: "a.b"}, "", domain.CodeInvalid, "no session id"},
		{"gone", contract.QueryGet, contract.GetRequest{Session: "s2"}, "", domain.CodeGone, "is gone"},
		{"the history of a gone one", contract.QueryHistory, contract.HistoryRequest{Session: "s2"}, "", domain.CodeGone, "is gone"},
		{"an unknown field", contract.QueryGet, map[string]string{"id": "s1"}, "", domain.CodeInvalid, `no field "id"`},
		{"an unknown type", contract.QueryHistory, contract.HistoryRequest{Session: "s1", Types: []domain.EventType{"step.danced"}}, "", domain.CodeInvalid, "step.danced"},
		{"a limit", contract.QueryHistory, contract.HistoryRequest{Session: "s1", Limit: 5000}, "", domain.CodeInvalid, "outside 1 to"},
		{"no cut", contract.QueryAt, contract.AtRequest{Session: "s1"}, "", domain.CodeInvalid, "exactly one"},
		{"two cuts", contract.QueryAt, contract.AtRequest{Session: "s1", Version: 1, Seq: 1}, "", domain.CodeInvalid, "exactly one"},
		{"before the beginning", contract.QueryAt, contract.AtRequest{Session: "s1", Time: time.Unix(1, 0)}, "", domain.CodeNotFound, "did not exist then"},
		{"no position", contract.QueryList, nil, "soon", domain.CodeInvalid, "incarnation:sequence"},
		{"a foreign position", contract.QueryList, nil, "elsewhere:1", domain.CodeInvalid, "another incarnation"},
		{"a far position", contract.QueryList, nil, here.Incarnation + ":1000000", domain.CodeUnavailable, "was not reached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = []string{contract.HeaderMinPosition, c.header}
			}
			var rejected *contract.Error
			until(t, "an answer that is no hint to ask again", func() bool {
				rejected = h.askOnce(contract.Default().Query("ann", c.query), c.request, &json.RawMessage{}, headers...)
				return rejected == nil || rejected.RetryAfter == 0 || rejected.Code == c.code
			})
			if rejected == nil || rejected.Code != c.code || !strings.Contains(rejected.Message, c.says) {
				t.Errorf("got %+v, want %s and %q", rejected, c.code, c.says)
			}
		})
	}
}

func TestRestartLosesNothing(t *testing.T) {
	h := newHouse(t)
	stop := h.start()
	h.command("s1", domain.VerbCreate, housePlan)
	before := h.command("s1", domain.VerbStart, nil)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	h.start()
	got, rejected := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: "s1"})
	if rejected != nil || got.Session.State != domain.StateRunning || got.Session.Version != before.Version {
		t.Errorf("after a restart: %+v %+v", got.Session, rejected)
	}
}

// TestStopAnswersEverything stops one of two engines under load: every command
// is answered, once.
func TestStopAnswersEverything(t *testing.T) {
	h := newHouse(t)
	stop := h.start()
	h.start()
	const clients, each = 8, 40
	var wg sync.WaitGroup
	halfway := make(chan struct{}, clients)
	for c := range clients {
		wg.Go(func() {
			id := fmt.Sprintf("s%d", c)
			h.command(id, domain.VerbCreate, housePlan)
			h.command(id, domain.VerbStart, nil)
			for n := range each {
				verb := []domain.Verb{domain.VerbPause, domain.VerbResume}[n%2]
				h.command(id, verb, nil)
				if n == each/2 {
					halfway <- struct{}{}
				}
			}
		})
	}
	<-halfway
	if err := stop(); err != nil {
		t.Errorf("the engine ended with %v", err)
	}
	wg.Wait()
	for c := range clients {
		got, rejected := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: fmt.Sprintf("s%d", c)})
		if rejected != nil || got.Session.Commits != each+2 {
			t.Errorf("session %d has %+v commits after %d commands: %+v", c, got.Session, each+2, rejected)
		}
	}
}

func TestStreamThatDoesNotFitIsRefused(t *testing.T) {
	h := newHouse(t)
	stop := h.start(func(c *Config) { c.Memory = true })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Dial: func(_ string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("", append(options, nats.InProcessServer(h.ns), nats.Timeout(testPatience))...)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "REPRISE_EVENTS") {
		t.Errorf("an engine for files on a stream in memory: %v", err)
	}
}
