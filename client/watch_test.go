package client_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
)

// history plays the engine for a watch: a growing list of commits that get and
// history answer from, and that can be published live or not.
type history struct {
	t       *testing.T
	nc      *nats.Conn
	mu      sync.Mutex
	commits []contract.CommitEntry
	bodies  [][]byte
	// fail, if set, is what history queries are rejected with.
	fail domain.Code
}

func newHistory(t *testing.T, nc *nats.Conn) *history {
	t.Helper()
	h := &history{t: t, nc: nc}
	for subject, handle := range map[string]func(*nats.Msg){
		"reprise.qry.ada.get":     h.get,
		"reprise.qry.ada.history": h.page,
	} {
		if _, err := nc.Subscribe(subject, handle); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *history) get(msg *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ok(contract.GetReply{Session: &domain.Session{ID: "s1", Version: uint64(len(h.commits))}})(msg)
}

func (h *history) page(msg *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != "" {
		reject(contract.Error{Code: h.fail, Message: string(h.fail)})(msg)
		return
	}
	from := decode[contract.HistoryRequest](h.t, msg.Data).FromVersion
	reply := contract.HistoryReply{Session: "s1"}
	for _, c := range h.commits {
		if c.Version >= from {
			reply.Commits = append(reply.Commits, c)
		}
	}
	ok(reply)(msg)
}

// add appends a commit with one event and returns its number.
func (h *history) add(t domain.EventType) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := uint64(len(h.commits) + 1)
	prev := ""
	if n > 1 {
		prev = h.commits[n-2].Hash
	}
	data := `{"chain":"c","step":"1"}`
	body := `{"v":1,"commit":"c` + strconv.FormatUint(n, 10) + `","version":` + strconv.FormatUint(n, 10) +
		`,"state":"RUNNING","prev":"` + prev + `","events":[{"type":"` + string(t) + `","data":` + data + `}]}`
	sum := sha256.Sum256([]byte(body))
	h.bodies = append(h.bodies, []byte(body))
	h.commits = append(h.commits, contract.CommitEntry{
		Seq: n, Version: n, Commit: "c" + strconv.FormatUint(n, 10), Hash: hex.EncodeToString(sum[:]), Prev: prev,
		Events: []contract.EventSummary{{Type: t, Chain: "c", Step: "1"}},
	})
	return int(n)
}

func (h *history) setFail(code domain.Code) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = code
}

// publish sends commit n on the live subject as the server republishes it.
func (h *history) publish(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	msg := &nats.Msg{Subject: "reprise.live.ada.s1", Data: h.bodies[n-1], Header: nats.Header{"Nats-Sequence": {strconv.Itoa(n)}}}
	if err := h.nc.PublishMsg(msg); err != nil {
		h.t.Error(err)
	}
}

// watchAll runs a watch in the background and hands its entries over.
func watchAll(t *testing.T, c *client.Client, from uint64) (<-chan contract.CommitEntry, <-chan error, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	entries, failed := make(chan contract.CommitEntry, 100), make(chan error, 1)
	go func() {
		defer close(entries)
		for entry, err := range c.Watch(ctx, "s1", from) {
			if err != nil {
				failed <- err
				return
			}
			entries <- entry
		}
	}()
	t.Cleanup(cancel)
	return entries, failed, cancel
}

func next(t *testing.T, entries <-chan contract.CommitEntry) contract.CommitEntry {
	t.Helper()
	select {
	case entry := <-entries:
		return entry
	case <-time.After(time.Minute):
		t.Fatal("no commit came")
		return contract.CommitEntry{}
	}
}

func slow(t *testing.T, nc *nats.Conn) *client.Client {
	t.Helper()
	c, err := client.New(nc, client.Config{User: "ada", Timeout: time.Minute, Attempts: 2, Backoff: time.Millisecond, WatchIdle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWatchFillsGaps: doubled, lost, out of order and foreign live messages all
// give the commits once and in order, and the tombstone ends the watch.
func TestWatchFillsGaps(t *testing.T) {
	nc := connect(t)
	h := newHistory(t, nc)
	h.add(domain.TypeSessionCreated)
	entries, failed, _ := watchAll(t, slow(t, nc), 1)
	if got := next(t, entries); got.Version != 1 {
		t.Fatalf("first %+v", got)
	}
	two := h.add(domain.TypeStepSucceeded)
	h.publish(two)
	if got := next(t, entries); got.Version != 2 || got.Events[0].Step != "1" || got.Hash != h.commits[1].Hash {
		t.Errorf("live commit %+v", got)
	}
	h.publish(two)
	h.add(domain.TypeStepSucceeded)
	h.publish(h.add(domain.TypeStepSucceeded))
	for want := uint64(3); want <= 4; want++ {
		if got := next(t, entries); got.Version != want {
			t.Errorf("version %d, want %d", got.Version, want)
		}
	}
	h.add("session.invented")
	if err := nc.Publish("reprise.live.ada.s1", []byte("noise")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, entries); got.Version != 5 {
		t.Errorf("after noise: %+v", got)
	}
	h.publish(h.add(domain.TypeSessionPurged))
	next(t, entries)
	if _, open := <-entries; open || len(failed) > 0 {
		t.Error("the tombstone did not end the watch")
	}
}

// TestWatchNoticesWhatWasLost: what came without any live message is found when
// it is idle, and an engine that is away does not end the watch.
func TestWatchNoticesWhatWasLost(t *testing.T) {
	nc := connect(t)
	h := newHistory(t, nc)
	h.add(domain.TypeSessionCreated)
	entries, failed, cancel := watchAll(t, patient(t, nc), 1)
	next(t, entries)
	h.setFail(domain.CodeWarming)
	h.add(domain.TypeSessionStarted)
	h.setFail("")
	if got := next(t, entries); got.Version != 2 {
		t.Errorf("version %d", got.Version)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) && client.CodeOf(err) == "" {
		t.Errorf("error %v", err)
	}
}

// TestWatchFromNow begins after what there is.
func TestWatchFromNow(t *testing.T) {
	nc := connect(t)
	h := newHistory(t, nc)
	h.add(domain.TypeSessionCreated)
	entries, _, _ := watchAll(t, patient(t, nc), 0)
	deadline := time.Now().Add(time.Minute)
	for {
		n := h.add(domain.TypeStepSucceeded)
		h.publish(n)
		select {
		case got := <-entries:
			if got.Version < 2 {
				t.Errorf("version %d", got.Version)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("no commit came")
		}
	}
}

func TestWatchEndsWithAnError(t *testing.T) {
	nc := connect(t)
	h := newHistory(t, nc)
	h.setFail(domain.CodeNotFound)
	_, failed, _ := watchAll(t, patient(t, nc), 1)
	if err := <-failed; client.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("error %v", err)
	}
	for _, err := range patient(t, nc).Watch(t.Context(), "a b", 1) {
		if client.CodeOf(err) != domain.CodeInvalid {
			t.Errorf("error %v", err)
		}
	}
}

func TestWatchOnClosedConnection(t *testing.T) {
	nc := connect(t)
	h := newHistory(t, nc)
	h.add(domain.TypeSessionCreated)
	entries, failed, _ := watchAll(t, slow(t, nc), 1)
	next(t, entries)
	nc.Close()
	if err := <-failed; client.CodeOf(err) != domain.CodeUnavailable || !strings.Contains(err.Error(), "closed") {
		t.Errorf("error %v", err)
	}
	for _, err := range slow(t, nc).Watch(t.Context(), "s1", 1) {
		if client.CodeOf(err) != domain.CodeUnavailable {
			t.Errorf("error %v", err)
		}
	}
}

// TestWatchStopsWithTheLoop: leaving the loop is enough.
func TestWatchStopsWithTheLoop(t *testing.T) {
	nc := connect(t)
	h := newHistory(t, nc)
	h.add(domain.TypeSessionCreated)
	h.add(domain.TypeSessionStarted)
	for entry, err := range slow(t, nc).Watch(t.Context(), "s1", 1) {
		if err != nil || entry.Version != 1 {
			t.Errorf("entry %+v, error %v", entry, err)
		}
		break
	}
	if n := nc.NumSubscriptions(); n != 3 { // the fake's two and the reply inbox
		t.Errorf("%d subscriptions are left", n)
	}
}
