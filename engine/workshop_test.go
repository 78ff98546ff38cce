package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// workshop is a house with engines that can be killed, and what a test needs to
// know of tasks.
type workshop struct {
	*house
	js jetstream.JetStream
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{house: newHouse(t)}
	var err error
	if w.js, err = jetstream.New(w.nc); err != nil {
		t.Fatal(err)
	}
	return w
}

// machine is an engine that runs.
type machine struct {
	stop func() error
	// kill takes its connections away at once, so that it can't say goodbye.
	kill func()
}

// run starts an engine in memory.
func (w *workshop) run(change ...func(*Config)) *machine {
	w.t.Helper()
	var mu sync.Mutex
	var conns []*nats.Conn
	dead := false
	cfg := Config{Memory: true, Dial: func(name string, options ...nats.Option) (*nats.Conn, error) {
		nc, err := nats.Connect("", append(options, nats.Name(name), nats.InProcessServer(w.ns), nats.Timeout(testPatience))...)
		mu.Lock()
		defer mu.Unlock()
		if conns = append(conns, nc); err == nil && dead {
			nc.Close()
		}
		return nc, err
	}}
	if os.Getenv("REPRISE_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, set := range change {
		set(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-e.Ready():
	case err := <-done:
		w.t.Fatalf("the engine did not start: %v", err)
	}
	m := &machine{stop: sync.OnceValue(func() error { cancel(); return <-done })}
	m.kill = func() {
		mu.Lock()
		defer mu.Unlock()
		dead = true
		for _, nc := range conns {
			nc.Close()
		}
		go func() { _ = m.stop() }()
	}
	w.t.Cleanup(func() { _ = m.stop() })
	return m
}

// begin creates a session of a user from a plan in JSON and starts it.
func (w *workshop) begin(user, id, plan string) {
	w.t.Helper()
	w.send(user, id, domain.VerbCreate, plan)
	w.send(user, id, domain.VerbStart, "")
}

// send sends a command that has to be accepted.
func (w *workshop) send(user, id string, verb domain.Verb, body string) contract.Reply {
	w.t.Helper()
	return w.accepted(contract.Default().Command(user, id, verb), body)
}

func (w *workshop) accepted(subject, body string) contract.Reply {
	w.t.Helper()
	reply, rejected := w.try(subject, body)
	if rejected != nil {
		w.t.Fatalf("%s %s: %s: %s", subject, body, rejected.Code, rejected.Message)
	}
	return reply
}

func (w *workshop) try(subject, body string) (contract.Reply, *contract.Error) {
	w.t.Helper()
	var reply contract.Reply
	if body == "" {
		body = "{}"
	}
	rejected := w.ask(subject, json.RawMessage(body), &reply)
	return reply, rejected
}

// as sends a worker's command on a step of user ann.
func (w *workshop) as(worker, action, session string, verb domain.Verb, body string) (contract.Reply, *contract.Error) {
	w.t.Helper()
	return w.try(contract.Default().Worker(worker, action, "ann", session, verb), body)
}

// must is as, and has to be accepted.
func (w *workshop) must(worker, action, session string, verb domain.Verb, body string) contract.Reply {
	w.t.Helper()
	return w.accepted(contract.Default().Worker(worker, action, "ann", session, verb), body)
}

// eachTask calls fn for every task in the stream, with its "session/chain/step".
func (w *workshop) eachTask(fn func(name string, m *jetstream.RawStreamMsg)) {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), contract.Default().WorkStream())
	for seq := uint64(1); err == nil; seq++ {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetMsg(w.t.Context(), seq, jetstream.WithGetMsgSubject("reprise.work.>")); err != nil {
			break
		}
		seq = m.Sequence
		ref, _ := contract.Default().ParseWork(m.Subject)
		fn(ref.Session+"/"+ref.Chain+"/"+ref.Step, m)
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		w.t.Fatal(err)
	}
}

// tasks returns what is in the stream of tasks, with the attempts.
func (w *workshop) tasks() map[string]int {
	w.t.Helper()
	found := map[string]int{}
	w.eachTask(func(name string, m *jetstream.RawStreamMsg) { found[name] = readTask(m.Data).Attempt })
	return found
}

// untilTasks waits until exactly these tasks are offered, each as
// "session/chain/step" or, where it is not the first attempt, "...#attempt".
func (w *workshop) untilTasks(want ...string) {
	w.t.Helper()
	var last map[string]int
	expected := map[string]int{}
	for _, name := range want {
		attempt := 1
		if at := strings.IndexByte(name, '#'); at > 0 {
			_, _ = fmt.Sscan(name[at+1:], &attempt)
			name = name[:at]
		}
		expected[name] = attempt
	}
	defer func() {
		if w.t.Failed() {
			w.t.Logf("offered: %v; wanted %v", last, expected)
		}
	}()
	until(w.t, "the tasks are as they should be", func() bool {
		last = w.tasks()
		return fmt.Sprint(last) == fmt.Sprint(expected)
	})
}

// session reads a session of user ann.
func (w *workshop) session(id string) *domain.Session { return w.sessionOf("ann", id) }

func (w *workshop) sessionOf(user, id string) *domain.Session {
	w.t.Helper()
	var reply contract.GetReply
	if rejected := w.ask(contract.Default().Query(user, contract.QueryGet), contract.GetRequest{Session: id}, &reply); rejected != nil {
		w.t.Fatalf("get %s: %s", id, rejected.Message)
	}
	return reply.Session
}

// untilState waits until a session of user ann is in a state.
func (w *workshop) untilState(id string, want domain.State) *domain.Session {
	w.t.Helper()
	var s *domain.Session
	until(w.t, id+" is "+string(want), func() bool {
		s = w.session(id)
		return s.State == want
	})
	return s
}

// commits reads the history of a session of user ann, with the events' data.
func (w *workshop) commits(id string) []contract.CommitEntry {
	w.t.Helper()
	reply, rejected := query[contract.HistoryReply](w.house, contract.QueryHistory, contract.HistoryRequest{Session: id, Limit: contract.MaxPage})
	if rejected != nil {
		w.t.Fatalf("history of %s: %s", id, rejected.Message)
	}
	return reply.Commits
}

// serve asks for the consumer of an action, as a worker does.
func (w *workshop) serve(worker, action string) jetstream.Consumer {
	w.t.Helper()
	var reply contract.ServeReply
	if rejected := w.ask(contract.Default().Serve(worker, action), nil, &reply); rejected != nil {
		w.t.Fatalf("serve: %s", rejected.Message)
	}
	c, err := w.js.Consumer(w.t.Context(), reply.Stream, reply.Consumer)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// hands are workers that claim and succeed until they are sent home.
type hands struct {
	w    *workshop
	stop context.CancelFunc
	done sync.WaitGroup

	mu sync.Mutex
	// order is what was claimed, in order: "user/session/chain/step".
	order   []string
	refused atomic.Int32
}

// employ starts n workers for an action. Each takes one task at a time.
func (w *workshop) employ(n int, action string) *hands {
	w.t.Helper()
	consumer := w.serve("boss", action)
	ctx, cancel := context.WithCancel(context.Background())
	h := &hands{w: w, stop: cancel}
	for i := range n {
		h.done.Go(func() { h.work(ctx, fmt.Sprintf("w%d-%s", i, action), consumer) })
	}
	w.t.Cleanup(h.goHome)
	return h
}

func (h *hands) goHome() {
	h.stop()
	h.done.Wait()
}

func (h *hands) work(ctx context.Context, worker string, consumer jetstream.Consumer) {
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		for m := range batch.Messages() {
			h.do(ctx, worker, m)
		}
	}
}

// do executes one task as the worker package does: claim, acknowledge, report.
func (h *hands) do(ctx context.Context, worker string, m jetstream.Msg) {
	ref, ok := contract.Default().ParseWork(m.Subject())
	if !ok {
		h.w.t.Errorf("a task on %s", m.Subject())
		return
	}
	subject := func(verb domain.Verb) string {
		return contract.Default().Worker(worker, ref.Action, ref.User, ref.Session, verb)
	}
	id := nats.NewInbox()
	reply, code := h.persist(ctx, subject(domain.VerbClaim), "c"+id, &domain.Claim{Chain: ref.Chain, Step: ref.Step, Lease: domain.Duration(20 * time.Second)})
	if code != "" {
		h.refused.Add(1)
		_ = m.Ack()
		return
	}
	if reply.Claimed == nil {
		return // sent home
	}
	h.mu.Lock()
	h.order = append(h.order, ref.User+"/"+ref.Session+"/"+ref.Chain+"/"+ref.Step)
	h.mu.Unlock()
	_ = m.DoubleAck(ctx)
	h.persist(ctx, subject(domain.VerbSucceed), "s"+id, &domain.Succeed{Chain: ref.Chain, Step: ref.Step, Attempt: reply.Claimed.Attempt})
}

// persist sends a command until it is answered for good, and returns the code
// of a refusal.
func (h *hands) persist(ctx context.Context, subject, id string, c domain.Command) (contract.Reply, domain.Code) {
	var reply contract.Reply
	body, err := domain.Marshal(c)
	if err != nil {
		h.w.t.Error(err)
		return reply, domain.CodeInvalid
	}
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		m, err := h.w.nc.RequestMsgWithContext(asking, &nats.Msg{Subject: subject, Data: body, Header: nats.Header{contract.HeaderCommandID: {id}}})
		cancel()
		var refused contract.Error
		switch {
		case err != nil:
		case m.Header.Get(contract.HeaderError) == "":
			if err := json.Unmarshal(m.Data, &reply); err != nil {
				h.w.t.Error(err)
			}
			return reply, ""
		default:
			_ = json.Unmarshal(m.Data, &refused)
			if refused.RetryAfter == 0 {
				return reply, refused.Code
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
	return reply, ""
}

func (h *hands) claimed() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.order...)
}
