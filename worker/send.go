package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// The pauses between two sendings of one request.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// request is one command on its way; every sending has the same id and bytes.
type request struct {
	subject string
	id      string
	body    []byte
}

// command makes the request of a worker's command.
func (w *Worker) command(ref contract.TaskRef, c domain.Command) request {
	body, err := domain.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("worker: %T has no JSON: %v", c, err)) // raw JSON in it was checked before
	}
	return request{
		subject: w.cfg.Names.Worker(w.cfg.ID, ref.Action, ref.User, ref.Session, c.Verb()),
		id:      uuid.Must(uuid.NewV7()).String(), body: body,
	}
}

// ask sends once and reads the answer into reply. The error is a *refusal, or
// says that no answer came, in which case the command may have been applied.
func (w *Worker) ask(ctx context.Context, r request, reply any) error {
	return w.askUntil(ctx, time.Now().Add(w.cfg.RequestTimeout), r, reply)
}

// askUntil is ask with another end.
func (w *Worker) askUntil(ctx context.Context, end time.Time, r request, reply any) error {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	header := nats.Header{}
	if r.id != "" {
		header.Set(contract.HeaderCommandID, r.id)
	}
	msg, err := w.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: r.subject, Header: header, Data: r.body})
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return &refusal{status: 400, code: domain.CodeInvalid, text: fmt.Sprintf("%d bytes do not fit one message of this server, which takes %d", len(r.body), w.nc.MaxPayload())}
	case err != nil:
		return err
	}
	if refused := refusalOf(msg); refused != nil {
		return refused
	}
	if err := contract.Decode(msg.Data, reply); err != nil {
		return fmt.Errorf("the answer on %s can't be read: %w", r.subject, err)
	}
	return nil
}

// refusalOf reads an answer as a refusal; nil if it is none.
func refusalOf(msg *nats.Msg) *refusal {
	status, text := msg.Header.Get(contract.HeaderErrorCode), msg.Header.Get(contract.HeaderError)
	if status == "" && text == "" {
		return nil
	}
	var body contract.Error
	_ = json.Unmarshal(msg.Data, &body) // the headers alone say enough
	r := &refusal{code: body.Code, text: body.Message, state: body.State, after: body.RetryAfter}
	r.status, _ = strconv.Atoi(status)
	if r.text == "" {
		r.text = text
	}
	return r
}

// patience says how long a request is repeated.
type patience struct {
	// until bounds all sendings together.
	until time.Time
	// yield ends the repeating at an answer that says that nothing was applied
	// (busy, unavailable, nobody there), unless an earlier sending is in doubt.
	yield bool
	// again is called before every further sending.
	again func()
}

// persist sends the same request until it is answered for good. The error is
// that of the last sending.
func (w *Worker) persist(ctx context.Context, r request, p patience, reply any) error {
	unsure := false
	for wait := firstPause; ; wait = min(2*wait, maxPause) {
		err := w.askUntil(ctx, earliest(p.until, time.Now().Add(w.cfg.RequestTimeout)), r, reply)
		if err == nil || isFinal(err) || errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		unsure = unsure || inDoubt(err)
		if p.yield && !unsure {
			return err
		}
		nap := spread(max(wait, retryAfter(err)))
		if time.Now().Add(nap).After(p.until) || !sleep(ctx, nap) {
			return err
		}
		if p.again != nil {
			p.again()
		}
	}
}

// inDoubt reports whether the command may have been applied.
func inDoubt(err error) bool {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status == 504 || r.code == domain.CodeUnknownOutcome
	}
	return !errors.Is(err, nats.ErrNoResponders)
}

// retryAfter is the engine's hint, bounded; 0 if there is none.
func retryAfter(err error) time.Duration {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return 0
	}
	return min(r.after.Std(), maxRetryAfter)
}

// spread adds up to a fifth, so that workers that failed together don't come
// back together.
func spread(d time.Duration) time.Duration { return d + time.Duration(rand.Int64N(int64(d)/5+1)) }

// sleep waits and reports whether ctx still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
