package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

func TestSheddingIsAnErrorLikeOthers(t *testing.T) {
	s := newShedding("%d things <wait>", 3)
	for _, id := range []string{"", "cmd-1", `a"b\c`, "no id"} {
		var got contract.Error
		if err := json.Unmarshal(s.bodyFor(id), &got); err != nil {
			t.Fatalf("%s: %v", s.bodyFor(id), err)
		}
		want := problem(domain.Reject(domain.CodeBusy, domain.StateNone, "3 things <wait>"), id)
		if id == "no id" {
			want.CommandID = ""
		}
		if got != want {
			t.Errorf("id %q: got %+v, want %+v", id, got, want)
		}
	}
	if s.header.Get(contract.HeaderErrorCode) != "429" || s.header.Get(contract.HeaderError) != "3 things <wait>" {
		t.Errorf("headers %v", s.header)
	}
}

// TestFullEngineRefusesTheLoud has a user who sends more than an engine takes while
// the store stands still, and another who comes then.
func TestFullEngineRefusesTheLoud(t *testing.T) {
	d := newDesk(t)
	hold := make(chan struct{})
	d.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { <-hold; return nil }})
	var busy, accepted atomic.Int64
	sub, err := d.nc.Subscribe("_INBOX.flood", func(m *nats.Msg) {
		if m.Header.Get(contract.HeaderErrorCode) == "" {
			accepted.Add(1)
			return
		}
		var e contract.Error
		if err := json.Unmarshal(m.Data, &e); err != nil || e.Code != domain.CodeBusy || e.RetryAfter <= 0 || e.CommandID == "" {
			t.Errorf("a refusal is %s: %v", m.Data, err)
		}
		busy.Add(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for n := range maxShared {
		m := nats.NewMsg(fmt.Sprintf("reprise.cmd.loud.s%d.create", n))
		m.Reply, m.Data = "_INBOX.flood", []byte(onePlan)
		m.Header.Set(contract.HeaderCommandID, fmt.Sprint("c", n))
		if err := d.nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "half of them are refused", func() bool { return busy.Load() == maxShared-maxShared/2 })
	if err := d.nc.PublishRequest("reprise.cmd.quiet.s1.create", "_INBOX.flood", []byte(onePlan)); err != nil {
		t.Fatal(err)
	}
	until(t, "another user's is taken", func() bool { return d.service.Executor.lanes.inFlight() == maxShared/2+1 })
	close(hold)
	until(t, "all that were taken are answered", func() bool { return accepted.Load() == maxShared/2+1 })
	until(t, "none is counted as taken", func() bool {
		h := &d.service.shares
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.taken == 0 && len(h.by) == 0
	})
}
