package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
)

// operationNames are the requests of operators that are no commands.
func operationNames() []string {
	return []string{contract.AdminScan, contract.AdminPurge, contract.AdminStatus, contract.AdminStop, contract.AdminRepair, contract.AdminDoctor}
}

// addOperations makes an endpoint for each. They have no queue group: every
// engine gets each request, since only the holder answers.
func (s *service) addOperations() error {
	if s.Operations == nil {
		return nil
	}
	var errs []error
	for _, name := range operationNames() {
		errs = append(errs, s.add("adm-"+strings.ReplaceAll(name, ".", "-"), s.Names.Admin("*", name), 3, []string{name}, s.operation(name), micro.WithEndpointQueueGroupDisabled()))
	}
	return errors.Join(errs...)
}

// operation answers a request in a goroutine of its own, of which there is a bound.
func (s *service) operation(name string) func(micro.Request, *endpointStats) {
	return func(m micro.Request, stats *endpointStats) {
		select {
		case s.Operations.tokens <- struct{}{}:
		default:
			s.fail(m.Reply(), stats, domain.Reject(domain.CodeBusy, domain.StateNone, "%d requests of operators are being answered, the most there may be; ask again a little later", maxOperations))
			return
		}
		go func() {
			defer func() { <-s.Operations.tokens }()
			err := s.Operations.answer(name, m.Subject(), m.Data(), teller{&s.answers, m.Reply()})
			switch {
			case errors.Is(err, errNotHolder):
			case err != nil:
				s.fail(m.Reply(), stats, err)
			default:
				stats.answered.Add(1)
			}
		}()
	}
}

// operates reports whether a subject is of such a request.
func (s *service) operates(rest string) bool {
	if s.Operations == nil {
		return false
	}
	_, name := cutToken(rest)
	return slices.Contains(operationNames(), name)
}

// teller sends the messages of one answer.
type teller struct {
	answers *answers
	to      string
}

func (t teller) tell(message any) {
	if t.to != "" {
		t.answers.give(t.to, message)
	}
}

// answer carries out one request. The error is the answer, but for errNotHolder.
func (o *operations) answer(name, subject string, body []byte, tell teller) error {
	_, rest := cutToken(subject)
	_, rest = cutToken(rest)
	operator, _ := cutToken(rest)
	if !domain.ValidID(operator) {
		return badToken("operator", operator)
	}
	if name == contract.AdminDoctor {
		return o.examined(tell)
	}
	term, err := o.awaitTerm()
	if err != nil {
		return err
	}
	switch name {
	case contract.AdminStatus:
		return o.status(term, tell)
	case contract.AdminStop:
		return o.stop(body, tell)
	case contract.AdminRepair:
		return o.repair(term, operator, body, tell)
	}
	var request contract.CleanupRequest
	if err := domain.DecodeStrict(body, &request); err != nil {
		return err
	}
	kind := strings.TrimPrefix(name, "cleanup.")
	return o.run(term, kind, operator, tell, func(ctx context.Context, watch cleanup.Watch) (*contract.CleanupReport, error) {
		if name == contract.AdminPurge {
			return o.purge(ctx, request, operator, watch)
		}
		return o.scan(ctx, request, operator, tell, watch)
	})
}

// examined tells how this engine is; every engine does.
func (o *operations) examined(tell teller) error {
	report, err := o.Examine(context.Background())
	if err != nil {
		return domain.Reject(domain.CodeUnavailable, domain.StateNone, "engine %s can't find out how it is: %v", o.ID, err)
	}
	tell.tell(report)
	return nil
}

// run tells of a run while it goes on, and at last its report.
func (o *operations) run(term context.Context, kind, by string, tell teller, do func(context.Context, cleanup.Watch) (*contract.CleanupReport, error)) error {
	ctx, x, err := o.begin(term, kind, by)
	if err != nil {
		return err
	}
	silence := tellProgress(x, tell)
	report, err := do(ctx, cleanup.Watch{
		Progress: x.note,
		Results:  func(some []contract.CleanupResult) { tell.tell(contract.CleanupMessage{Results: some}) },
	})
	silence()
	o.end(x) // before the answer: whoever has it may begin the next run
	if report == nil {
		return stopped(ctx, err)
	}
	if err != nil {
		o.Logger.Error("a run of an operator has a problem", "kind", kind, "operator", by, "error", err)
		report.Warning = err.Error()
	}
	tell.tell(contract.CleanupMessage{Report: report})
	return nil
}

// stopped explains a run that was ended before it had anything to report.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return domain.Reject(domain.CodeUnavailable, domain.StateNone, "it was stopped before it had found anything; nothing was changed")
	}
	return err
}

// tellProgress sends signs of life until the returned function is called.
func tellProgress(x *operation, tell teller) func() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p := x.now()
				tell.tell(contract.CleanupMessage{Progress: &p})
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// scan tells the plan in parts.
func (o *operations) scan(ctx context.Context, r contract.CleanupRequest, by string, tell teller, watch cleanup.Watch) (*contract.CleanupReport, error) {
	plan, report, err := o.Cleaner.Scan(ctx, o.withPolicy(r), by, watch)
	if plan == nil {
		return nil, err
	}
	head := *plan
	head.Items = []contract.CleanupItem{}
	tell.tell(contract.CleanupMessage{Plan: &head})
	for rest := plan.Items; len(rest) > 0; {
		n := min(len(rest), planItemsAtOnce)
		tell.tell(contract.CleanupMessage{Items: rest[:n]})
		rest = rest[n:]
	}
	return report, err
}

func (o *operations) repair(term context.Context, by string, body []byte, tell teller) error {
	var request contract.RepairRequest
	if err := domain.DecodeStrict(body, &request); err != nil {
		return err
	}
	if request.Apply {
		if err := o.Writable(); err != nil {
			return err
		}
	}
	return o.run(term, "repair", by, tell, func(ctx context.Context, watch cleanup.Watch) (*contract.CleanupReport, error) {
		return o.Cleaner.Repair(ctx, request, by, watch)
	})
}

// stop ends the run that is going on, or the one that is named.
func (o *operations) stop(body []byte, tell teller) error {
	var request contract.StopRequest
	if err := domain.DecodeStrict(body, &request); err != nil {
		return err
	}
	x := o.current()
	if x == nil {
		return domain.Reject(domain.CodeNotFound, domain.StateNone, "nothing is going on that could be stopped")
	}
	p := x.now()
	if request.Run != "" && request.Run != p.Run {
		return domain.Reject(domain.CodeNotFound, domain.StateNone, "run %.80q is not going on; %q is", request.Run, p.Run)
	}
	x.cancel()
	tell.tell(p)
	return nil
}

func (o *operations) status(ctx context.Context, tell teller) error {
	s := contract.CleanupStatus{Policy: *o.Policy, Every: domain.Duration(o.Every)}
	if x := o.current(); x != nil {
		p := x.now()
		s.Running = &p
	}
	var err [3]error
	s.Scan, err[0] = o.Audit.last(ctx, topicScan)
	s.Purge, err[1] = o.Audit.last(ctx, topicPurge)
	s.Repair, err[2] = o.Audit.last(ctx, topicRepair)
	if err := errors.Join(err[:]...); err != nil {
		return err
	}
	tell.tell(s)
	return nil
}
