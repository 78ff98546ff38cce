package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// waitingFor lists the sessions of user ann that wait for something.
func (w *workshop) waitingFor(kind contract.Waiting) contract.ListReply {
	w.t.Helper()
	request := contract.ListRequest{Filter: contract.Filter{Waiting: []contract.Waiting{kind}}}
	reply, rejected := query[contract.ListReply](w.house, contract.QueryList, request)
	if rejected != nil {
		w.t.Fatalf("list what waits for %s: %s", kind, rejected.Message)
	}
	return reply
}

// untilWaiting waits until session s1 waits for exactly that.
func (w *workshop) untilWaiting(want string) {
	w.t.Helper()
	until(w.t, "s1 waits for "+want, func() bool {
		reply, rejected := query[contract.GetReply](w.house, contract.QueryGet, contract.GetRequest{Session: "s1"})
		if rejected != nil {
			w.t.Fatal(rejected.Message)
		}
		return fmt.Sprint(reply.Waiting, " ", reply.Unserved) == want
	})
}

// pull waits for two tasks of an action on a connection of its own, as a worker does.
func (w *workshop) pull(action string) *nats.Conn {
	w.t.Helper()
	w.serve("amber", action)
	nc := dialServer(w.t, w.ns)
	request, err := json.Marshal(map[string]any{"batch": 2, "expires": time.Minute})
	if err == nil {
		_, err = nc.SubscribeSync("pulled.>")
	}
	if err == nil {
		err = nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+contract.Default().WorkStream()+"."+action, "pulled.1", request)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return nc
}

func TestAnActionWithoutAWorkerIsSaidToHaveNone(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", `{"chains":[{"id":"c","steps":[{"id":"1","action":"build"},{"id":"2","action":"deploy"}]}]}`)
	w.untilWaiting("[no_worker] [build]")
	until(t, "the list of what no worker serves names it", func() bool {
		rows := w.waitingFor(contract.WaitingNoWorker).Sessions
		return len(rows) == 1 && fmt.Sprint(rows[0].Unserved) == "[build]"
	})

	// The task goes to a worker that does not claim it, and waits for another.
	worker := w.pull("build")
	w.untilWaiting("[worker] []")
	worker.Close()
	w.untilWaiting("[no_worker] [build]")

	// A worker that is busy serves its action, though it waits for no task.
	w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"c","step":"1"}`)
	w.begin("ann", "s2", `{"chains":[{"id":"c","steps":[{"id":"1","action":"build"}]}]}`)
	until(t, "s2 waits for a busy worker", func() bool {
		rows := w.waitingFor(contract.WaitingWorker).Sessions
		return len(rows) == 1 && rows[0].ID == "s2"
	})
}

func TestGetShowsWhatStepsInFlightSaidLast(t *testing.T) {
	w := newWorkshop(t)
	w.run()
	w.begin("ann", "s1", `{"chains":[{"id":"c","steps":[{"id":"1","action":"build"}]}]}`)
	w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"c","step":"1"}`)
	get := func() contract.RunningStep {
		reply, rejected := query[contract.GetReply](w.house, contract.QueryGet, contract.GetRequest{Session: "s1"})
		if rejected != nil || len(reply.Running) != 1 {
			t.Fatalf("%v, %+v", rejected, reply.Running)
		}
		return reply.Running[0]
	}
	if st := get(); st.Worker != "amber" || st.Attempt != 1 || st.Progress != nil || !st.Beat.IsZero() {
		t.Errorf("before the first sign of life: %+v", st)
	}
	w.must("amber", "build", "s1", domain.VerbHeartbeat, `{"chain":"c","step":"1","attempt":1,"progress":{"line":"linking","percent":40,"output":{"n":1}}}`)
	if st := get(); st.Progress == nil || st.Progress.Line != "linking" || st.Progress.Percent != 40 || string(st.Progress.Output) != `{"n":1}` || st.Beat.IsZero() {
		t.Errorf("after it: %+v %+v", st, st.Progress)
	}
}

func TestOutputsInFlightFitAnAnswer(t *testing.T) {
	part := json.RawMessage(`"` + string(make([]byte, maxShownProgress/2)) + `"`)
	steps := make([]contract.RunningStep, 4)
	for i := range steps {
		steps[i].Progress = &contract.Progress{Line: "on", Output: part}
	}
	steps[1].Progress = nil
	boundProgress(steps)
	if steps[0].Progress.Output == nil || steps[2].Progress.Output != nil || steps[3].Progress.Line != "on" {
		t.Errorf("%d, %d bytes are shown", len(steps[0].Progress.Output), len(steps[2].Progress.Output))
	}
	plan := &domain.Session{InFlight: 1, Chains: []*domain.Chain{{ID: "c"}}}
	for i := range contract.MaxRunning + 1 {
		plan.Chains[0].Steps = append(plan.Chains[0].Steps, &domain.Step{ID: fmt.Sprint(i), Status: domain.StepStatusRunning})
	}
	if n := len(inFlight(plan)); n != contract.MaxRunning {
		t.Errorf("%d steps are described", n)
	}
}

func TestAServerThatDoesNotAnswerMakesNothingUnserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		infos, err := []*jetstream.ConsumerInfo{{Name: "build", NumWaiting: 1}}, error(nil)
		s := &serving{seen: map[string]time.Time{}, log: slog.New(slog.DiscardHandler)}
		s.consumers = func(context.Context) ([]*jetstream.ConsumerInfo, error) { return infos, err }
		if served, known := s.actions(); !known || !served["build"] {
			t.Errorf("%v, %v", served, known)
		}
		infos, err = nil, errors.New("the server is away")
		s.asked = now.Add(-2 * servingFresh)
		if served, known := s.actions(); !known || !served["build"] {
			t.Errorf("a moment later: %v, %v", served, known)
		}
		s.told, s.asked, s.seen["build"] = now.Add(-servedFor), time.Time{}, now.Add(-servedFor)
		if served, known := s.actions(); known || served["build"] {
			t.Errorf("long after: %v, %v", served, known)
		}
	})
}

func TestAWorkerThatGotATaskAMomentAgoCounts(t *testing.T) {
	now, server := time.Now(), time.Now().Add(time.Hour) // the clocks differ
	for ago, want := range map[time.Duration]bool{0: true, servedFor - time.Millisecond: true, servedFor: false, -time.Second: true} {
		last := server.Add(-ago)
		info := &jetstream.ConsumerInfo{TimeStamp: server, Delivered: jetstream.SequenceInfo{Last: &last}}
		if _, ok := lastWorker(info, now); ok != want {
			t.Errorf("a task delivered %s ago: %v", ago, ok)
		}
	}
	if _, ok := lastWorker(&jetstream.ConsumerInfo{TimeStamp: server}, now); ok {
		t.Error("a consumer of which nobody ever got a task counts")
	}
}

// TestTaskThatGotLostIsOfferedAgain: a task that was on its way to a worker whose
// server was lost is offered again long before a lease would be over.
func TestTaskThatGotLostIsOfferedAgain(t *testing.T) {
	w := newWorkshop(t)
	w.start()
	info, err := w.serve("amber", "work").Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if wait := info.Config.AckWait; wait <= 0 || wait > defaultLease/2 {
		t.Errorf("it is offered again after %s", wait)
	}
}
