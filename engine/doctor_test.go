package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// reports asks all engines how they are, and waits for so many.
func (w *workshop) reports(n int) map[string]contract.EngineReport {
	w.t.Helper()
	sub, err := w.nc.SubscribeSync(w.nc.NewInbox())
	if err == nil {
		err = w.nc.PublishRequest(contract.Default().Admin("olga", contract.AdminDoctor), sub.Subject, []byte(`{}`))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]contract.EngineReport{}
	for len(found) < n {
		m, err := sub.NextMsg(testPatience)
		var r contract.EngineReport
		if err == nil {
			err = json.Unmarshal(m.Data, &r)
		}
		if err == nil && m.Header.Get(contract.HeaderError) != "" {
			err = errors.New(m.Header.Get(contract.HeaderError))
		}
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		found[r.Engine] = r
	}
	return found
}

// untilSeen waits until the one engine has seen all events: what its dispatcher
// offers next takes them into account.
func (w *workshop) untilSeen() {
	w.t.Helper()
	until(w.t, "the engine has seen all events", func() bool {
		for _, r := range w.reports(1) {
			return r.Events.LastSeq > 0 && r.Lists.Behind == 0
		}
		return false
	})
}

func TestEveryEngineSaysHowItIs(t *testing.T) {
	w := newWorkshop(t)
	for _, id := range []string{"one", "two"} {
		w.run(func(c *Config) {
			c.ID, c.Disk = id, &contract.Disk{Always: true}
			c.Trouble = func() error { return errors.New("the disk is full") }
		})
	}
	var one contract.EngineReport
	until(t, "both name the same holder", func() bool {
		found := w.reports(2)
		one = found["one"]
		return one.Holder != "" && one.Holder == found["two"].Holder && found[one.Holder].Engine != ""
	})
	if one.Trouble != "the disk is full" || one.Server.Disk == nil || !one.Server.Disk.Always || one.Server.Version == "" || one.Version != Version {
		t.Errorf("%+v", one)
	}
	if one.JetStream.Streams < 5 || !one.Events.Memory || one.Events.Replicas != 1 || one.Events.Async {
		t.Errorf("%+v %+v", one.JetStream, one.Events)
	}
	until(t, "the clocks of one machine are the same", func() bool { return w.reports(2)["one"].Skew.Abs() < time.Second })
}

func TestAReportHasWhatTheStreamsHold(t *testing.T) {
	w := newWorkshop(t)
	w.run(func(c *Config) { c.Clock = func() time.Time { return time.Now().Add(300 * time.Millisecond) } })
	w.begin("ann", "s1", `{"chains":[{"id":"c","steps":[{"id":"1","action":"build"},{"id":"2","action":"deploy","waitsFor":[]},{"id":"3","action":"deploy","waitsFor":[]}]}]}`)
	w.must("amber", "build", "s1", domain.VerbClaim, `{"chain":"c","step":"1"}`)
	w.begin("bob", "s2", `{"chains":[{"id":"c","steps":[{"id":"1","action":"deploy"}]}]}`)
	queued := &nats.Msg{Subject: contract.Default().Queue("ann", "nobody", domain.VerbStart), Data: []byte(`{}`)}
	if _, err := w.js.PublishMsg(t.Context(), queued); err != nil {
		t.Fatal(err)
	}
	var r contract.EngineReport
	want := fmt.Sprint([]contract.ActionReport{{Action: "deploy", Ready: 3}, {Action: "build", InFlight: 1, Served: true}})
	until(t, "the queued command is a dead letter, and all is known", func() bool {
		w.must("amber", "build", "s1", domain.VerbHeartbeat, `{"chain":"c","step":"1","attempt":1}`)
		for _, r = range w.reports(1) {
		}
		skew := r.Skew // as exact as the server is quick to answer
		return r.DeadLetters == 1 && r.Queued == 0 && r.Lists.Behind == 0 && r.Lists.ViewsBehind == 0 &&
			skew > 50*time.Millisecond && skew < 550*time.Millisecond &&
			fmt.Sprint(r.Actions) == want && r.ServingKnown
	})
	if r.Events.Subjects != 2 || r.Events.Messages != 5 || r.Events.Deleted != 0 || r.Lists.Sessions != 2 {
		t.Errorf("%+v %+v", r.Events, r.Lists)
	}
	if r.ReadOnly != nil {
		t.Errorf("%+v", r.ReadOnly)
	}
	mark, err := OpenReadOnlyMark(t.Context(), w.js, contract.Default())
	if err == nil {
		err = mark.Set(t.Context(), ReadOnly{ID: "m", By: "olga", Reason: "migration", Since: time.Now()})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range w.reports(1) {
		if r.ReadOnly == nil || r.ReadOnly.By != "olga" {
			t.Errorf("%+v", r.ReadOnly)
		}
	}
}
