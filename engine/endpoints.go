package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reprise/contract"
	"reprise/domain"
)

// strayGroup is the queue group of the subscription that overlaps the operators'
// endpoints; in the same group the server would choose one of the two.
const strayGroup = "strays"

// handler answers one message of an endpoint.
type handler func(micro.Request, *endpointStats)

// endpoint is one of the service's: it takes every subject of a kind, and counts
// by what is asked. One a kind and not one a verb, since the server and the client
// library do work for each subscription that a message matches, and since what is
// no verb has to be answered too.
type endpoint struct {
	// before is how many tokens stand before what is asked.
	before int
	asked  map[string]*endpointStats
	// other counts what there is not.
	other endpointStats
}

// endpointStats are what an endpoint adds to the statistics of micro services,
// which see no more of a command than that it was taken.
type endpointStats struct{ answered, rejected, dropped atomic.Uint64 }

// of returns the counters for a subject.
func (e *endpoint) of(subject string) *endpointStats {
	if stats, ok := e.asked[afterTokens(subject, e.before)]; ok {
		return stats
	}
	return &e.other
}

// afterTokens returns the end of a subject behind n tokens.
func afterTokens(subject string, n int) string {
	for range n {
		_, subject = cutToken(subject)
	}
	return subject
}

// subscribe makes one endpoint for each kind of subject.
func (s *service) subscribe() error {
	prefix := s.Names.Prefix()
	return errors.Join(
		s.add("commands", prefix+".cmd.>", 4, verbNames(userVerbs), s.userCommand),
		s.add("operators", prefix+".adm.*.cmd.>", 6, verbNames(operatorVerbs), s.command),
		s.add("workers", prefix+".wrk.>", 6, verbNames(workerVerbs), s.worker),
		s.add("queries", prefix+".qry.>", 3, slices.Sorted(maps.Keys(s.Queries)), s.query),
		s.addOperations(),
		s.addStray(prefix+".adm.>"),
	)
}

func verbNames(verbs map[domain.Verb]bool) []string {
	names := make([]string, 0, len(verbs))
	for verb := range verbs {
		names = append(names, string(verb))
	}
	slices.Sort(names)
	return names
}

// add makes an endpoint. Messages that are not to be looked at end here.
func (s *service) add(name, subject string, before int, asked []string, handle handler, options ...micro.EndpointOpt) error {
	e := &endpoint{before: before, asked: make(map[string]*endpointStats, len(asked))}
	for _, what := range asked {
		e.asked[what] = &endpointStats{}
	}
	s.endpoints[subject] = e
	options = append(options, micro.WithEndpointSubject(subject), micro.WithEndpointMetadata(map[string]string{"serves": strings.Join(asked, " ")}))
	err := s.micro.AddEndpoint(name, micro.HandlerFunc(func(m micro.Request) {
		stats := e.of(m.Subject())
		if s.refused(m.Subject(), m.Reply(), nats.Header(m.Headers())) {
			stats.dropped.Add(1)
			return
		}
		handle(m, stats)
	}), options...)
	if err != nil {
		return fmt.Errorf("endpoint %s on %s: %w", name, subject, err)
	}
	return nil
}

// stats adds an endpoint's own counters to those of micro: by what was asked, as
// far as anything was.
func (s *service) stats(of *micro.Endpoint) any {
	e := s.endpoints[of.Subject]
	if e == nil {
		return nil
	}
	all := map[string]map[string]uint64{}
	for what, stats := range e.asked {
		stats.into(all, what)
	}
	e.other.into(all, "other")
	return all
}

func (e *endpointStats) into(all map[string]map[string]uint64, what string) {
	answered, rejected, dropped := e.answered.Load(), e.rejected.Load(), e.dropped.Load()
	if answered+rejected+dropped > 0 {
		all[what] = map[string]uint64{"answered": answered, "rejected": rejected, "dropped": dropped}
	}
}

// worker takes a worker's command, or the question where its tasks are.
func (s *service) worker(m micro.Request, stats *endpointStats) {
	if s.Serve != nil && asksToServe(m.Subject()) {
		s.serve(m, stats)
		return
	}
	s.command(m, stats)
}

// query answers a query for the user of its subject.
func (s *service) query(m micro.Request, stats *endpointStats) {
	rest := afterTokens(m.Subject(), 2)
	token, name := cutToken(rest)
	answer := s.Queries[name]
	if answer == nil {
		s.fail(m.Reply(), stats, domain.Invalid("query", "there is no query %.80q; there are %s",
			name, strings.Join(slices.Sorted(maps.Keys(s.Queries)), ", ")))
		return
	}
	user, err := contract.ParseUserToken(token)
	if err != nil {
		s.fail(m.Reply(), stats, domain.Invalid("user", "%.160q is %v", token, err))
		return
	}
	s.aside(m, stats, func(ctx context.Context) (any, error) {
		return answer(ctx, user, m.Data(), nats.Header(m.Headers()))
	})
}

// aside answers in a goroutine of its own, of which there is a bound.
func (s *service) aside(m micro.Request, stats *endpointStats, answer func(context.Context) (any, error)) {
	select {
	case s.asides <- struct{}{}:
	default:
		s.fail(m.Reply(), stats, domain.Reject(domain.CodeBusy, domain.StateNone, "%d requests are being answered, the most there may be; ask again a little later", maxAsides))
		return
	}
	go func() {
		defer func() { <-s.asides }()
		ctx, cancel := context.WithTimeout(context.Background(), asideTimeout)
		defer cancel()
		body, err := answer(ctx)
		if err != nil {
			s.fail(m.Reply(), stats, err)
			return
		}
		stats.answered.Add(1)
		s.answers.give(m.Reply(), body)
	}()
}

// addStray answers operators' subjects that no endpoint serves. Their operations
// go to every engine and their commands to one, so one endpoint can't take both.
func (s *service) addStray(subject string) (err error) {
	if s.strays, err = s.Requests.QueueSubscribe(subject, strayGroup, s.stray); err != nil {
		return fmt.Errorf("subject %s: %w", subject, err)
	}
	return nil
}

// stray says what is wrong with what no endpoint serves. It gets a copy of
// everything else too, which it leaves alone.
func (s *service) stray(m *nats.Msg) {
	rest := afterTokens(m.Subject, 2)
	if _, what := cutToken(rest); s.operates(rest) || strings.HasPrefix(what, forCommand+".") {
		return
	}
	if s.refused(m.Subject, m.Reply, m.Header) {
		return
	}
	_, err := parseAddress(m.Subject)
	s.answers.fail(m.Reply, err, m.Header.Get(contract.HeaderCommandID))
}
