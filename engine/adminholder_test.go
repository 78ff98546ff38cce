package engine

import (
	"errors"
	"fmt"
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
	for range 3 {
		h.start()
	}
	until(t, "one answers, and none beside it while it is the holder", func() bool {
		h.operate(contract.AdminRepair, contract.RepairRequest{}) // so that one is the holder
		before := h.holder()
		err := h.oneAnswer()
		if err != nil && before == h.holder() {
			t.Fatal(err)
		}
		return err == nil
	})
}

// holder names the engine that has the lease, "" if none has it.
func (h *house) holder() string {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	if err != nil {
		h.t.Fatal(err)
	}
	lease, err := js.KeyValue(h.t.Context(), contract.Default().ControlBucket())
	if err != nil {
		h.t.Fatal(err)
	}
	entry, err := lease.Get(h.t.Context(), leaseKey)
	if err != nil {
		return ""
	}
	return string(entry.Value())
}

// oneAnswer asks for the status and returns an error unless one answer comes, which
// is no rejection.
func (h *house) oneAnswer() error {
	h.t.Helper()
	answers, err := h.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := h.nc.PublishRequest(contract.Default().Admin("olga", contract.AdminStatus), answers.Subject, nil); err != nil {
		h.t.Fatal(err)
	}
	for n, wait := 1, testPatience; ; n, wait = n+1, holderPatience+time.Second {
		m, err := answers.NextMsg(wait)
		switch {
		case err == nil && n == 1 && m.Header.Get(contract.HeaderError) == "":
		case errors.Is(err, nats.ErrTimeout) && n == 2:
			return nil
		default:
			return fmt.Errorf("answer %d is %+v, error %w", n, m, err)
		}
	}
}
