package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// mark opens the read-only mark of a house.
func (h *house) mark() *ReadOnlyMark {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	if err != nil {
		h.t.Fatal(err)
	}
	mark, err := OpenReadOnlyMark(h.t.Context(), js, contract.Default())
	if err != nil {
		h.t.Fatal(err)
	}
	return mark
}

// reject sends a command that must be rejected.
func (h *house) reject(session string, verb domain.Verb, request any, headers ...string) *contract.Error {
	h.t.Helper()
	var reply contract.Reply
	rejected := h.askOnce(contract.Default().Command("ann", session, verb), request, &reply, headers...)
	if rejected == nil {
		h.t.Fatalf("%s %s was accepted", verb, session)
	}
	return rejected
}

func TestReadOnlyRejectsCommandsAndAnswersQueries(t *testing.T) {
	h := newHouse(t)
	h.start()
	h.start()
	h.command("s1", domain.VerbCreate, housePlan)
	mark := h.mark()
	set := ReadOnly{ID: "m1", By: "eve", Reason: "it is moving", Since: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	if err := errors.Join(mark.Set(t.Context(), set), mark.Settle(t.Context(), h.nc)); err != nil {
		t.Fatal(err)
	}
	for range 8 { // either engine
		rejected := h.reject("s1", domain.VerbStart, nil)
		if rejected.Code != domain.CodeUnavailable || rejected.RetryAfter == 0 ||
			!strings.Contains(rejected.Message, "read-only since 2026-03-01T12:00:00Z, by eve: it is moving") {
			t.Fatalf("%+v", rejected)
		}
	}
	got, refused := query[contract.GetReply](h, contract.QueryGet, contract.GetRequest{Session: "s1"})
	if refused != nil || got.Session.State != domain.StatePending {
		t.Errorf("get: %+v %v", got, refused)
	}
	var preview contract.Reply
	if refused := h.ask(contract.Default().Command("ann", "s1", domain.VerbStart), nil, &preview, contract.HeaderDryRun, "true"); refused != nil || !preview.DryRun {
		t.Errorf("dry run: %+v", refused)
	}
	was, err := mark.Release(t.Context())
	if err != nil || was.ID != "m1" {
		t.Fatalf("released %+v, %v", was, err)
	}
	if err := mark.Settle(t.Context(), h.nc); err != nil {
		t.Fatal(err)
	}
	h.command("s1", domain.VerbStart, nil)
}

// TestReadOnlyWaitsForTheSlow has an engine that is slow to see the mark, and to say
// so, beside one that is quick.
func TestReadOnlyWaitsForTheSlow(t *testing.T) {
	h := newHouse(t)
	h.start()
	mark := h.mark()
	if err := mark.Set(t.Context(), ReadOnly{ID: "m1", By: "eve", Reason: "it is moving"}); err != nil {
		t.Fatal(err)
	}
	_, rev, err := mark.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	slow := dialServer(t, h.ns)
	_, err = slow.Subscribe(mark.subject(), func(m *nats.Msg) {
		seen := readOnlySeen{Engine: "slow"}
		if asked.Add(1) > 1 {
			seen.Revision = rev
		}
		pause(t.Context(), settleIdle/4)
		if body, err := domain.Marshal(seen); err == nil {
			_ = m.Respond(body) // who asked asks again
		}
	})
	if err != nil || slow.Flush() != nil {
		t.Fatal(err)
	}
	if err := mark.Settle(t.Context(), h.nc); err != nil || asked.Load() < 2 {
		t.Errorf("settled after the slow engine was asked %d times, error %v", asked.Load(), err)
	}
}

func TestReadOnlySurvivesTheEngine(t *testing.T) {
	h := newHouse(t)
	stop := h.start()
	mark := h.mark()
	if err := mark.Set(t.Context(), ReadOnly{ID: "m1", By: "eve", Reason: "it is moving"}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := mark.Settle(t.Context(), h.nc); err != nil {
		t.Fatalf("without an engine: %v", err)
	}
	h.start()
	h.reject("s1", domain.VerbCreate, housePlan)
}

func TestReadOnlyWaitsForCommandsOnTheirWay(t *testing.T) {
	h := newHouse(t)
	g := &readOnlyGate{clock: time.Now, log: slog.New(slog.DiscardHandler)}
	if err := g.enter(Request{}); err != nil {
		t.Fatal(err)
	}
	in := make(chan struct{})
	go func() {
		defer close(in)
		g.set(ReadOnly{ID: "m1"}, 7)
	}()
	if g.seen.Load() != 0 {
		t.Error("it is in force while a command is on its way")
	}
	g.leave()
	<-in
	if g.seen.Load() != 7 || g.enter(Request{}) == nil {
		t.Error("it is not in force")
	}
	h.start()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.mark().Settle(ctx, h.nc); err == nil {
		t.Error("settled although the caller gave up")
	}
}

func TestReadOnlyBelongsToOne(t *testing.T) {
	h := newHouse(t)
	h.start()
	mark, ctx := h.mark(), t.Context()
	if was, err := mark.Release(ctx); err != nil || was.ID != "" {
		t.Errorf("released %+v, %v", was, err)
	}
	if err := mark.Set(ctx, ReadOnly{}); err == nil {
		t.Error("set without an id")
	}
	if err := mark.Set(ctx, ReadOnly{ID: "m1", By: "eve", Reason: "it is moving"}); err != nil {
		t.Fatal(err)
	}
	if err := mark.Set(ctx, ReadOnly{ID: "m1", By: "eve", Reason: "it is moving on"}); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := mark.Set(ctx, ReadOnly{ID: "m2", By: "bob"}); !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "by eve: it is moving on") {
		t.Errorf("another: %v", err)
	}
	if now, err := mark.Get(ctx); err != nil || now.ID != "m1" {
		t.Errorf("it is %+v, %v", now, err)
	}
}

// TestReadOnlyMarkIsReadFromItsLeader: on a cluster a direct get may come from a
// replica that does not have the mark yet, and an engine that starts would let
// commands through.
func TestReadOnlyMarkIsReadFromItsLeader(t *testing.T) {
	js, err := jetstream.New(dialServer(t, startJetStream(t)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is made, and it is opened
		mark, err := openReadOnlyMark(t.Context(), js, contract.Default(), jetstream.FileStorage, 1)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(t.Context(), "KV_reprise_settings")
		if err != nil || stream.CachedInfo().Config.AllowDirect {
			t.Fatalf("any replica may answer (error %v)", err)
		}
		if err := mark.Set(t.Context(), ReadOnly{ID: "m1", By: "eve"}); err != nil {
			t.Fatal(err)
		}
		if now, err := mark.Get(t.Context()); err != nil || now.By != "eve" {
			t.Errorf("%+v, %v", now, err)
		}
	}
}

func TestReadOnlyEndsByItself(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	g := &readOnlyGate{clock: func() time.Time { return now }, log: slog.New(slog.DiscardHandler)}
	g.set(ReadOnly{ID: "m1", TTL: domain.Duration(time.Minute)}, 1)
	if g.enter(Request{}) == nil {
		t.Error("it is not in force")
	}
	if err := g.enter(Request{Verb: domain.VerbHeartbeat}); err != nil {
		t.Errorf("a sign of life: %v", err)
	}
	g.leave()
	now = now.Add(2 * time.Minute)
	if err := g.enter(Request{}); err != nil {
		t.Errorf("it does not end: %v", err)
	}
	g.leave()
}

func TestReadOnlyMarkThatCannotBeRead(t *testing.T) {
	h := newHouse(t)
	h.start()
	mark := h.mark()
	if _, err := mark.kv.Put(t.Context(), readOnlyKey, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := mark.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "_settings") {
		t.Errorf("get: %v", err)
	}
	if err := mark.kv.Delete(t.Context(), readOnlyKey); err != nil {
		t.Fatal(err)
	}
	if now, err := mark.Get(t.Context()); err != nil || now.ID != "" {
		t.Errorf("deleted: %+v, %v", now, err)
	}
	if err := mark.Set(t.Context(), ReadOnly{ID: "m1"}); err != nil {
		t.Errorf("set after it was deleted: %v", err)
	}
}
