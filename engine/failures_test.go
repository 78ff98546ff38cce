package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

func TestLostAcknowledgement(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.driver.SetFaults(eventstore.Faults{AfterAppend: func(context.Context, []eventstore.Record, []uint64) error {
		return eventstore.ErrUnknownOutcome
	}})
	start := b.ask("s1", domain.VerbStart, ``)
	if reply := b.do(start); reply.State != domain.StateRunning || reply.Duplicate {
		t.Errorf("a commit that is there was answered with %+v", reply)
	}
	b.driver.SetFaults(eventstore.Faults{})
	if again := b.do(start); !again.Duplicate || b.messages() != 2 {
		t.Errorf("again: %+v, %d messages", again, b.messages())
	}
}

func TestUnknownOutcome(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
		return eventstore.ErrUnknownOutcome
	}})
	start := b.ask("s1", domain.VerbStart, ``)
	if e := b.refuse(start, domain.CodeUnknownOutcome); !strings.Contains(e.Message, start.ID) || e.RetryAfter == 0 {
		t.Errorf("the answer does not say how to ask again: %+v", e)
	}
	b.driver.SetFaults(eventstore.Faults{})
	if again := b.do(start); again.Duplicate || b.messages() != 2 {
		t.Errorf("again: %+v, %d messages", again, b.messages())
	}
}

func TestStoreFailures(t *testing.T) {
	full := fmt.Errorf("%w: no space left on device", eventstore.ErrUnavailable)
	b := newBench(t)
	b.running("s1", manualPlan)
	appends := eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { return full }}
	b.driver.SetFaults(appends)
	if e := b.refuse(b.ask("s1", domain.VerbPause, ``), domain.CodeUnavailable); !strings.Contains(e.Message, "no space left") {
		t.Errorf("the sentence hides the cause: %s", e.Message)
	}
	reads := eventstore.Faults{BeforeRead: func(context.Context) error { return full }}
	b.driver.SetFaults(reads)
	b.refuse(b.ask("s1", domain.VerbResume, ``), domain.CodeUnavailable) // a rejection is never given unconfirmed
	b.refuse(b.ask("s9", domain.VerbFork, ``), domain.CodeUnavailable)
	b.refuse(b.ask("s9", domain.VerbChainMove, `{"chain":"c","to":"s1"}`), domain.CodeUnavailable)
	b.driver.SetFaults(eventstore.Faults{})
	b.do(b.ask("s1", domain.VerbPause, ``))
}

func TestTooLarge(t *testing.T) {
	b := newBench(t)
	store, err := eventstore.Open(t.Context(), eventstore.Config{Driver: b.driver, MaxMessage: 2048})
	if err != nil {
		t.Fatal(err)
	}
	b.cmd = newCommander(commanderConfig{Store: store})
	body := `{"chains":[{"steps":[{"manual":true,"input":"` + strings.Repeat("x", 4000) + `"}]}]}`
	if e := b.refuse(b.ask("s1", domain.VerbCreate, body), domain.CodeInvalid); !strings.Contains(e.Message, "2048") {
		t.Errorf("the sentence does not name the limit: %s", e.Message)
	}
}

func TestCorruptHistoryHurtsItsSessionOnly(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("bad", domain.VerbCreate, onePlan))
	b.do(b.ask("good", domain.VerbCreate, onePlan))
	key := eventstore.Key{User: "ann", Session: "bad"}
	record := eventstore.Record{Key: key, Guard: eventstore.ExpectLast(1), Body: []byte(`{"v":1,`)}
	if _, err := b.driver.Append(t.Context(), []eventstore.Record{record}); err != nil {
		t.Fatal(err)
	}
	_, b.cmd = b.another()
	e := b.refuse(b.ask("bad", domain.VerbStart, ``), domain.CodeUnavailable)
	if !strings.Contains(e.Message, "bad") || !strings.Contains(e.Message, "3") {
		t.Errorf("the sentence names neither session nor sequence: %s", e.Message)
	}
	if e.RetryAfter != 0 {
		t.Errorf("it hints at asking again in %s, which mends nothing", e.RetryAfter)
	}
	b.do(b.ask("good", domain.VerbStart, ``))
}

func TestClockSetBack(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	created := b.session("s1").UpdatedAt
	b.pass(-time.Hour)
	b.do(b.ask("s1", domain.VerbStart, ``))
	if s := b.session("s1"); s.UpdatedAt.Before(created) {
		t.Errorf("time ran backwards from %s to %s", created, s.UpdatedAt)
	}
}

func TestOneSessionUnderTwoCommanders(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, openPlan))
	_, other := b.another()
	commanders := []*commander{b.cmd, other}
	const clients, each = 64, 4
	var wg sync.WaitGroup
	for n := range clients {
		requests := make([]Request, each)
		for i := range requests {
			requests[i] = b.ask("s1", domain.VerbMetadataSet, fmt.Sprintf(`{"set":{"k%d":"%d-%d"}}`, n%60, n, i))
		}
		wg.Go(func() {
			for i, r := range requests {
				for try := 0; ; try++ { // the same id again, now here, now there
					_, err := commanders[(n+i+try)%2].Do(context.Background(), r)
					if err == nil {
						break
					}
					if code := problem(err, r.ID).Code; code != domain.CodeBusy {
						t.Errorf("client %d: %v", n, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if s := b.session("s1"); s.Commits != 1+clients*each || b.messages() != 1+clients*each {
		t.Errorf("%d commits in %d messages; want %d", s.Commits, b.messages(), 1+clients*each)
	}
}

func TestConflictsAreBounded(t *testing.T) {
	b := newBench(t)
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
		return eventstore.ErrConflict
	}})
	b.refuse(b.ask("s1", domain.VerbStart, ``), domain.CodeBusy)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.cmd.Do(ctx, b.ask("s1", domain.VerbStart, ``)); err == nil {
		t.Error("a command went on after its context ended")
	}
}

func TestCompactionIsHealed(t *testing.T) {
	b := newBench(t)
	failing := true
	var mu sync.Mutex
	broken := &brokenCompaction{Store: b.store, fail: func() bool { mu.Lock(); defer mu.Unlock(); return failing }}
	b.cmd = newCommander(commanderConfig{Store: broken, Clock: b.clock})
	b.do(b.ask("s1", domain.VerbCreate, onePlan))
	b.do(b.ask("s1", domain.VerbDelete, ``))
	if b.cmd.sweep.left() != 1 {
		t.Fatalf("%d sessions wait to be compacted; want 1", b.cmd.sweep.left())
	}
	// Another engine, which knows nothing of it, finds the tombstone.
	_, b.cmd = b.another()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.cmd.sweep.run(ctx) }()
	b.refuse(b.ask("s1", domain.VerbStart, ``), domain.CodeGone)
	until(t, "the session is compacted", func() bool {
		info, err := b.driver.Info(t.Context())
		return err == nil && info.Messages == 1
	})
	b.refuse(b.ask("s1", domain.VerbStart, ``), domain.CodeGone)
	until(t, "none waits after that", func() bool { return b.cmd.sweep.left() == 0 })
	cancel()
	<-done
}

// brokenCompaction is a store whose compaction fails.
type brokenCompaction struct {
	*eventstore.Store
	fail func() bool
}

func (s *brokenCompaction) Compact(ctx context.Context, a eventstore.Aggregate) error {
	if s.fail() {
		return eventstore.ErrUnavailable
	}
	return s.Store.Compact(ctx, a)
}

// What can't be stored is refused at once; reads and dry runs go on.
func TestTroubleWithTheStorage(t *testing.T) {
	h := newHouse(t)
	var full atomic.Bool
	h.start(func(cfg *Config) {
		cfg.Trouble = func() error {
			if full.Load() {
				return errors.New("the disk is full")
			}
			return nil
		}
	})
	request := func(verb, dry string) *nats.Msg {
		t.Helper()
		m := nats.NewMsg("reprise.cmd.ann.s1." + verb)
		m.Data = []byte(`{}`)
		m.Header.Set(contract.HeaderDryRun, dry)
		answer, err := h.nc.RequestMsg(m, testPatience)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	full.Store(true)
	if m := request("create", "false"); m.Header.Get(contract.HeaderErrorCode) != "503" || !strings.Contains(m.Header.Get(contract.HeaderError), "the disk is full") {
		t.Errorf("a command: %v %s", m.Header, m.Data)
	}
	accepted := func(dry string) bool { return request("create", dry).Header.Get(contract.HeaderErrorCode) == "" }
	until(t, "a dry run is answered", func() bool { return accepted("true") })
	full.Store(false)
	until(t, "a command after it is accepted", func() bool { return accepted("false") })
}
