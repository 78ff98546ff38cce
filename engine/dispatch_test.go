package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

const twoChains = `{"chains":[
	{"id":"a","steps":[{"action":"build"},{"action":"build"}]},
	{"id":"b","waitsFor":["a"],"steps":[{"action":"build"},{"action":"test","waitsFor":[]}]}]}`

func TestSessionIsExecuted(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", twoChains)
	w.untilTasks("s1/a/1")
	w.employ(1, "build")
	w.untilTasks("s1/b/2")
	w.employ(1, "test")
	s := w.untilState("s1", domain.StateCompleted)
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.Attempt != 1 {
				t.Errorf("step %s/%s was attempted %d times", c.ID, st.ID, st.Attempt)
			}
		}
	}
	w.untilTasks()
}

// TestTasksFollowTheSession sends commands and workers' reports and looks which
// tasks there are after each.
func TestTasksFollowTheSession(t *testing.T) {
	const (
		one      = `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"},{"id":"y","action":"build"}]}]}`
		two      = `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"}]},{"id":"b","steps":[{"id":"y","action":"test"}]}]}`
		parallel = `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"},{"id":"y","action":"build","waitsFor":[]}]}]}`
		x        = `{"chain":"a","step":"x"}`
		attempt1 = `{"chain":"a","step":"x","attempt":1}`
	)
	type act struct {
		verb domain.Verb
		body string
		want string // the tasks afterwards
	}
	tests := []struct {
		name, plan string
		first      string
		acts       []act
	}{
		{"pause withdraws, resume offers again", two, "S/a/x S/b/y", []act{
			{"pause", ``, ""}, {"resume", ``, "S/a/x S/b/y"},
		}},
		{"cancel", two, "S/a/x S/b/y", []act{{"cancel", ``, ""}}},
		{"delete", two, "S/a/x S/b/y", []act{{"delete", `{"force":true}`, ""}}},
		{"skip", one, "S/a/x", []act{{"step.skip", x, "S/a/y"}, {"step.skip", `{"chain":"a","step":"y"}`, ""}}},
		{"remove and add again", two, "S/a/x S/b/y", []act{
			{"chain.remove", `{"chain":"a"}`, "S/b/y"},
			{"chain.add", `{"id":"a","steps":[{"id":"x","action":"build"}]}`, "S/a/x S/b/y"},
		}},
		{"claim and release", one, "S/a/x", []act{
			{"claim", x, ""}, {"release", attempt1, "S/a/x#2"},
		}},
		{"interrupt and resume", one, "S/a/x", []act{
			{"claim", x, ""}, {"pause", `{"mode":"interrupt"}`, ""}, {"resume", ``, "S/a/x#2"},
		}},
		{"drain and resume", one, "S/a/x", []act{
			{"claim", x, ""}, {"pause", ``, ""}, {"succeed", attempt1, ""}, {"resume", ``, "S/a/y"},
		}},
		{"fail, retry", two, "S/a/x S/b/y", []act{
			{"claim", x, "S/b/y"},
			{"fail", `{"chain":"a","step":"x","attempt":1,"error":{"message":"no"}}`, ""},
			{"step.retry", x, "S/a/x#2 S/b/y"},
		}},
		{"claimNext takes what was not offered", one, "S/a/x", []act{
			{"claim", x, ""}, {"succeed", `{"chain":"a","step":"x","attempt":1,"claimNext":true}`, ""},
		}},
		{"claimNext takes what was offered", parallel, "S/a/x S/a/y", []act{
			{"claim", x, "S/a/y"}, {"succeed", `{"chain":"a","step":"x","attempt":1,"claimNext":true}`, ""},
		}},
		{"commands in one commit", one, "S/a/x", []act{
			{"batch", `{"commands":[{"verb":"pause"},{"verb":"resume"}]}`, "S/a/x"},
			{"batch", `{"commands":[{"verb":"step.skip","body":{"chain":"a","step":"x"}},{"verb":"pause"}]}`, ""},
		}},
	}
	w := newWorkshop(t)
	w.run()
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := fmt.Sprintf("s%d", i)
			named := func(tasks string) []string { return strings.Fields(strings.ReplaceAll(tasks, "S/", id+"/")) }
			sub := *w
			house := *w.house
			house.t, sub.house = t, &house
			sub.begin("ann", id, test.plan)
			sub.untilTasks(named(test.first)...)
			for _, a := range test.acts {
				switch a.verb {
				case domain.VerbClaim, domain.VerbSucceed, domain.VerbFail, domain.VerbRelease:
					sub.must("amber", "build", id, a.verb, a.body)
					if a.verb == domain.VerbClaim {
						sub.takeOut("build")
					}
				default:
					sub.send("ann", id, a.verb, a.body)
				}
				sub.untilTasks(named(a.want)...)
			}
			if rejected := sub.ask(contract.Default().Command("ann", id, "delete"), domain.Delete{Force: true}, &contract.Reply{}); rejected != nil && rejected.Code != domain.CodeGone {
				t.Error(rejected.Message)
			}
			sub.untilTasks()
		})
	}
}

// takeOut takes the oldest task of an action out of the stream, as the worker
// does that has claimed its step. After a while the engine does it by itself.
func (w *workshop) takeOut(action string) {
	w.t.Helper()
	tasks := w.serve("amber", action)
	until(w.t, "a task of "+action+" is taken", func() bool {
		if m, err := tasks.Next(jetstream.FetchMaxWait(time.Second)); err == nil {
			return m.DoubleAck(w.t.Context()) == nil
		}
		stream, err := w.js.Stream(w.t.Context(), contract.Default().WorkStream())
		if err == nil {
			_, err = stream.GetLastMsgForSubject(w.t.Context(), "reprise.work."+action+".>")
		}
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
}

func TestRetryComesExactlyAfterItsBackoff(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", `{"chains":[{"id":"a","steps":[{"id":"x","action":"build","retry":{"maxAttempts":3,"backoff":"300ms","factor":2}}]}]}`)
	for attempt := 1; attempt < 3; attempt++ {
		w.untilTasks(fmt.Sprintf("s1/a/x#%d", attempt))
		w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"a","step":"x"}`)
		w.takeOut("build")
		w.must("amber", "build", "s1", domain.VerbFail, fmt.Sprintf(`{"chain":"a","step":"x","attempt":%d,"error":{"message":"no"}}`, attempt))
		st := w.session("s1").Step("a", "x")
		base := 300 * time.Millisecond << (attempt - 1)
		if wait := st.NotBefore.Sub(w.session("s1").UpdatedAt); wait < base || wait > base*12/10 {
			t.Errorf("attempt %d: a backoff of %s, not of %s and up to a fifth more", attempt, wait, base)
		}
		w.untilTasks(fmt.Sprintf("s1/a/x#%d", attempt+1))
		late := w.offeredAt("s1/a/x").Sub(st.NotBefore)
		w.onTime(fmt.Sprintf("attempt %d", attempt+1), late)
	}
}

func TestAStepIsNotClaimedBeforeItIsDue(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", fmt.Sprintf(buildOne, `,"retry":{"maxAttempts":2,"backoff":"1h"}`))
	w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"a","step":"x"}`)
	w.must("amber", "build", "s1", domain.VerbFail, `{"chain":"a","step":"x","attempt":1,"error":{"message":"no"}}`)
	if _, rejected := w.as("amber", "build", "s1", domain.VerbClaim, `{"chain":"a","step":"x"}`); rejected == nil || rejected.Code != domain.CodeIllegalTransition {
		t.Errorf("a claim before the step is due: %+v", rejected)
	}
}

// offeredAt returns when the task of a step of user ann was stored.
func (w *workshop) offeredAt(name string) time.Time {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), contract.Default().WorkStream())
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(w.t.Context(), "reprise.work.build.ann."+strings.ReplaceAll(name, "/", "."))
	if err != nil {
		w.t.Fatal(err)
	}
	return m.Time
}

func TestUnknownActionStaysPending(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", `{"chains":[{"id":"a","steps":[{"id":"x","action":"nobody-does-this"}]}]}`)
	w.untilTasks("s1/a/x")
	if st := w.session("s1").Step("a", "x"); st.Status != domain.StepStatusPending {
		t.Errorf("the step is %s", st.Status)
	}
}

func TestLostAndStrayTasksAreMended(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"}]}]}`)
	w.untilTasks("s1/a/x")
	w.takeOut("build") // a worker that takes the task and never claims
	stray := contract.Default().Work("build", "bob", "nowhere", "c", "s")
	if _, err := w.js.Publish(t.Context(), stray, []byte(`{"attempt":1}`)); err != nil {
		t.Fatal(err)
	}
	w.untilTasks("s1/a/x")
}

func TestStaleTaskIsReplaced(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.send("ann", "s1", domain.VerbCreate, `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"},{"id":"y","action":"build","waitsFor":[]}]}]}`)
	for step, attempt := range map[string]int{"x": 7, "y": 1} {
		_, err := w.js.Publish(t.Context(), contract.Default().Work("build", "ann", "s1", "a", step), fmt.Appendf(nil, `{"attempt":%d}`, attempt))
		if err != nil {
			t.Fatal(err)
		}
	}
	w.send("ann", "s1", domain.VerbStart, "")
	w.untilTasks("s1/a/x", "s1/a/y")
	// The offers are known by their place in the stream, so they can be withdrawn.
	w.send("ann", "s1", domain.VerbPause, "")
	w.untilTasks()
}

func TestServeAnswersOnce(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	inbox := w.nc.NewInbox()
	sub, err := w.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for subject, status := range map[string]string{
		"reprise.wrk.amber.build.serve": "", "reprise.wrk.amber.b$ild.serve": "400", "reprise.wrk.am$er.build.serve": "400",
	} {
		if err := w.nc.PublishRequest(subject, inbox, nil); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(testPatience)
		if err != nil {
			t.Fatal(subject, err)
		}
		if got := m.Header.Get(contract.HeaderErrorCode); got != status {
			t.Errorf("%s: status %q, not %q: %s", subject, got, status, m.Data)
		}
	}
	if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("one answer too many: %s", m.Data)
	}
	var reply contract.ServeReply
	if rejected := w.ask("reprise.wrk.amber.build.serve", nil, &reply); rejected != nil || reply.Lease.Std() != defaultLease {
		t.Errorf("%+v, %v", reply, rejected)
	}
	w.begin("ann", "s1", `{"chains":[{"id":"a","steps":[{"id":"x","action":"build"}]}]}`)
	if got := w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"a","step":"x"}`).Claimed.Lease; got != reply.Lease {
		t.Errorf("a claim without a lease gets %s, and the reply to serve says %s", got, reply.Lease)
	}
}
