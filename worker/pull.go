package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
)

// How tasks are pulled.
const (
	// pullExpires is how long one pull waits on the server for tasks.
	pullExpires = 30 * time.Second
	// pullHeartbeat is the server's sign of life while there are none; after
	// pullQuiet without one the pull counts as lost.
	pullHeartbeat = 5 * time.Second
	pullQuiet     = 2*pullHeartbeat + time.Second
	// maxBatch bounds the tasks of one pull.
	maxBatch = 256
	// holdTask is how long a task may wait for a slot before it goes back.
	holdTask = 100 * time.Millisecond
	// closePull bounds the wait for tasks that are on their way at the end.
	closePull = time.Second
)

// errPullEnded says that the server ended a pull; the next one may go on.
var errPullEnded = errors.New("the pull has ended")

// puller gets the tasks of one action. It speaks the pull protocol itself, since
// a worker may be allowed nothing but "next" and "ack" of its consumer.
type puller struct {
	w       *Worker
	h       *handler
	serve   contract.ServeReply
	inbox   string
	pulls   int
	sub     *nats.Subscription
	msgs    chan *nats.Msg
	drained chan struct{}
	// done is closed when nobody reads msgs any more.
	done chan struct{}
}

// pullLoop serves one action until ctx ends. It returns an error only for what
// waiting does not mend.
func (w *Worker) pullLoop(ctx context.Context, s shift, h *handler) error {
	for wait := firstPause; ctx.Err() == nil; wait = min(2*wait, maxPause) {
		var reply contract.ServeReply
		err := w.ask(ctx, request{subject: w.cfg.Names.Serve(w.cfg.ID, h.action)}, &reply)
		if err == nil {
			w.log.Info("serving", "action", h.action)
			began := time.Now()
			err = w.pullFrom(ctx, s, h, reply)
			if time.Since(began) > maxPause {
				wait = firstPause
			}
		}
		switch {
		case ctx.Err() != nil:
			continue
		case isFinal(err), errors.Is(err, nats.ErrConnectionClosed):
			return fmt.Errorf("worker: action %q can't be served: %w", h.action, err)
		}
		w.log.Warn("no tasks for now", "action", h.action, "error", err)
		sleep(ctx, spread(max(wait, retryAfter(err))))
	}
	return nil
}

// pullFrom pulls from one consumer until that fails or ctx ends.
func (w *Worker) pullFrom(ctx context.Context, s shift, h *handler, serve contract.ServeReply) error {
	p := &puller{
		w: w, h: h, serve: serve, inbox: w.nc.NewInbox(), msgs: make(chan *nats.Msg, maxBatch),
		drained: make(chan struct{}), done: make(chan struct{}),
	}
	sub, err := w.nc.Subscribe(p.inbox+".*", p.hand)
	if err != nil {
		return err
	}
	sub.SetClosedHandler(func(string) { close(p.drained) })
	p.sub = sub
	defer p.close()
	for {
		n := min(h.limit.room(ctx, maxBatch), w.slots.room(ctx, maxBatch))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := p.pull(n)
		if err == nil {
			err = p.receive(ctx, s, n)
		}
		if err != nil && !errors.Is(err, errPullEnded) {
			return err
		}
	}
}

// hand passes a message on to the loop; after its end it is left to the server,
// which offers it again.
func (p *puller) hand(msg *nats.Msg) {
	select {
	case p.msgs <- msg:
	case <-p.done:
	}
}

// pullRequest is the body of the server's CONSUMER.MSG.NEXT; times are in
// nanoseconds.
type pullRequest struct {
	Batch     int           `json:"batch"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

func (p *puller) pull(n int) error {
	body, err := json.Marshal(pullRequest{Batch: n, Expires: pullExpires, Heartbeat: pullHeartbeat})
	if err != nil {
		return err
	}
	p.pulls++
	return p.w.nc.PublishRequest(p.w.cfg.APIPrefix+".CONSUMER.MSG.NEXT."+p.serve.Stream+"."+p.serve.Consumer, p.reply(), body)
}

// reply is where the current pull is answered; tasks keep their own subject.
func (p *puller) reply() string { return p.inbox + "." + strconv.Itoa(p.pulls) }

// receive hands out n tasks, or fewer if the pull ends before.
func (p *puller) receive(ctx context.Context, s shift, n int) error {
	quiet := time.NewTimer(pullQuiet)
	defer quiet.Stop()
	for n > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-quiet.C:
			return fmt.Errorf("the server gave no sign of life for %s", pullQuiet)
		case msg := <-p.msgs:
			quiet.Reset(pullQuiet)
			if status := msg.Header.Get("Status"); status != "" && len(msg.Data) == 0 {
				if err := p.status(msg, status); err != nil {
					return err
				}
				continue
			}
			n--
			p.w.dispatch(ctx, s, p.h, msg)
		}
	}
	return nil
}

// status reads what the server says about a pull: nil for a sign of life,
// errPullEnded if the next pull may follow at once.
func (p *puller) status(msg *nats.Msg, status string) error {
	if msg.Subject != p.reply() {
		return nil // of an earlier pull
	}
	description := msg.Header.Get("Description")
	switch status {
	case "100":
		return nil
	case "404", "408":
		return errPullEnded
	case "409":
		if description == "Batch Completed" {
			return errPullEnded
		}
	}
	return fmt.Errorf("the server ended the pull with %s %s", status, description)
}

// close gives back what comes after the end.
func (p *puller) close() {
	defer close(p.done)
	if p.sub.Drain() == nil {
		late := time.NewTimer(closePull)
		defer late.Stop()
		for open := true; open; {
			select {
			case msg := <-p.msgs:
				p.giveBack(msg)
			case <-p.drained:
				open = false
			case <-late.C:
				open = false
			}
		}
	}
	for {
		select {
		case msg := <-p.msgs:
			p.giveBack(msg)
		default:
			return
		}
	}
}

func (p *puller) giveBack(msg *nats.Msg) {
	if msg.Header.Get("Status") == "" {
		p.w.nak(msg, 0)
	}
}
