package workertest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// Wait bounds every wait of a test.
const Wait = time.Minute

// Engine is the fake. All methods are safe for concurrent use, and end the test
// when something is wrong with the fake itself.
type Engine struct {
	t     testing.TB
	nc    *nats.Conn
	js    jetstream.JetStream
	names contract.Names
	sub   *nats.Subscription
	// AckWait of the consumers that workers ask for; set it before a worker runs.
	AckWait time.Duration

	mu       sync.Mutex
	changed  *sync.Cond
	sessions map[string]*domain.Session
	answers  map[string]*nats.Msg // by command id
	calls    []Call
	faults   []Fault
	progress map[string]contract.Progress
}

// Call is one request that came.
type Call struct {
	Verb    domain.Verb
	Ref     contract.TaskRef
	Worker  string
	Command string
	Body    []byte
	// Code is why it was refused; empty if it was accepted.
	Code domain.Code
	// Duplicate says that an earlier answer was given again.
	Duplicate bool
}

// Server starts a NATS server with JetStream in memory for one test and returns
// its address.
func Server(t testing.TB) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(Wait) {
		t.Fatal("the test server did not start")
	}
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	return srv.ClientURL()
}

// Connect opens a connection that is closed after the test.
func Connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(Wait))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Start makes a fake engine on a server.
func Start(t testing.TB, url string) *Engine {
	t.Helper()
	e := &Engine{
		t: t, nc: Connect(t, url), names: contract.Default(), AckWait: Wait, sessions: map[string]*domain.Session{},
		answers: map[string]*nats.Msg{}, progress: map[string]contract.Progress{},
	}
	e.changed = sync.NewCond(&e.mu)
	js, err := jetstream.New(e.nc, jetstream.WithDefaultTimeout(Wait))
	if err != nil {
		t.Fatal(err)
	}
	e.js = js
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: e.names.WorkStream(), Subjects: []string{e.names.Prefix() + ".work.>"}, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.MemoryStorage, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Resume()
	return e
}

// Resume makes the engine answer again after Stop; Start does so too.
func (e *Engine) Resume() {
	sub, err := e.nc.Subscribe(e.names.Prefix()+".wrk.>", e.handle)
	if err != nil {
		e.t.Fatal(err)
	}
	e.sub = sub
	e.flush()
}

// Stop makes the engine deaf, as if its process had died; its sessions stay.
// Resume and Stop are not for concurrent use.
func (e *Engine) Stop() {
	_ = e.sub.Unsubscribe()
	e.flush()
}

func (e *Engine) flush() {
	if err := e.nc.Flush(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		e.t.Errorf("flush: %v", err)
	}
}

// Create makes a session from a definition in JSON, starts it and offers its
// steps.
func (e *Engine) Create(user, id, definition string) {
	e.t.Helper()
	e.Command(user, id, domain.VerbCreate, definition)
	e.Command(user, id, domain.VerbStart, "")
}

// Command runs a command of a user that has to be accepted.
func (e *Engine) Command(user, id string, verb domain.Verb, body string) {
	e.t.Helper()
	c, err := domain.DecodeCommand(verb, []byte(body))
	if err != nil {
		e.t.Fatalf("%s: %v", verb, err)
	}
	e.apply(user, id, c)
}

// Expire ends the lease of the attempt in flight, as after a silence.
func (e *Engine) Expire(user, id, chain, step string) {
	e.t.Helper()
	e.apply(user, id, &domain.TimeoutStep{Chain: chain, Step: step, Attempt: e.Step(user, id, chain, step).Attempt, Lease: true})
}

func (e *Engine) apply(user, id string, c domain.Command) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.decide(user, id, c, ""); err != nil {
		e.t.Errorf("%s: %v", c.Verb(), err)
	}
}

// decide runs a command against its session and offers what became ready.
func (e *Engine) decide(user, id string, c domain.Command, commandID string) (domain.Decision, error) {
	key := contract.ViewKey(user, id)
	s := e.sessions[key]
	if s == nil {
		s = domain.New(user, id)
	}
	now := time.Now()
	d, err := domain.Decide(s, c, domain.Env{Now: now, Actor: user, CommandID: commandID})
	if err != nil {
		return d, err
	}
	if len(d.Events) > 0 {
		next := domain.Apply(s, &domain.Commit{
			ID: commandID, Session: id, User: user, Version: s.Version + 1, Time: d.Time, Actor: user,
			Cause: c.Verb(), State: d.Next.State, Events: d.Events,
		})
		e.sessions[key] = next
		e.offer(s, next)
	} else {
		d.Next = s
	}
	e.changed.Broadcast()
	return d, nil
}

// offer puts a task for every step that became ready into the stream, now or
// once it is due.
func (e *Engine) offer(before, s *domain.Session) {
	old := before.Ready()
	for _, r := range s.Ready() {
		if slices.Contains(old, r) {
			continue
		}
		subject := e.names.Work(r.Action, s.User, s.ID, r.Chain, r.Step)
		raw, err := domain.Marshal(contract.Task{Attempt: r.Attempt, Version: s.Version})
		if err != nil {
			e.t.Errorf("task: %v", err)
		}
		publish := func() {
			_, err := e.js.Publish(context.Background(), subject, raw)
			var api *jetstream.APIError
			if err != nil && !errors.As(err, &api) && !e.nc.IsClosed() {
				e.t.Logf("offer %s: %v", subject, err)
			}
		}
		if wait := time.Until(r.NotBefore); wait > 0 {
			time.AfterFunc(wait, publish)
		} else {
			publish()
		}
	}
}

// Offer puts a task into the stream whatever the session says.
func (e *Engine) Offer(subject string) {
	e.t.Helper()
	if _, err := e.js.Publish(e.t.Context(), subject, []byte("{}")); err != nil {
		e.t.Errorf("offer: %v", err)
	}
}

// Session returns a session as it is.
func (e *Engine) Session(user, id string) *domain.Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[contract.ViewKey(user, id)]
}

// Step returns a step as it is.
func (e *Engine) Step(user, id, chain, step string) *domain.Step {
	e.t.Helper()
	st := e.Session(user, id).Step(chain, step)
	if st == nil {
		e.t.Fatalf("there is no step %s/%s", chain, step)
	}
	return st
}

// Until waits until a session fits, and returns it.
func (e *Engine) Until(user, id, what string, fits func(*domain.Session) bool) *domain.Session {
	e.t.Helper()
	var s *domain.Session
	e.await(what, func() bool {
		s = e.sessions[contract.ViewKey(user, id)]
		return s != nil && fits(s)
	})
	return s
}

// UntilState waits until a session is in a state.
func (e *Engine) UntilState(user, id string, state domain.State) *domain.Session {
	e.t.Helper()
	return e.Until(user, id, string(state), func(s *domain.Session) bool { return s.State == state })
}

// UntilCalls waits until a verb was asked for n times, and returns those calls.
func (e *Engine) UntilCalls(verb domain.Verb, n int) []Call {
	e.t.Helper()
	var calls []Call
	e.await(string(verb), func() bool {
		calls = e.callsOf(verb)
		return len(calls) >= n
	})
	return calls
}

// UntilProgress waits until a heartbeat of a step carried a progress that fits.
func (e *Engine) UntilProgress(session, chain, step string, fits func(contract.Progress) bool) {
	e.t.Helper()
	e.await("progress", func() bool { return fits(e.progress[session+"/"+chain+"/"+step]) })
}

// await waits under the lock, with a bound.
func (e *Engine) await(what string, done func() bool) {
	e.t.Helper()
	end := time.Now().Add(Wait)
	wake := time.AfterFunc(Wait, e.changed.Broadcast)
	defer wake.Stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for !done() {
		if !time.Now().Before(end) {
			e.t.Fatalf("waited %s in vain for %s; sessions:\n%s", Wait, what, e.dump())
		}
		e.changed.Wait()
	}
}

func (e *Engine) dump() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(e.sessions)) {
		b.Write(must(domain.Marshal(e.sessions[key])))
		b.WriteByte('\n')
	}
	return b.String()
}

// Calls returns the requests of a verb so far.
func (e *Engine) Calls(verb domain.Verb) []Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.callsOf(verb)
}

func (e *Engine) callsOf(verb domain.Verb) []Call {
	var calls []Call
	for _, c := range e.calls {
		if c.Verb == verb {
			calls = append(calls, c)
		}
	}
	return calls
}

// UntilNoTasks waits until no task is in the stream.
func (e *Engine) UntilNoTasks() {
	e.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(Wait); ; <-tick.C {
		stream, err := e.js.Stream(e.t.Context(), e.names.WorkStream())
		if err != nil {
			e.t.Fatal(err)
		}
		left := stream.CachedInfo().State.Msgs
		if left == 0 {
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("%d tasks are left after %s", left, Wait)
		}
	}
}

// DropConsumer deletes the consumer of an action, as a lost server does.
func (e *Engine) DropConsumer(action string) {
	e.t.Helper()
	if err := e.js.DeleteConsumer(e.t.Context(), e.names.WorkStream(), action); err != nil {
		e.t.Fatal(err)
	}
}
