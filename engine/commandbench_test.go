package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// bench is a commander over a store in memory, with a clock that stands still
// unless it is moved.
type bench struct {
	t      *testing.T
	driver *eventstore.Memory
	store  *eventstore.Store
	cmd    *commander

	mu  sync.Mutex
	now time.Time
	ids int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, driver: eventstore.NewMemory(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b.store, b.cmd = b.another()
	return b
}

// another opens one more store and commander over the same events, as another
// engine does.
func (b *bench) another() (*eventstore.Store, *commander) {
	b.t.Helper()
	store, err := eventstore.Open(b.t.Context(), eventstore.Config{Driver: b.driver})
	if err != nil {
		b.t.Fatal(err)
	}
	return store, newCommander(commanderConfig{Store: store, Clock: b.clock, Jitter: func() float64 { return 0.5 }})
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// ask makes a request of user ann to a session from a body.
func (b *bench) ask(session string, verb domain.Verb, body string, more ...func(*Request)) Request {
	b.t.Helper()
	b.ids++
	r := Request{Key: eventstore.Key{User: "ann", Session: session}, Verb: verb, ID: fmt.Sprintf("cmd-%d", b.ids), Actor: "ann"}
	if err := r.readBody(address{worker: "amber", action: "build"}, []byte(body)); err != nil {
		b.t.Fatalf("%s %s: %v", verb, body, err)
	}
	for _, set := range more {
		set(&r)
	}
	return r
}

func withID(id string) func(*Request) { return func(r *Request) { r.ID = id } }

func expecting(version uint64) func(*Request) { return func(r *Request) { r.Expect = &version } }

func dry(r *Request) { r.DryRun = true }

func queuedAt(seq uint64) func(*Request) { return func(r *Request) { r.QueueSeq = seq } }

// do carries a request out that has to be accepted.
func (b *bench) do(r Request) contract.Reply {
	b.t.Helper()
	reply, err := b.cmd.Do(b.t.Context(), r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", r.Verb, r.Key, err)
	}
	return reply
}

// refuse carries a request out that has to be rejected with a code and changes
// nothing.
func (b *bench) refuse(r Request, code domain.Code) contract.Error {
	b.t.Helper()
	before := b.messages()
	_, err := b.cmd.Do(b.t.Context(), r)
	if err == nil {
		b.t.Fatalf("%s %s was accepted; want %s", r.Verb, r.Key, code)
	}
	e := problem(err, r.ID)
	if e.Code != code {
		b.t.Fatalf("%s %s: %s (%s); want %s", r.Verb, r.Key, e.Code, e.Message, code)
	}
	if after := b.messages(); after != before {
		b.t.Fatalf("%s %s: a rejection stored %d messages", r.Verb, r.Key, after-before)
	}
	return e
}

func (b *bench) messages() uint64 {
	b.t.Helper()
	info, err := b.driver.Info(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return info.Last
}

func (b *bench) session(id string) *domain.Session {
	b.t.Helper()
	a, err := b.store.Load(b.t.Context(), eventstore.Key{User: "ann", Session: id})
	if err == nil {
		a, err = b.store.Confirm(b.t.Context(), a)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return a.Session
}

const (
	onePlan    = `{"chains":[{"id":"c","steps":[{"id":"s","action":"build","input":{"n":1}}]}]}`
	manualPlan = `{"chains":[{"id":"c","steps":[{"id":"s","manual":true},{"id":"u","manual":true}]}]}`
	chainPlan  = `{"chains":[{"id":"c","steps":[{"id":"a","action":"build","input":1},{"id":"b","action":"build","input":2}]}]}`
	openPlan   = `{"keepOpen":true,"chains":[{"id":"c","open":true,"steps":[{"id":"s","manual":true}]}]}`
)

// running makes and starts a session.
func (b *bench) running(id, plan string) {
	b.t.Helper()
	b.do(b.ask(id, domain.VerbCreate, plan))
	b.do(b.ask(id, domain.VerbStart, ``))
}

// testPatience is how long until polls; a machine that runs all tests at once is slow.
const testPatience = 3 * time.Minute

// until polls for a condition with a deadline.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(testPatience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", testPatience, what)
		}
		pause(t.Context(), time.Millisecond)
	}
}

func decodeReply(t testing.TB, data []byte) contract.Reply {
	t.Helper()
	var reply contract.Reply
	if err := json.Unmarshal(data, &reply); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return reply
}
