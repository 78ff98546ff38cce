package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

const (
	// defaultLease is the lease of a claim that asks for none; domain has the
	// same.
	defaultLease = 30 * time.Second
	// writesPerLease is how many heartbeats of an attempt are written within one
	// lease at most. Workers send three, and more with news; one more than three
	// makes sure that a beat which comes a little early is not left out.
	writesPerLease = 4
	// maxProgress bounds what is kept of a progress in bytes; beyond it only the
	// line and the percentage are.
	maxProgress = 64 << 10
	// keptLeases is how many leases long a sign of life is kept.
	keptLeases = 3
	// maxPaced is how many attempts the pace is remembered of.
	maxPaced = 65536
)

// attemptID names one attempt of one step.
type attemptID struct {
	key     eventstore.Key
	step    domain.StepRef
	attempt int
}

// beat is the last sign of life of an attempt, as it is stored.
type beat struct {
	// ID is that of the heartbeat.
	ID       string          `json:"id"`
	Worker   string          `json:"worker"`
	Lease    domain.Duration `json:"lease"`
	Progress json.RawMessage `json:"progress,omitempty"`

	// stored is when the server stored it.
	stored time.Time
}

// output is what the attempt had put out: its partial output, or its last line.
func (b beat) output() json.RawMessage {
	var p contract.Progress
	if json.Unmarshal(b.Progress, &p) != nil {
		return nil
	}
	if len(p.Output) > 0 || p.Line == "" {
		return p.Output
	}
	line, err := domain.Marshal(p.Line)
	if err != nil {
		return nil
	}
	return line
}

// allLeases returns the subjects of all leases.
func allLeases(names contract.Names) string { return names.Prefix() + ".lease.>" }

// leaseSubject returns the subject of one attempt's lease:
// <prefix>.lease.<user>.<session>.<chain>.<step>.<attempt>.
func leaseSubject(names contract.Names, id attemptID) string {
	return names.Prefix() + ".lease." + id.key.String() + "." + id.step.Chain + "." + id.step.Step + "." + strconv.Itoa(id.attempt)
}

// parseLease reads the subject of a lease.
func parseLease(names contract.Names, subject string) (attemptID, bool) {
	rest, ok := strings.CutPrefix(subject, names.Prefix()+".lease.")
	t := strings.Split(rest, ".")
	if !ok || len(t) != 5 {
		return attemptID{}, false
	}
	user, err := contract.ParseUserToken(t[0])
	attempt, wrong := strconv.Atoi(t[4])
	return attemptID{
		key: eventstore.Key{User: user, Session: t[1]}, step: domain.StepRef{Chain: t[2], Step: t[3]}, attempt: attempt,
	}, err == nil && wrong == nil
}

// leaseBook writes down that attempts are alive. Every engine has one, since any
// of them may get a heartbeat. It is safe for concurrent use.
type leaseBook struct {
	streams *workStreams
	cached  func(eventstore.Key) (eventstore.Aggregate, bool)

	mu      sync.Mutex
	written map[attemptID]time.Time
}

func newLeaseBook(streams *workStreams, cached func(eventstore.Key) (eventstore.Aggregate, bool)) *leaseBook {
	return &leaseBook{streams: streams, cached: cached, written: map[attemptID]time.Time{}}
}

// renew writes an accepted heartbeat down before it is answered. The error is
// that of the server; the worker tries again.
func (l *leaseBook) renew(ctx context.Context, r Request) error {
	cmd, ok := r.Command.(*domain.Heartbeat)
	if !ok || r.DryRun {
		return nil
	}
	id := attemptID{r.Key, domain.StepRef{Chain: cmd.Chain, Step: cmd.Step}, cmd.Attempt}
	lease := l.lease(id)
	if !l.due(id, lease) {
		return nil
	}
	body, err := domain.Marshal(beat{ID: r.ID, Worker: cmd.Worker, Lease: domain.Duration(lease), Progress: bounded(cmd.Progress)})
	if err != nil {
		return domain.Invalid("progress", "it is not JSON: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	keep := max(keptLeases*lease, time.Second).Round(time.Second)
	_, err = l.streams.js.Publish(ctx, leaseSubject(l.streams.names, id), body, jetstream.WithMsgTTL(keep))
	if err != nil {
		l.forget(id)
		return domain.Reject(domain.CodeUnavailable, domain.StateNone, "the heartbeat could not be written down: %v; send it again", err)
	}
	return nil
}

// lease returns the period that the attempt got.
func (l *leaseBook) lease(id attemptID) time.Duration {
	a, ok := l.cached(id.key)
	if !ok {
		return defaultLease
	}
	st := a.Session.Step(id.step.Chain, id.step.Step)
	if st == nil || st.Lease <= 0 {
		return defaultLease
	}
	return st.Lease.Std()
}

// due reports whether a heartbeat is to be written, and counts it as written.
func (l *leaseBook) due(id attemptID, lease time.Duration) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.written[id]; ok && now.Sub(last) < lease/writesPerLease {
		return false
	}
	if len(l.written) >= maxPaced {
		clear(l.written)
	}
	l.written[id] = now
	return true
}

func (l *leaseBook) forget(id attemptID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.written, id)
}

// bounded returns a progress of a size that can be kept.
func bounded(progress json.RawMessage) json.RawMessage {
	if len(progress) <= maxProgress {
		return progress
	}
	var p contract.Progress
	if json.Unmarshal(progress, &p) != nil {
		return nil
	}
	p.Output = nil
	if len(p.Line) > maxSentence {
		p.Line = p.Line[:maxSentence]
	}
	small, err := domain.Marshal(p)
	if err != nil {
		return nil
	}
	return small
}

// lease reads the last sign of life of an attempt; false if none is kept.
func (w *workStreams) lease(ctx context.Context, id attemptID) (beat, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	m, err := w.leases.GetLastMsgForSubject(ctx, leaseSubject(w.names, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return beat{}, false, nil
	}
	if err != nil {
		return beat{}, false, fmt.Errorf("read the lease of %s: %w", id.key, err)
	}
	var b beat
	if json.Unmarshal(m.Data, &b) != nil {
		return beat{}, false, nil
	}
	b.stored = m.Time
	return b, true, nil
}

// followLeases hears every heartbeat that is written down.
func (d *dispatcher) followLeases() (*nats.Subscription, error) {
	sub, err := d.Conn.Subscribe(allLeases(d.Names), func(m *nats.Msg) {
		id, ok := parseLease(d.Names, m.Subject)
		var b beat
		if ok && json.Unmarshal(m.Data, &b) == nil {
			d.heard(id, b.ID, d.Clock())
		}
	})
	if err != nil {
		return nil, fmt.Errorf("follow the leases: %w", err)
	}
	return sub, d.Conn.Flush()
}

// heard notes that an attempt was alive at a time. The agenda keeps its place:
// what it says now is too early, and is found to be so then.
func (d *dispatcher) heard(id attemptID, beat string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var f *flight
	if t := d.sessions[id.key]; t != nil {
		f = t.flights[id.step]
	}
	switch {
	case f == nil || f.attempt < id.attempt:
		d.early.note(id, beat)
	case f.attempt == id.attempt && !at.Before(f.seen):
		f.seen, f.beat, f.retry = at, beat, time.Time{}
	}
}

// maxEarly is how many early heartbeats are remembered.
const maxEarly = 1024

// earlyBeats are heartbeats of attempts whose claims were not seen yet: a worker
// may be faster than the follower of the events.
type earlyBeats struct{ last map[attemptID]string }

func (e *earlyBeats) note(id attemptID, beat string) {
	if e.last == nil || len(e.last) >= maxEarly {
		e.last = map[attemptID]string{}
	}
	e.last[id] = beat
}

// take returns and forgets the last heartbeat of an attempt, "" if there was none.
func (e *earlyBeats) take(id attemptID) string {
	beat := e.last[id]
	delete(e.last, id)
	return beat
}
