package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reprise/contract"
	"reprise/domain"
)

const (
	// serviceName is the name of the micro service.
	serviceName = "reprise"
	// serviceGroup is the queue group in which engines share the requests.
	serviceGroup = "q"
	// maxAsides is the number of queries and requests of workers for tasks that are
	// answered side by side.
	maxAsides = 256
	// asideTimeout bounds one of them.
	asideTimeout = 10 * time.Second
	// defaultInbox is where answers go if Inboxes says nothing else.
	defaultInbox = "_INBOX."
	// stopPoll is how often a stopping service looks whether what the server had
	// sent is handled.
	stopPoll = time.Millisecond
)

// queryFunc answers one query of a user.
type queryFunc func(ctx context.Context, user string, body []byte, header nats.Header) (any, error)

// serviceConfig configures a service. Every field but Accounts and Inboxes is required.
type serviceConfig struct {
	Names   contract.Names
	Version string // of this program, as semantic versions are written
	// Requests is the connection on which requests arrive; nothing else
	// subscribes on it. Replies publishes answers and nothing else.
	Requests, Replies *nats.Conn
	Executor          *executor
	// Operations answer operators; nil if nothing does.
	Operations *operations
	Queries    map[string]queryFunc
	// Serve makes the consumers of workers; nil if there are none.
	Serve  serveFunc
	Clock  func() time.Time
	Logger *slog.Logger
	// Accounts say who may send what; nil for everybody.
	Accounts *Accounts
	// Inboxes are the prefixes of the subjects to which answers may go;
	// "_INBOX." if empty.
	Inboxes []string
}

// service is what clients see of an engine: its subjects. It is safe for
// concurrent use.
type service struct {
	serviceConfig
	answers answers
	micro   micro.Service
	strays  *nats.Subscription
	shares  shares
	// full and tooFast are answers to commands that were not read.
	full, tooFast *shedding
	asides        chan struct{}        // a token for each request that is answered aside
	endpoints     map[string]*endpoint // by subject
	// dropped counts messages that were not looked at.
	dropped atomic.Uint64
}

// startService subscribes to all subjects. The service answers until stop.
func startService(cfg serviceConfig) (*service, error) {
	if len(cfg.Inboxes) == 0 {
		cfg.Inboxes = []string{defaultInbox}
	}
	s := &service{
		serviceConfig: cfg, asides: make(chan struct{}, maxAsides), endpoints: map[string]*endpoint{},
		answers: answers{nc: cfg.Replies, inboxes: cfg.Inboxes, log: cfg.Logger},
		full:    newShedding("this engine has as much to do as it takes, and of yours as much as it has room left for others; send it again a little later"),
		tooFast: newShedding("%s", cfg.Executor.limits.tooFast()),
	}
	var err error
	s.micro, err = micro.AddService(cfg.Requests, micro.Config{
		Name: serviceName, Version: cfg.Version, QueueGroup: serviceGroup,
		Description:  "sessions of chains of steps, commanded and queried",
		Metadata:     map[string]string{"prefix": cfg.Names.Prefix()},
		StatsHandler: s.stats,
	})
	if err != nil {
		return nil, fmt.Errorf("micro service %s: %w", serviceName, err)
	}
	if err := s.subscribe(); err != nil {
		return nil, errors.Join(err, s.micro.Stop())
	}
	return s, nil
}

// refused drops, counts and logs a message that could misuse the engine's own
// rights: one that carries headers of the server's, or wants its answer on a
// subject that is no inbox.
func (s *service) refused(subject, reply string, header nats.Header) bool {
	why := foreign(header)
	if why == "" && !s.answers.mayAnswer(reply) {
		why = "it wants its answer on a subject that is no inbox"
	}
	if why == "" {
		why = s.Accounts.impostor(subject, header)
	}
	if why == "" {
		return false
	}
	s.dropped.Add(1)
	s.Logger.Warn("a request was dropped", "reason", why, "subject", subject, "reply", reply)
	return true
}

// userCommand takes a command that a user sent, if that is not over the user's
// rate. That is asked before anything else costs time.
func (s *service) userCommand(m micro.Request, stats *endpointStats) {
	token, _ := cutToken(afterTokens(m.Subject(), 2))
	switch s.Executor.limits.spend(token) {
	case refused:
		s.shed(m, s.tooFast, stats)
	case dropped:
		stats.dropped.Add(1)
	case allowed:
		s.command(m, stats)
	}
}

// command takes a command, if there is room for its sender.
func (s *service) command(m micro.Request, stats *endpointStats) {
	sender, units := senderIn(afterTokens(m.Subject(), 1)), units(len(m.Data()))
	if !s.shares.enter(sender, units) {
		s.shed(m, s.full, stats)
		return
	}
	s.take(m, stats, func() { s.shares.leave(sender, units) })
}

// shed refuses a command that was not read.
func (s *service) shed(m micro.Request, why *shedding, stats *endpointStats) {
	stats.rejected.Add(1)
	s.answers.shed(m.Reply(), why, m.Headers().Get(contract.HeaderCommandID))
}

// take hands a command to the lane of its session. done is called when it was
// answered.
func (s *service) take(m micro.Request, stats *endpointStats, done func()) {
	to := m.Reply()
	r, a, err := newRequest(m.Subject(), nats.Header(m.Headers()), s.Clock())
	if err == nil {
		err = s.Executor.submit(r, a, m.Data(), func(reply contract.Reply, err error) {
			s.answer(to, r.ID, reply, err, stats)
			done()
		})
	}
	if err != nil {
		s.answer(to, r.ID, contract.Reply{}, err, stats)
		done()
	}
}

func (s *service) answer(to, id string, reply contract.Reply, err error, stats *endpointStats) {
	if err == nil {
		stats.answered.Add(1)
		s.answers.confirm(to, &reply)
		return
	}
	stats.rejected.Add(1)
	s.report(err)
	s.answers.fail(to, err, id)
}

// report logs errors that are nobody's mistake but this side's.
func (s *service) report(err error) {
	if _, ok := errors.AsType[*domain.Rejection](err); !ok {
		s.Logger.Error("a request failed", "error", err)
	}
}

func (s *service) fail(to string, stats *endpointStats, err error) {
	stats.rejected.Add(1)
	s.report(err)
	s.answers.fail(to, err, "")
}

// stop unsubscribes and waits until everything that the server had sent is in
// the lanes, or for ctx. Requests that come later go to other engines.
func (s *service) stop(ctx context.Context) error {
	errs := []error{s.micro.Stop()}
	if s.strays != nil {
		errs = append(errs, s.strays.Drain())
	}
	for s.Requests.NumSubscriptions() > 0 || len(s.asides) > 0 {
		if ctx.Err() != nil {
			return errors.Join(append(errs, fmt.Errorf("requests were left unread: %w", context.Cause(ctx)))...)
		}
		pause(ctx, stopPoll)
	}
	return errors.Join(errs...)
}
