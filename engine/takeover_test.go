package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// taskSeqs returns where in the stream the tasks are.
func (w *workshop) taskSeqs() map[string]uint64 {
	w.t.Helper()
	seqs := map[string]uint64{}
	w.eachTask(func(name string, m *jetstream.RawStreamMsg) { seqs[name] = m.Sequence })
	return seqs
}

// buildOne is a plan of one step; more of that may be filled in.
const buildOne = `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"%s}]}]}`

// inFlight begins a session of one step and claims that as worker amber.
func (w *workshop) inFlight(id, more, lease string) {
	w.t.Helper()
	w.begin("ann", id, fmt.Sprintf(buildOne, more))
	until(w.t, id+" is offered", func() bool { return w.tasks()[id+"/a/x"] == 1 })
	w.must("amber", "build", id, domain.VerbClaim, `{"chain":"a","step":"x","lease":"`+lease+`"}`)
	w.takeOut("build")
}

// lose ends an engine and waits until the server sends it nothing any more.
func (w *workshop) lose(end func()) {
	w.t.Helper()
	const connections = 6
	clients := w.ns.NumClients()
	end()
	until(w.t, "the server has noticed", func() bool { return w.ns.NumClients() <= clients-connections })
}

// TestTakeover kills the holder while the other engine goes on answering, and
// looks what becomes of tasks, deadlines, backoffs and leases.
func TestTakeover(t *testing.T) {
	for name, end := range map[string]func(*machine){
		"killed":  func(m *machine) { m.kill() },
		"stopped": func(m *machine) { _ = m.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t)
			first := w.run()
			w.begin("ann", "offered", `{"chains":[{"id":"a","steps":[{"id":"x","action":"test"}]}]}`)
			w.untilTasks("offered/a/x")
			w.run()
			w.inFlight("deadline", `,"timeout":"2s"`, "1m")
			w.inFlight("backoff", `,"retry":{"maxAttempts":2,"backoff":"1s"}`, "1m")
			w.inFlight("silent", "", "2s")
			before := w.taskSeqs()["offered/a/x"]

			ended := time.Now()
			w.lose(func() { end(first) })
			w.must("amber", "build", "backoff", domain.VerbFail, `{"chain":"a","step":"x","attempt":1,"error":{"message":"no"}}`)
			w.begin("ann", "fresh", fmt.Sprintf(buildOne, ""))
			w.untilTasks("offered/a/x", "fresh/a/x", "backoff/a/x#2")
			if took := time.Since(ended); took > leaseTTL+3*time.Second+unpunctual {
				t.Errorf("the takeover took %s", took)
			}
			if after := w.taskSeqs()["offered/a/x"]; after != before {
				t.Errorf("what was offered was offered again: at %d, then at %d", before, after)
			}
			st := w.untilState("deadline", domain.StateFailed).Step("a", "x")
			if late := st.EndedAt.Sub(st.StartedAt) - 2*time.Second; late < 0 || late > leaseTTL+3*time.Second+unpunctual {
				t.Errorf("the deadline was kept %s after its time", late)
			}
			st = w.untilState("silent", domain.StateFailed).Step("a", "x")
			if st.Error.Code != "lease_expired" || st.EndedAt.Sub(st.StartedAt) < 2*time.Second {
				t.Errorf("the lease of 2s ended after %s: %+v", st.EndedAt.Sub(st.StartedAt), st.Error)
			}
		})
	}
}

// TestTakeoverOffersNothingTwice has many tasks in the stream and others that
// wait for a place there when the holder dies.
func TestTakeoverOffersNothingTwice(t *testing.T) {
	w := newWorkshop(t)
	first := w.run()
	const sessions = offerWindow + 50
	for i := range sessions {
		w.begin("ann", fmt.Sprintf("s%d", i), `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"}]}]}`)
	}
	until(t, "the window is full", func() bool { return len(w.tasks()) == offerWindow })
	before := w.taskSeqs()
	w.run()
	w.lose(first.kill)
	w.employ(1, "test") // asks the other engine
	w.begin("ann", "late", `{"chains":[{"id":"a","steps":[{"id":"x","action":"test"}]}]}`)
	w.untilState("late", domain.StateCompleted)
	after := w.taskSeqs()
	for name, seq := range before {
		if after[name] != seq {
			t.Fatalf("%s was at %d and is at %d now: it was offered again", name, seq, after[name])
		}
	}
	if len(after) != offerWindow {
		t.Errorf("%d tasks, not %d", len(after), offerWindow)
	}
	w.employ(4, "build")
	for i := range sessions {
		w.untilState(fmt.Sprintf("s%d", i), domain.StateCompleted)
	}
}

// killPlan has chains side by side and one that waits for both.
const killPlan = `{"chains":[
	{"id":"a","steps":[{"action":"build"},{"action":"build"}]},
	{"id":"b","steps":[{"action":"build"},{"action":"build","waitsFor":[]}]},
	{"id":"c","waitsFor":["a","b"],"steps":[{"action":"build"}]}]}`

// TestKillsAtRandom kills engines at random points under load: one of two, or
// both. Every step has to run exactly once.
func TestKillsAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for leases to expire")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	w := newWorkshop(t)
	machines := []*machine{w.run(), w.run()}
	crew := w.employ(4, "build")
	customers := w.order(crew)
	const kills, longest = 6, 1500 // milliseconds
	for n := range kills {
		pause(t.Context(), time.Duration(rnd.IntN(longest))*time.Millisecond)
		victim := rnd.IntN(len(machines))
		machines[victim].kill()
		if n%3 == 2 { // nobody is left for a moment
			machines[1-victim].kill()
			machines[1-victim] = w.run()
		}
		machines[victim] = w.run()
	}
	made := customers()
	for _, id := range made {
		s := w.untilState(id, domain.StateCompleted)
		for _, c := range s.Chains {
			for _, st := range c.Steps {
				if st.Attempt != 1 || st.Status != domain.StepStatusSuccess {
					t.Errorf("%s/%s/%s is %s after %d attempts", s.ID, c.ID, st.ID, st.Status, st.Attempt)
				}
			}
		}
	}
	w.untilTasks()
	claims := map[string]int{}
	for _, step := range crew.claimed() {
		claims[step]++
	}
	if len(claims) != 5*len(made) {
		t.Errorf("%d steps were claimed, not %d", len(claims), 5*len(made))
	}
	for step, n := range claims {
		if n != 1 {
			t.Errorf("%s was claimed %d times", step, n)
		}
	}
	t.Logf("%d sessions; %d claims were refused", len(made), crew.refused.Load())
}

// order makes one session after another until the function it returns is called,
// which gives their ids.
func (w *workshop) order(h *hands) (stop func() []string) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan []string, 1)
	go func() {
		var made []string
		for ctx.Err() == nil {
			id := fmt.Sprintf("s%d", len(made))
			plan, err := domain.DecodeCommand(domain.VerbCreate, []byte(killPlan))
			if err != nil {
				w.t.Error(err)
				break
			}
			for _, c := range []domain.Command{plan, &domain.Start{}} {
				_, code := h.persist(w.t.Context(), contract.Default().Command("ann", id, c.Verb()), string(c.Verb())+id, c)
				if code != "" {
					w.t.Errorf("%s %s: %s", c.Verb(), id, code)
				}
			}
			made = append(made, id)
			pause(ctx, 5*time.Millisecond)
		}
		done <- made
	}()
	return func() []string { cancel(); return <-done }
}
