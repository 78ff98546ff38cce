package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
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

// TestOperatorsAreAnsweredWhileADeadLeaseLives: on a slow machine no other engine
// may have become the holder yet when the patience is over. Whoever asks is told to
// ask again.
func TestOperatorsAreAnsweredWhileADeadLeaseLives(t *testing.T) {
	h := newHouse(t)
	js, err := jetstream.New(h.nc)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "forever"})
	if err == nil {
		_, err = lease.Create(t.Context(), leaseKey, []byte("dead"))
	}
	if err != nil {
		t.Fatal(err)
	}
	o := newOperations(operationsConfig{ID: "next", Lease: lease})
	if _, err := o.awaitTerm(); !errors.Is(err, &domain.Rejection{Code: domain.CodeUnavailable}) {
		t.Errorf("the answer is %v", err)
	}
}

// TestOneOfManyAnswersOperators asks three engines that have just been started.
// It waits for another answer until all of them would have given up.
func TestOneOfManyAnswersOperators(t *testing.T) {
	h := newHouse(t)
	answers, err := h.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.start()
	}
	h.operate(contract.AdminRepair, contract.RepairRequest{}) // so that one is the holder
	if err := h.nc.PublishRequest(contract.Default().Admin("olga", contract.AdminStatus), answers.Subject, nil); err != nil {
		t.Fatal(err)
	}
	for n, wait := 1, testPatience; ; n, wait = n+1, holderPatience+time.Second {
		m, err := answers.NextMsg(wait)
		switch {
		case err == nil && n == 1 && m.Header.Get(contract.HeaderError) == "":
		case errors.Is(err, nats.ErrTimeout) && n == 2:
			return
		default:
			t.Fatalf("answer %d is %+v, error %v", n, m, err)
		}
	}
}
