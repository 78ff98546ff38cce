package engine

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

// TestOperatorsAreAnsweredAfterACrash asks while the lease is still that of an
// engine that is dead.
func TestOperatorsAreAnsweredAfterACrash(t *testing.T) {
	h := newHouse(t)
	js, err := jetstream.New(h.nc)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := ensureControl(t.Context(), js, contract.Default().ControlBucket(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lease.Create(t.Context(), leaseKey, []byte("dead")); err != nil {
		t.Fatal(err)
	}
	h.start()
	if got := h.operate(contract.AdminScan, contract.CleanupRequest{}); got.report == nil {
		t.Errorf("the answer is %+v", got.rejected)
	}
}

// TestOneOfManyAnswersOperators asks three engines that have just been started.
// It counts the answers until all of them would have given up.
func TestOneOfManyAnswersOperators(t *testing.T) {
	h := newHouse(t)
	answers, err := h.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.start()
	}
	if err := h.nc.PublishRequest(contract.Default().Admin("olga", contract.AdminStatus), answers.Subject, nil); err != nil {
		t.Fatal(err)
	}
	n := 0
	for deadline := time.Now().Add(holderPatience + time.Second); time.Now().Before(deadline); {
		m, err := answers.NextMsg(time.Until(deadline))
		if err != nil {
			break
		}
		if n++; m.Header.Get(contract.HeaderError) != "" {
			t.Errorf("the answer is %s", m.Data)
		}
	}
	if n != 1 {
		t.Errorf("there were %d answers", n)
	}
}
