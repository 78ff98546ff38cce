package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
	// strayGroup is that of the subscriptions that overlap the endpoints'; in the
	// same group the server would choose one of the two.
	strayGroup = "strays"
	// maxQueries is the number of queries that are answered side by side.
	maxQueries = 256
	// queryTimeout bounds one query.
	queryTimeout = 10 * time.Second
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
	answers   answers
	micro     micro.Service
	strays    []*nats.Subscription
	queries   chan struct{} // a token for each query that is being answered
	endpoints map[string]*endpointStats
	// dropped counts messages that were not looked at.
	dropped atomic.Uint64
}

// endpointStats are what an endpoint adds to the statistics of micro services,
// which see no more of a command than that it was taken.
type endpointStats struct{ answered, rejected, dropped atomic.Uint64 }

// startService subscribes to all subjects. The service answers until stop.
func startService(cfg serviceConfig) (*service, error) {
	if len(cfg.Inboxes) == 0 {
		cfg.Inboxes = []string{defaultInbox}
	}
	s := &service{
		serviceConfig: cfg, queries: make(chan struct{}, maxQueries), endpoints: map[string]*endpointStats{},
		answers: answers{nc: cfg.Replies, inboxes: cfg.Inboxes, log: cfg.Logger},
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

// subscribe adds one endpoint a verb and one a query, and a stray for each kind
// of subject, which says what is wrong with any other.
func (s *service) subscribe() error {
	prefix := s.Names.Prefix()
	errs := []error{
		s.addVerbs(prefix+".cmd.*.*.", "", domain.UserVerbs()),
		s.addVerbs(prefix+".adm.*.cmd.*.*.", "adm-", domain.UserVerbs()),
		s.addVerbs(prefix+".adm.*.cmd.*.*.", "adm-", domain.OperatorVerbs()),
		s.addVerbs(prefix+".wrk.*.*.*.*.", "wrk-", domain.WorkerVerbs()),
		s.addServe(),
		s.addOperations(),
	}
	for name, query := range s.Queries {
		errs = append(errs, s.add("qry-"+name, prefix+".qry.*."+name, s.query(query)))
	}
	for _, kind := range []string{forCommand, forOperator, forWorker, forQuery} {
		sub, err := s.Requests.QueueSubscribe(prefix+"."+kind+".>", strayGroup, s.stray)
		if err != nil {
			errs = append(errs, fmt.Errorf("subject %s.%s.>: %w", prefix, kind, err))
			continue
		}
		s.strays = append(s.strays, sub)
	}
	return errors.Join(errs...)
}

func (s *service) addVerbs(prefix, name string, verbs []domain.Verb) error {
	errs := make([]error, 0, len(verbs))
	for _, verb := range verbs {
		errs = append(errs, s.add(name+strings.ReplaceAll(string(verb), ".", "-"), prefix+string(verb), s.command))
	}
	return errors.Join(errs...)
}

// add makes an endpoint. Messages that are not to be looked at end here.
func (s *service) add(name, subject string, handle func(micro.Request, *endpointStats), options ...micro.EndpointOpt) error {
	stats := &endpointStats{}
	s.endpoints[subject] = stats
	err := s.micro.AddEndpoint(name, micro.HandlerFunc(func(m micro.Request) {
		if s.refused(m.Subject(), m.Reply(), nats.Header(m.Headers())) {
			stats.dropped.Add(1)
			return
		}
		handle(m, stats)
	}), append(options, micro.WithEndpointSubject(subject))...)
	if err != nil {
		return fmt.Errorf("endpoint %s on %s: %w", name, subject, err)
	}
	return nil
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

// command hands a command to the lane of its session.
func (s *service) command(m micro.Request, stats *endpointStats) {
	to := m.Reply()
	r, a, err := newRequest(m.Subject(), nats.Header(m.Headers()), s.Clock())
	if err == nil {
		err = s.Executor.submit(r, a, m.Data(), func(reply contract.Reply, err error) {
			s.answer(to, r.ID, reply, err, stats)
		})
	}
	if err != nil {
		s.answer(to, r.ID, contract.Reply{}, err, stats)
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

// query answers a query in a goroutine of its own, of which there is a bound.
func (s *service) query(answer queryFunc) func(micro.Request, *endpointStats) {
	return func(m micro.Request, stats *endpointStats) {
		select {
		case s.queries <- struct{}{}:
		default:
			s.fail(m.Reply(), stats, domain.Reject(domain.CodeBusy, domain.StateNone, "%d queries are being answered, the most there may be; ask again a little later", maxQueries))
			return
		}
		go func() {
			defer func() { <-s.queries }()
			body, err := s.ask(m, answer)
			if err != nil {
				s.fail(m.Reply(), stats, err)
				return
			}
			stats.answered.Add(1)
			s.answers.give(m.Reply(), body)
		}()
	}
}

func (s *service) fail(to string, stats *endpointStats, err error) {
	stats.rejected.Add(1)
	s.report(err)
	s.answers.fail(to, err, "")
}

// ask runs a query for the user of its subject.
func (s *service) ask(m micro.Request, answer queryFunc) (any, error) {
	user, err := queryUser(m.Subject())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	return answer(ctx, user, m.Data(), nats.Header(m.Headers()))
}

// queryUser reads the user of <prefix>.qry.<user>.<name>.
func queryUser(subject string) (string, error) {
	_, rest := cutToken(subject)
	_, rest = cutToken(rest)
	token, _ := cutToken(rest)
	user, err := contract.ParseUserToken(token)
	if err != nil {
		return "", domain.Invalid("user", "%.160q is %v", token, err)
	}
	return user, nil
}

// stray answers what no endpoint serves, by saying what is wrong with it. It
// gets a copy of everything else too, which it leaves alone.
func (s *service) stray(m *nats.Msg) {
	err := s.strayed(m.Subject)
	if err == nil || s.refused(m.Subject, m.Reply, m.Header) {
		return
	}
	s.answers.fail(m.Reply, err, m.Header.Get(contract.HeaderCommandID))
}

// strayed returns nil for a subject that an endpoint serves.
func (s *service) strayed(subject string) error {
	if s.Serve != nil && asksToServe(subject) {
		return nil
	}
	_, rest := cutToken(subject)
	kind, rest := cutToken(rest)
	if kind == forOperator && s.operates(rest) {
		return nil
	}
	if kind != forQuery {
		return s.strayedCommand(subject, kind, rest)
	}
	_, name := cutToken(rest)
	if s.Queries[name] != nil {
		return nil
	}
	names := make([]string, 0, len(s.Queries))
	for known := range s.Queries {
		names = append(names, known)
	}
	slices.Sort(names)
	return domain.Invalid("query", "there is no query %.80q; there are %s", name, strings.Join(names, ", "))
}

// served says of each kind of command subject how many tokens stand before the
// verb, and which verbs have endpoints.
var served = map[string]struct {
	before int
	verbs  map[domain.Verb]bool
}{
	forCommand:  {2, userVerbs},
	forWorker:   {4, workerVerbs},
	forOperator: {4, operatorVerbs},
}

func (s *service) strayedCommand(subject, kind, rest string) error {
	known := served[kind]
	for range known.before {
		_, rest = cutToken(rest)
	}
	if known.verbs[domain.Verb(rest)] {
		return nil
	}
	_, err := parseAddress(subject)
	return err
}

// stats adds an endpoint's own counters to those of micro.
func (s *service) stats(e *micro.Endpoint) any {
	stats := s.endpoints[e.Subject]
	if stats == nil {
		return nil
	}
	return map[string]uint64{
		"answered": stats.answered.Load(), "rejected": stats.rejected.Load(), "dropped": stats.dropped.Load(),
	}
}

// stop unsubscribes and waits until everything that the server had sent is in
// the lanes, or for ctx. Requests that come later go to other engines.
func (s *service) stop(ctx context.Context) error {
	errs := []error{s.micro.Stop()}
	for _, sub := range s.strays {
		errs = append(errs, sub.Drain())
	}
	for s.Requests.NumSubscriptions() > 0 || len(s.queries) > 0 {
		if ctx.Err() != nil {
			return errors.Join(append(errs, fmt.Errorf("requests were left unread: %w", context.Cause(ctx)))...)
		}
		pause(ctx, stopPoll)
	}
	return errors.Join(errs...)
}
