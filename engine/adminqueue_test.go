package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
)

// stuckQueue is a queue whose consumer gets nothing, as if the commands before
// could not be settled.
func stuckQueue(t *testing.T, h *house) (queue, dead jetstream.Stream) {
	t.Helper()
	js, err := jetstream.New(h.nc)
	if err != nil {
		t.Fatal(err)
	}
	names := contract.Default()
	for name, to := range map[string]*jetstream.Stream{names.QueueStream(): &queue, names.DeadStream(): &dead} {
		if *to, err = js.Stream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(testPatience)
	for _, err = queue.PauseConsumer(t.Context(), queueConsumer, time.Now().Add(time.Hour)); err != nil; {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		_, err = queue.PauseConsumer(t.Context(), queueConsumer, time.Now().Add(time.Hour))
	}
	return queue, dead
}

// TestQueuedCommandsOfTheGone: a purge takes them out of the queue, and whoever
// sent them finds them with the reason.
func TestQueuedCommandsOfTheGone(t *testing.T) {
	h := newHouse(t)
	h.start()
	h.cancelled(1)
	h.command("old0", domain.VerbDelete, nil)
	h.command("alive", domain.VerbCreate, housePlan)
	queue, dead := stuckQueue(t, h)
	names := contract.Default()
	for i, subject := range []string{names.Queue("ann", "old0", domain.VerbStart), names.Queue("ann", "old0", domain.VerbStart), names.Queue("ann", "alive", domain.VerbStart)} {
		m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: []byte("{}")}
		if i == 0 {
			m.Header.Set(contract.HeaderCommandID, "first")
		}
		if _, err := h.nc.RequestMsg(m, testPatience); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a scan changes nothing
		if got := h.operate(contract.AdminScan, contract.CleanupRequest{}); got.report.Orphaned != 2 || got.report.Reasons[contract.ReasonQueued] != 2 {
			t.Fatalf("the scan reports %+v", got.report)
		}
	}
	if got := h.operate(contract.AdminRepair, contract.RepairRequest{Apply: true}); got.report.Purged != 2 || got.report.Failed != 0 || len(got.report.Skipped) != 0 {
		t.Fatalf("the repair reports %+v", got.report)
	}
	if info, err := queue.Info(t.Context()); err != nil || info.State.Msgs != 1 {
		t.Errorf("the queue holds %+v, error %v", info.State, err)
	}
	ids := []string{"first", fmt.Sprintf("queue-%x-%d", queue.CachedInfo().Created.UTC().UnixNano(), queue.CachedInfo().State.FirstSeq-1)}
	for seq := range ids {
		m, err := dead.GetMsg(t.Context(), uint64(seq+1))
		if err != nil {
			t.Fatal(err)
		}
		if id := m.Header.Get(contract.HeaderCommandID); !slices.Contains(ids, id) {
			t.Errorf("a dead letter is of command %s, not of %v", id, ids)
		}
		if m.Subject != names.Dead("ann", "old0", domain.VerbStart) || m.Header.Get(contract.HeaderCode) != "gone" || m.Header.Get(contract.HeaderReason) == "" || string(m.Data) != "{}" {
			t.Errorf("the dead letter is %s %v %s", m.Subject, m.Header, m.Data)
		}
	}
	if _, err := queue.ResumeConsumer(t.Context(), queueConsumer); err != nil {
		t.Fatal(err)
	}
	h.awaitState("alive", domain.StateRunning)
	if info, err := dead.Info(t.Context()); err != nil || info.State.Msgs != 2 {
		t.Errorf("there are %+v dead letters, error %v", info.State, err)
	}
	policy := cleanup.DefaultPolicy()
	policy.Debris = 0
	if got := h.operate(contract.AdminPurge, contract.CleanupRequest{Policy: &policy}); got.report.Purged != 2 || got.report.Reasons[contract.ReasonDeadLetter] != 2 {
		t.Errorf("the purge of the letters reports %+v", got.report)
	}
}

// awaitState waits until a session is in a state.
func (h *house) awaitState(session string, state domain.State) {
	h.t.Helper()
	until(h.t, session+" is "+string(state), func() bool {
		got, rejected := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: session})
		return rejected == nil && got.Session.State == state
	})
}
