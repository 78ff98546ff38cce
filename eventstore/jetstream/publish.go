package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/eventstore"
)

// errReconnects refuses a write connection that would send late.
var errReconnects = errors.New("the write connection buffers while it is disconnected, so that an append could be sent long after its answer; make it with jetstream.WriteOptions")

// WriteOptions are the options of a connection for writes: nothing is kept
// while it is disconnected, so that what was not sent fails at once.
func WriteOptions() []nats.Option { return []nats.Option{nats.ReconnectBufSize(-1)} }

// sweeps is how often in one timeout overdue acknowledgements are looked for.
const sweeps = 8

// publisher sends messages and waits for their acknowledgements. One
// subscription receives them all; nothing is ever sent twice.
type publisher struct {
	nc      *nats.Conn
	inbox   string // with the dot at its end
	sub     *nats.Subscription
	timeout time.Duration
	slots   chan struct{}

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]waiter
	// sweeping says that somebody looks for overdue acknowledgements.
	sweeping bool
}

// waiter is who waits for one acknowledgement, and until when.
type waiter struct {
	answer chan ack
	until  time.Time
}

// ack is the server's answer to a publish.
type ack struct {
	seq uint64
	err error
}

// answers keeps the channels of those who got their answer.
var answers = sync.Pool{New: func() any { return make(chan ack, 1) }}

// newPublisher subscribes to acknowledgements on nc, until close.
func newPublisher(nc *nats.Conn, inFlight int, timeout time.Duration) (*publisher, error) {
	if nc.Opts.ReconnectBufSize >= 0 {
		return nil, errReconnects
	}
	p := &publisher{
		nc: nc, inbox: nc.NewInbox() + ".", timeout: timeout,
		slots: make(chan struct{}, inFlight), waiting: map[uint64]waiter{},
	}
	sub, err := nc.Subscribe(p.inbox+"*", p.receive)
	if err != nil {
		return nil, unavailable(err)
	}
	p.sub = sub
	return p, sub.SetPendingLimits(-1, -1) // bounded by slots
}

// close ends the subscription; who waits still, waits for the timeout.
func (p *publisher) close() error { return p.sub.Unsubscribe() }

// sweep gives up on acknowledgements that are overdue, until nobody waits. One
// timer for all is a good part cheaper than one each.
func (p *publisher) sweep() {
	ticker := time.NewTicker(p.timeout / sweeps)
	defer ticker.Stop()
	for now := range ticker.C {
		if !p.giveUp(now) {
			return
		}
	}
}

// giveUp answers those whose time is over. It reports whether others wait on; if
// not, the next one starts another sweep.
func (p *publisher) giveUp(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, w := range p.waiting {
		if now.After(w.until) {
			delete(p.waiting, id)
			w.answer <- ack{err: fmt.Errorf("%w: the server did not answer within %s", eventstore.ErrUnknownOutcome, p.timeout)}
		}
	}
	p.sweeping = len(p.waiting) > 0
	return p.sweeping
}

// acquire takes a place among the messages in flight. Who has no time left gets
// none, also where one came free at the same moment.
func (p *publisher) acquire(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return p.late(ctx)
		}
	}
	if ctx.Err() != nil {
		p.release()
		return p.late(ctx)
	}
	return nil
}

func (p *publisher) late(ctx context.Context) error {
	return fmt.Errorf("%w: no place among the %d appends in flight in time: %w", eventstore.ErrUnavailable, cap(p.slots), ctx.Err())
}

func (p *publisher) release() { <-p.slots }

// send publishes one message and returns a ticket for its acknowledgement.
// After an error nothing was sent.
func (p *publisher) send(msg *nats.Msg) (ticket, error) {
	t := ticket{p: p, answer: answers.Get().(chan ack)} //nolint:forcetypeassert // New makes nothing else
	until := time.Now().Add(p.timeout)
	p.mu.Lock()
	p.next++
	t.id = p.next
	p.waiting[t.id] = waiter{t.answer, until}
	if !p.sweeping {
		p.sweeping = true
		go p.sweep()
	}
	p.mu.Unlock()
	msg.Reply = p.inbox + strconv.FormatUint(t.id, 36)
	if err := p.nc.PublishMsg(msg); err != nil {
		t.forget()
		return ticket{}, publishError(err)
	}
	return t, nil
}

// publishError names an error of the client library before anything was sent.
func publishError(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", eventstore.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}

// ticket waits for one acknowledgement.
type ticket struct {
	p      *publisher
	id     uint64
	answer chan ack
}

// wait returns the answer, or ErrUnknownOutcome when none came in time. It may
// be called once.
func (t ticket) wait(ctx context.Context) (uint64, error) {
	select {
	case a := <-t.answer:
		answers.Put(t.answer)
		return a.seq, a.err
	case <-ctx.Done():
		t.forget()
		return 0, fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, ctx.Err())
	}
}

func (t ticket) forget() {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	delete(t.p.waiting, t.id)
}

// receive hands an acknowledgement to whoever waits for it.
func (p *publisher) receive(msg *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, p.inbox), 36, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	w, ok := p.waiting[id]
	delete(p.waiting, id)
	p.mu.Unlock()
	if ok {
		w.answer <- parseAck(msg)
	}
}

// parseAck reads {"stream":"X","seq":N} or {"error":{...}}. An empty body
// acknowledges a message of a batch that is not committed yet.
func parseAck(msg *nats.Msg) ack {
	if len(msg.Data) == 0 {
		if status := msg.Header.Get("Status"); status != "" {
			return ack{err: fmt.Errorf("%w: nobody serves the stream (no leader, or JetStream is off): status %s", eventstore.ErrUnavailable, status)}
		}
		return ack{}
	}
	if seq, ok := plainAck(msg.Data); ok {
		return ack{seq: seq}
	}
	var body struct {
		Seq   uint64    `json:"seq"`
		Error *apiError `json:"error"`
	}
	switch err := json.Unmarshal(msg.Data, &body); {
	case err != nil:
		return ack{err: fmt.Errorf("%w: the server's answer is %.200q", eventstore.ErrUnknownOutcome, msg.Data)}
	case body.Error != nil:
		return ack{err: classify(body.Error)}
	case body.Seq == 0:
		return ack{err: fmt.Errorf("%w: the server's answer is %.200q", eventstore.ErrUnknownOutcome, msg.Data)}
	}
	return ack{seq: body.Seq}
}

// plainAck reads the usual acknowledgement, {"stream":"X", "seq":N}, without a
// JSON decoder.
func plainAck(data []byte) (uint64, bool) {
	if !bytes.HasPrefix(data, []byte(`{"stream":"`)) || data[len(data)-1] != '}' {
		return 0, false
	}
	i := bytes.LastIndex(data, []byte(`"seq":`))
	if i < 0 {
		return 0, false
	}
	seq, err := strconv.ParseUint(strings.TrimSpace(string(data[i+len(`"seq":`):len(data)-1])), 10, 64)
	return seq, err == nil && seq > 0 && !bytes.Contains(data, []byte(`"error"`))
}
