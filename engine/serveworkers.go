package engine

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"reprise/contract"
	"reprise/domain"
)

const (
	// serveVerb ends the subject on which workers ask where to pull.
	serveVerb = "serve"
	// taskAckWait is when the server offers a task again that a worker took and
	// said nothing about: one that was on its way over a connection that broke waits
	// that long. Workers claim at once, and a claim that is late does no harm.
	taskAckWait = 10 * time.Second
	// maxTaken is how many tasks of one action are with workers at once, taken
	// and not yet claimed.
	maxTaken = 4096
	// consumerIdle is how long the server keeps the consumer of an action for
	// which no worker pulls; the next one that asks has it made again.
	consumerIdle = 24 * time.Hour
)

// serveFunc makes the consumer of an action, or finds it.
type serveFunc func(ctx context.Context, action string) (contract.ServeReply, error)

// serve answers a worker that wants to execute steps of an action. Any engine
// may answer.
func (w *workStreams) serve(ctx context.Context, action string) (contract.ServeReply, error) {
	cfg := jetstream.ConsumerConfig{
		Durable: action, Description: "Reprise: the workers of action " + action,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: taskAckWait, MaxDeliver: -1, MaxAckPending: maxTaken,
		FilterSubject: w.names.Prefix() + ".work." + action + ".>", InactiveThreshold: consumerIdle,
	}
	_, err := w.js.CreateOrUpdateConsumer(ctx, w.names.WorkStream(), cfg)
	if err != nil {
		return contract.ServeReply{}, domain.Reject(domain.CodeUnavailable, domain.StateNone,
			"there are no tasks of action %q for now: %v; ask again", action, err)
	}
	return contract.ServeReply{Stream: w.names.WorkStream(), Consumer: action, Lease: domain.Duration(defaultLease)}, nil
}

// asksToServe reports whether a subject is <prefix>.wrk.<worker>.<action>.serve.
func asksToServe(subject string) bool {
	_, rest := cutToken(subject)
	kind, rest := cutToken(rest)
	return kind == forWorker && strings.Count(rest, ".") == 2 && strings.HasSuffix(rest, "."+serveVerb)
}

// serve tells a worker where it pulls the tasks of an action.
func (s *service) serve(m micro.Request, stats *endpointStats) {
	worker, rest := cutToken(afterTokens(m.Subject(), 2))
	action, _ := cutToken(rest)
	for field, id := range map[string]string{"worker": worker, "action": action} {
		if !domain.ValidID(id) {
			s.fail(m.Reply(), stats, badToken(field, id))
			return
		}
	}
	s.aside(m, stats, func(ctx context.Context) (any, error) { return s.Serve(ctx, action) })
}
