package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// liveBuffer is how many live commits may wait; more are dropped by the NATS
// client and read from the history instead.
const liveBuffer = 256

// headerSequence is set by the server on a republished message.
const headerSequence = "Nats-Sequence"

// Watch yields the commits of one session in order and without gaps: from the
// version from on, or with 0 what comes after this moment. Live commits are a
// hint only: one that does not continue the hash chain, a reconnect and a long
// silence all lead to a look into the history, so nothing is missed.
//
// It ends after the commit that purges the session, with an error that cannot
// pass, or with ctx's error; while the engine is away it waits.
func (c *Client) Watch(ctx context.Context, session string, from uint64) iter.Seq2[contract.CommitEntry, error] {
	return func(yield func(contract.CommitEntry, error) bool) {
		w := &watch{client: c, session: session, next: from, yield: yield}
		if err := w.run(ctx); err != nil && !errors.Is(err, errWatchOver) {
			yield(contract.CommitEntry{}, err)
		}
	}
}

// errWatchOver ends a watch without an error.
var errWatchOver = errors.New("the watch is over")

type watch struct {
	client  *Client
	session string
	// next is the version of the next event, hash that of the last commit.
	next  uint64
	hash  string
	yield func(contract.CommitEntry, error) bool
}

func (w *watch) run(ctx context.Context) error {
	if !domain.ValidID(w.session) {
		return invalid("session", "session: %s", idRule("a session id", w.session))
	}
	nc := w.client.nc
	live := make(chan *nats.Msg, liveBuffer)
	sub, err := nc.ChanSubscribe(w.client.cfg.Names.Live(w.client.cfg.User, w.session), live)
	if err != nil {
		return &Error{Code: domain.CodeUnavailable, Message: "cannot watch: " + err.Error(), cause: err}
	}
	defer func() { _ = sub.Unsubscribe() }()
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	if err := w.begin(ctx); err != nil {
		return err
	}
	return w.follow(ctx, live, status)
}

// begin finds where to start, once the subscription is known to the server.
func (w *watch) begin(ctx context.Context) error {
	if err := w.client.nc.FlushTimeout(w.client.cfg.Timeout); err != nil {
		return &Error{Code: domain.CodeUnavailable, Message: "cannot watch: " + err.Error(), cause: err}
	}
	if w.next > 0 {
		return w.catchUp(ctx)
	}
	now, err := w.client.Get(ctx, w.session)
	if err != nil {
		return err
	}
	w.next = now.Session.Version + 1
	return nil
}

// follow waits for whatever comes first, until the watch is over.
func (w *watch) follow(ctx context.Context, live <-chan *nats.Msg, status <-chan nats.Status) error {
	idle := time.NewTimer(w.client.cfg.WatchIdle)
	defer idle.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-live:
			err = w.take(ctx, msg)
		case s := <-status:
			if s == nats.CLOSED {
				return &Error{Code: domain.CodeUnavailable, Message: "the connection was closed", cause: nats.ErrConnectionClosed}
			}
			err = w.catchUp(ctx)
		case <-idle.C:
			err = w.catchUp(ctx)
		}
		wait := w.client.cfg.WatchIdle
		switch {
		case err != nil && !passing(err):
			return err
		case err != nil:
			wait = min(wait, maxBackoff)
		}
		idle.Reset(wait)
	}
}

// passing reports whether the engine may answer again by itself.
func passing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && repeatable(e)
}

// take yields a live commit that continues what was seen, else reads the history.
func (w *watch) take(ctx context.Context, msg *nats.Msg) error {
	entry, ok := liveEntry(msg)
	switch {
	case ok && entry.Version == w.next && (w.hash == "" || entry.Prev == w.hash):
		return w.emit(entry)
	case ok && lastVersion(entry) < w.next:
		return nil // seen already
	}
	return w.catchUp(ctx)
}

func (w *watch) catchUp(ctx context.Context) error {
	req := contract.HistoryRequest{Session: w.session, FromVersion: w.next, Limit: contract.MaxPage}
	for entry, err := range w.client.Commits(ctx, req) {
		if err != nil {
			return err
		}
		if lastVersion(entry) < w.next {
			continue
		}
		if err := w.emit(entry); err != nil {
			return err
		}
	}
	return nil
}

func (w *watch) emit(entry contract.CommitEntry) error {
	w.next, w.hash = lastVersion(entry)+1, entry.Hash
	purged := slices.ContainsFunc(entry.Events, func(e contract.EventSummary) bool { return e.Type == domain.TypeSessionPurged })
	if !w.yield(entry, nil) || purged {
		return errWatchOver
	}
	return nil
}

func lastVersion(entry contract.CommitEntry) uint64 {
	return entry.Version + uint64(len(entry.Events)) - 1
}

// commitBody is a stored commit as it stands on the live subject.
type commitBody struct {
	Commit  string       `json:"commit"`
	Version uint64       `json:"version"`
	Time    time.Time    `json:"time"`
	Actor   string       `json:"actor"`
	Cause   domain.Verb  `json:"cause"`
	State   domain.State `json:"state"`
	Prev    string       `json:"prev"`
	Events  []struct {
		Type domain.EventType `json:"type"`
		Data json.RawMessage  `json:"data"`
	} `json:"events"`
}

// liveEntry reads a live message; false if it is no commit.
func liveEntry(msg *nats.Msg) (contract.CommitEntry, bool) {
	var body commitBody
	if err := json.Unmarshal(msg.Data, &body); err != nil || body.Version == 0 || len(body.Events) == 0 {
		return contract.CommitEntry{}, false
	}
	seq, err := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return contract.CommitEntry{}, false
	}
	sum := sha256.Sum256(msg.Data)
	entry := contract.CommitEntry{
		Seq: seq, Version: body.Version, Commit: body.Commit, Time: body.Time, Actor: body.Actor,
		Cause: body.Cause, State: body.State, Hash: hex.EncodeToString(sum[:]), Prev: body.Prev,
	}
	for _, e := range body.Events {
		chain, step := about(e.Type, e.Data)
		entry.Events = append(entry.Events, contract.EventSummary{Type: e.Type, Chain: chain, Step: step, Data: e.Data})
	}
	return entry, true
}

// about reads which chain and step an event is about; empty for one of a type
// this client does not know.
func about(t domain.EventType, data json.RawMessage) (chain, step string) {
	event := domain.NewEvent(t)
	if event == nil || json.Unmarshal(data, event) != nil {
		return "", ""
	}
	return event.About()
}
