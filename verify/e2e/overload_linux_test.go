package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/race"
)

// An overload: what is sent, and how much more than the engine can do.
const (
	// overloadFor is how long it lasts; REPRISE_OVERLOAD says otherwise.
	overloadFor    = 3 * time.Second
	overloadFactor = 3
	// leastOverload is what a second of an overload has at least: a slow machine
	// would not fill what the engine takes in before it refuses, in a short one.
	leastOverload    = 15_000
	overloadSessions = 512
	overloadUsers    = 16
	overloadConns    = 4
	overloadClients  = 256
	// firstFlooded is past the numbers of the commands before the flood.
	firstFlooded = 1 << 30
	// overloadTick is how often the senders send their share.
	overloadTick = 10 * time.Millisecond
	// overloadMemory is the memory that the process is told to keep to, GOMEMLIMIT:
	// it then collects garbage more often instead of growing, so that what it takes
	// beyond is alive. maxOverloadMemory is the most it may take, in bytes, with
	// what is not counted there.
	overloadMemory    = "1GiB"
	maxOverloadMemory = 1536 << 20
)

// TestOverload sends three times as many commands as the engine can do. It has to
// refuse what is too much with 429 and a hint when to come again, to go on
// accepting others, to keep its memory bounded, and to lose nothing that it
// accepted.
func TestOverload(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector makes the engine so slow that it is overloaded for minutes; make test runs this without it")
	}
	lasts := overloadFor
	if text := os.Getenv("REPRISE_OVERLOAD"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	o := newOverload(t)
	rate := o.capacity(t)
	memory := o.watchMemory(t, lasts)
	sent := o.flood(t, max(rate*overloadFactor, leastOverload), lasts)
	first, second := memory()
	o.settle(t, sent)
	accepted, busy, other := o.accepted.Load(), o.busy.Load(), o.other.Load()
	t.Logf("capacity %.0f/s; sent %d in %s; accepted %d (%.0f/s), refused with 429 %d, unanswered %d; memory %d MB, then %d MB",
		rate, sent, lasts, accepted, float64(accepted)/lasts.Seconds(), busy, sent-accepted-busy-other, first>>20, second>>20)
	if accepted == 0 || busy == 0 {
		t.Errorf("%d were accepted and %d refused with 429; there have to be both", accepted, busy)
	}
	if accepted+busy+other < sent {
		t.Errorf("%d of %d commands were not answered", sent-accepted-busy-other, sent)
	}
	if other > 0 {
		t.Errorf("%d were answered with something else; the first: %s", other, o.odd.Load())
	}
	if most := max(first, second); most > maxOverloadMemory {
		t.Errorf("it took %d bytes of memory under the overload, and is told to keep to %s", most, overloadMemory)
	}
	o.checkKept(t)
}

type overload struct {
	p     *process
	peers []*peer
	mu    sync.Mutex
	told  map[string]contract.Reply // by session and command id
	odd   atomic.Value

	accepted, busy, other atomic.Int64
}

// newOverload starts an engine and makes the sessions.
func newOverload(t *testing.T) *overload {
	cmd := command(t, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	cmd.Env = append(cmd.Env, "GOMEMLIMIT="+overloadMemory)
	o := &overload{p: start(t, cmd), told: map[string]contract.Reply{}}
	for range overloadConns {
		o.peers = append(o.peers, dial(t, o.p.url, "u0"))
	}
	for i := range overloadSessions {
		p := o.peers[0].as(fmt.Sprintf("u%d", i%overloadUsers))
		p.do(t, fmt.Sprintf("s%d", i), domain.VerbCreate, plan("compile"))
	}
	return o
}

// command is the n-th command of the overload.
func (o *overload) command(n int) (subject string, body []byte) {
	i := n % overloadSessions
	subject = contract.Default().Command(fmt.Sprintf("u%d", i%overloadUsers), fmt.Sprintf("s%d", i), domain.VerbMetadataSet)
	return subject, fmt.Appendf(nil, `{"set":{"n":"%d"}}`, n)
}

// capacity measures what clients that wait for their answers get done.
func (o *overload) capacity(t *testing.T) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var n, done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for client := range overloadClients {
		wg.Go(func() {
			for ctx.Err() == nil {
				subject, body := o.command(int(n.Add(1)))
				msg, err := o.peers[client%overloadConns].nc.Request(subject, body, patience)
				if err != nil {
					t.Error(err)
					return
				}
				o.take(msg)
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// take notes an answer.
func (o *overload) take(msg *nats.Msg) {
	a, err := read(msg)
	if err == nil && a.refusal == nil {
		err = json.Unmarshal(msg.Data, &a.reply)
	}
	switch {
	case err != nil:
		o.other.Add(1)
		o.odd.Store(err.Error())
	case a.refusal != nil && a.refusal.Code == domain.CodeBusy && a.refusal.RetryAfter > 0 && msg.Header.Get(contract.HeaderErrorCode) == "429":
		o.busy.Add(1)
	case a.refusal != nil:
		o.other.Add(1)
		o.odd.Store(string(msg.Data))
	default:
		o.mu.Lock()
		o.told[contract.ViewKey(a.reply.User, a.reply.Session)+" "+a.reply.CommandID] = a.reply
		o.mu.Unlock()
		o.accepted.Add(1)
	}
}

// flood sends at a rate without waiting for answers, and returns how many it sent.
func (o *overload) flood(t *testing.T, rate float64, lasts time.Duration) int64 {
	t.Helper()
	o.accepted.Store(0)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for i, p := range o.peers {
		inbox := p.nc.NewInbox()
		sub, err := p.nc.Subscribe(inbox, o.take)
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.SetPendingLimits(-1, -1); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { sent.Add(o.stream(t, i, inbox, rate/overloadConns, lasts)) })
	}
	wg.Wait()
	return sent.Load()
}

// stream is one connection's share of a flood.
func (o *overload) stream(t *testing.T, conn int, inbox string, rate float64, lasts time.Duration) int64 {
	tick := time.NewTicker(overloadTick)
	defer tick.Stop()
	began, n := time.Now(), 0
	for {
		now := <-tick.C
		due := int(min(now.Sub(began), lasts).Seconds() * rate)
		for ; n < due; n++ {
			subject, body := o.command(firstFlooded + n*overloadConns + conn)
			if err := o.peers[conn].nc.PublishRequest(subject, inbox, body); err != nil {
				t.Error(err)
				return int64(n)
			}
		}
		if now.Sub(began) >= lasts {
			return int64(n)
		}
	}
}

// settle waits until every command was answered, or no answer has come for a
// while, and until a client that comes now is served.
func (o *overload) settle(t *testing.T, sent int64) {
	t.Helper()
	const quiet = patience / 2
	last, since := int64(-1), time.Now()
	eventually(t, func() error {
		got := o.accepted.Load() + o.busy.Load() + o.other.Load()
		if got != last {
			last, since = got, time.Now()
		}
		if got >= sent || time.Since(since) > quiet {
			return nil
		}
		return fmt.Errorf("%d of %d commands are answered, and more answers come", got, sent)
	})
	eventually(t, func() error {
		a, err := o.peers[0].as("late").send("s", domain.VerbCreate, plan("compile"), nil)
		if err == nil && a.refusal != nil {
			err = fmt.Errorf("a client that comes after the overload is refused: %s", a.refusal.Message)
		}
		return err
	})
}

// watchMemory samples the memory of the process; the answer is the most of the
// first and of the second half.
func (o *overload) watchMemory(t *testing.T, lasts time.Duration) func() (first, second int64) {
	done, ended := make(chan struct{}), make(chan struct{})
	var most [2]int64
	began := time.Now()
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				half := min(1, int(2*time.Since(began)/lasts))
				most[half] = max(most[half], residentMemory(t, o.p.cmd.Process.Pid))
			}
		}
	}()
	return func() (int64, int64) {
		close(done)
		<-ended
		return most[0], most[1]
	}
}

// residentMemory returns the memory of a process in bytes, as proc(5) tells it.
func residentMemory(t *testing.T, pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Error(err)
	}
	return kilobytes << 10
}

// checkKept looks for every accepted command in the history.
func (o *overload) checkKept(t *testing.T) {
	t.Helper()
	history := readEvents(t, o.peers[0])
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, reply := range o.told {
		if err := history.Holds(id, reply); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
