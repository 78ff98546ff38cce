package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/killpoint"
)

// errAskAgain says that the answer was a hint to ask again, or that there was none:
// whoever works on a request says so four times a second.
var errAskAgain = errors.New("ask again")

// operate sends an operator's request and calls each for every message of the
// answer, until the report or until the server is gone.
func (p *peer) operate(ctx context.Context, name string, body any, each func(contract.CleanupMessage)) (*contract.CleanupReport, error) {
	for {
		report, err := p.operateOnce(ctx, name, body, each)
		if !errors.Is(err, errAskAgain) {
			return report, err
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (p *peer) operateOnce(ctx context.Context, name string, body any, each func(contract.CleanupMessage)) (*contract.CleanupReport, error) {
	data, err := domain.Marshal(body)
	if err != nil {
		return nil, err
	}
	inbox := p.nc.NewInbox()
	sub, err := p.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := p.nc.PublishMsg(&nats.Msg{Subject: p.names.Admin("olga", name), Reply: inbox, Data: data}); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		msg, err := nextPart(ctx, sub, first)
		if err != nil {
			return nil, err
		}
		a, err := read(msg)
		if err != nil {
			return nil, err
		}
		if a.refusal != nil && a.refusal.RetryAfter > 0 && first {
			return nil, errAskAgain
		}
		if a.refusal != nil {
			return nil, errors.New(a.refusal.Message)
		}
		var part contract.CleanupMessage
		if err := json.Unmarshal(msg.Data, &part); err != nil {
			return nil, err
		}
		each(part)
		if part.Report != nil {
			return part.Report, nil
		}
	}
}

// nextPart waits for the next message of an answer; for the first one not for ever.
func nextPart(ctx context.Context, sub *nats.Subscription, first bool) (*nats.Msg, error) {
	wait, cancel := ctx, context.CancelFunc(func() {})
	if first {
		wait, cancel = context.WithTimeout(ctx, patience/3)
	}
	defer cancel()
	msg, err := sub.NextMsgWithContext(wait)
	if err != nil && ctx.Err() == nil && (wait.Err() != nil || first && errors.Is(err, nats.ErrNoResponders)) {
		return nil, errAskAgain
	}
	return msg, err
}

// atOnce asks for the purge of everything that was cancelled.
func atOnce() contract.CleanupRequest {
	now := domain.Duration(0)
	return contract.CleanupRequest{Filter: contract.CleanupFilter{OlderThan: &now}}
}

// cancelled makes sessions that have ended; each has an input of so many bytes.
func (p *peer) cancelled(t *testing.T, n, size int) {
	t.Helper()
	step := object{"id": "compile", "action": "work", "input": strings.Repeat("x", size)}
	bodies := map[domain.Verb]object{domain.VerbCreate: {"chains": []object{{"id": "build", "steps": []object{step}}}}}
	var wg sync.WaitGroup
	const clients = 16
	for c := range clients {
		wg.Go(func() {
			for i := c; i < n; i += clients {
				id := fmt.Sprintf("old%d", i)
				for _, verb := range []domain.Verb{domain.VerbCreate, domain.VerbStart, domain.VerbCancel} {
					if a, err := p.patiently(p.names.Command(p.user, id, verb), bodies[verb], nil); err != nil || a.refusal != nil {
						t.Errorf("%s %s: %v %+v", verb, id, err, a.refusal)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestKilledPurge kills the process again and again while it purges. The last
// run completes it: nothing that was purged comes back, and nothing is left but
// tombstones.
func TestKilledPurge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const old, kills = 1500, 4
	first := embedded(t, dir)
	p := dial(t, first.url, "ada")
	p.cancelled(t, old, 0)
	p.do(t, "alive", domain.VerbCreate, plan("compile"))
	first.stop(t)
	gone := map[string]bool{}
	for n := range kills {
		purgeAndKill(t, dir, 100+n*53, gone)
	}
	last := embedded(t, dir)
	p = dial(t, last.url, "ada")
	for id := range gone {
		p.refused(t, id, domain.VerbCreate, plan("compile"), domain.CodeGone)
	}
	report, err := p.operate(bounded(t), contract.AdminPurge, atOnceCancelled(), func(contract.CleanupMessage) {})
	if err != nil || report.Stopped || report.Failed > 0 {
		t.Fatalf("the last purge: %+v, error %v", report, err)
	}
	if report, err = p.operate(bounded(t), contract.AdminPurge, contract.CleanupRequest{}, func(contract.CleanupMessage) {}); err != nil || report.Failed > 0 {
		t.Fatalf("the purge of what was half done: %+v, error %v", report, err)
	}
	checkTombstones(t, p, old)
	last.stop(t)
	again := embedded(t, dir)
	p = dial(t, again.url, "ada")
	checkTombstones(t, p, old)
	p.refused(t, "old0", domain.VerbCreate, plan("compile"), domain.CodeGone)
	if s := p.get(t, "alive"); s.State != domain.StatePending {
		t.Errorf("alive is %s", s.State)
	}
}

func atOnceCancelled() contract.CleanupRequest {
	r := atOnce()
	r.Filter.States = []domain.State{domain.StateCancelled}
	return r
}

// purgeAndKill has the process kill itself after so many items were purged, which
// is in the middle of others.
func purgeAndKill(t *testing.T, dir string, after int, gone map[string]bool) {
	t.Helper()
	process := start(t, doomed(t, killpoint.CleanupDone, after, "serve", "--data", dir, "--listen", "127.0.0.1:0"))
	p := dial(t, process.url, "ada")
	request := atOnceCancelled()
	request.Concurrency = 8
	_, _ = p.operate(process.whileAlive(t), contract.AdminPurge, request, func(m contract.CleanupMessage) {
		for _, r := range m.Results {
			if r.Outcome == contract.OutcomePurged {
				gone[r.Session] = true
			}
		}
	})
	process.died(t)
}

// checkTombstones fails unless all that is left of the purged sessions is one
// message each, and no view.
func checkTombstones(t *testing.T, p *peer, old int) {
	t.Helper()
	stream, err := p.stream(t).Stream(bounded(t), p.names.EventsStream())
	if err != nil {
		t.Fatal(err)
	}
	if state := stream.CachedInfo().State; state.Msgs != uint64(old)+1 || state.NumSubjects != uint64(old)+1 {
		t.Errorf("%d messages on %d subjects are left of %d purged sessions and one that lives", state.Msgs, state.NumSubjects, old)
	}
	eventually(t, func() error {
		keys, err := p.views(t).ListKeys(bounded(t))
		if err != nil {
			return err
		}
		n := 0
		for key := range keys.Keys() {
			if key != "_checkpoint" {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("there are %d views", n)
		}
		return nil
	})
}

// TestPurgedSpaceComesBack purges nearly everything from a store with files.
func TestPurgedSpaceComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	process := embedded(t, dir)
	p := dial(t, process.url, "ada")
	const old, alive, size = 1500, 30, 32 << 10
	p.cancelled(t, old, size)
	for i := range alive {
		p.do(t, fmt.Sprintf("alive%d", i), domain.VerbCreate, plan("compile"))
	}
	before, all := diskUse(t, dir), streamBytes(t, p)
	report, err := p.operate(bounded(t), contract.AdminPurge, atOnceCancelled(), func(contract.CleanupMessage) {})
	if err != nil || report.Purged != old || report.Bytes < old*size {
		t.Fatalf("the purge: %+v, error %v", report, err)
	}
	left := streamBytes(t, p)
	if left > 4<<20 {
		t.Errorf("the stream had %d bytes, %d were removed, and %d are left", all, report.Bytes, left)
	}
	// What is on disk is what is left, and the block that the server writes to,
	// which keeps its holes until it is full.
	bound := int64(2*left) + fileBlock
	eventually(t, func() error {
		if now := diskUse(t, dir); now > bound {
			return fmt.Errorf("%d bytes are on disk of %d before; the messages that are left have %d", now, before, left)
		}
		return nil
	})
	t.Logf("on disk: %d bytes before, %d after; the stream has %d bytes of %d", before, diskUse(t, dir), left, all)
}

// fileBlock is the most that one file of a stream holds, in bytes.
const fileBlock = 8 << 20

// streamBytes is the size of the events.
func streamBytes(t *testing.T, p *peer) uint64 {
	t.Helper()
	stream, err := p.stream(t).Stream(bounded(t), p.names.EventsStream())
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Bytes
}

// diskUse sums up the files of the event stream's messages.
func diskUse(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != ".blk" || filepath.Base(filepath.Dir(filepath.Dir(path))) != contract.Default().EventsStream() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
