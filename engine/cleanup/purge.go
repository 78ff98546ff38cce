package cleanup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// The bounds of a purge.
const (
	// DefaultConcurrency is how many items are worked on at once. More make
	// commands to other sessions wait longer; see docs/cleanup.md.
	DefaultConcurrency = 4
	// MaxConcurrency is the most that may be asked for.
	MaxConcurrency = 64
	// resultsAtOnce is how many results are passed on together at most.
	resultsAtOnce = 256
	// resultsEvery is how long a result waits for others.
	resultsEvery = time.Second
)

// Options say how a plan is carried out.
type Options struct {
	By     string
	DryRun bool
	// Concurrency is DefaultConcurrency if 0.
	Concurrency int
	// Archiver gets every history before it is purged; nil for none.
	Archiver Archiver
}

// Purge carries out a plan, or what a scan finds if the request has none. It
// ends early when ctx does, or when the store is out of reach; the report says
// so then, and the next run does the rest. The errors are a *domain.Rejection
// for a request that is wrong, those of the scan, and those of the audit, which
// come beside the report.
func (c *Cleaner) Purge(ctx context.Context, r contract.CleanupRequest, o Options, watch Watch) (*contract.CleanupReport, error) {
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Concurrency < 1 || o.Concurrency > MaxConcurrency {
		return nil, domain.Invalid("concurrency", "%d is outside 1 to %d", o.Concurrency, MaxConcurrency)
	}
	t := newTally("purge", o.By, c.now())
	t.report.DryRun = o.DryRun
	plan := r.Plan
	if plan == nil {
		var err error
		if plan, err = c.plan(ctx, r, t.report.ID, watch); err != nil {
			return nil, err
		}
	} else if err := c.checkPlan(plan); err != nil {
		return nil, err
	}
	t.found(plan)
	return c.carryOut(ctx, plan, o, t, watch)
}

// checkPlan refuses plans that can't be of this store.
func (c *Cleaner) checkPlan(plan *contract.CleanupPlan) error {
	here := c.cfg.Sessions.Position(0).Incarnation
	switch {
	case plan.ID == "" || len(plan.ID) > domain.MaxIDLength || !domain.ValidID(plan.ID):
		return domain.Invalid("plan.id", "%.80q is no id of a plan", plan.ID)
	case plan.Position.Incarnation != here:
		return domain.Invalid("plan.position", "the plan is of event stream %.60q, and this is %q; scan here first", plan.Position.Incarnation, here)
	case len(plan.Items) > contract.MaxPlanItems:
		return domain.Invalid("plan.items", "%d items are over the bound of %d a request; send the plan in parts", len(plan.Items), contract.MaxPlanItems)
	}
	for i, item := range plan.Items {
		if err := contract.ValidUser(item.User); err != nil || !domain.ValidID(item.Session) {
			return domain.Invalid(fmt.Sprintf("plan.items[%d]", i), "%.80q of user %.80q is no session", item.Session, item.User)
		}
	}
	return CheckPolicy(plan.Policy)
}

// run is a plan that is being carried out.
type run struct {
	c    *Cleaner
	plan *contract.CleanupPlan
	Options
	tally *tally
	watch Watch
	// id names the run, stop ends it.
	id   string
	stop context.CancelCauseFunc
}

// carryOut works on all items and reports.
func (c *Cleaner) carryOut(ctx context.Context, plan *contract.CleanupPlan, o Options, t *tally, watch Watch) (*contract.CleanupReport, error) {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{c: c, plan: plan, Options: o, tally: t, watch: watch, id: t.report.ID, stop: stop}
	results := make(chan contract.CleanupResult)
	go r.work(working, results)
	done, err := r.collect(ctx, results)
	t.report.Stopped = done < len(plan.Items)
	report := t.end(c.now())
	return report, errors.Join(err, c.audit(ctx, report))
}

// work hands the items to a bounded number of goroutines and closes results
// when the last one has ended.
func (r *run) work(ctx context.Context, results chan<- contract.CleanupResult) {
	defer close(results)
	items := make(chan contract.CleanupItem)
	var wg sync.WaitGroup
	for range min(r.Concurrency, len(r.plan.Items)) {
		wg.Go(func() {
			for item := range items {
				if ctx.Err() != nil {
					continue
				}
				result, err := r.do(ctx, item)
				if err != nil {
					r.stop(err)
				}
				if err == nil || result.Outcome != "" {
					results <- result
				}
			}
		})
	}
	for _, item := range r.plan.Items {
		select {
		case items <- item:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(items)
	wg.Wait()
}

// collect counts the results and passes them on, some at a time, until there
// are no more. It returns how many there were.
func (r *run) collect(ctx context.Context, results <-chan contract.CleanupResult) (int, error) {
	tick := time.NewTicker(resultsEvery)
	defer tick.Stop()
	var some []contract.CleanupResult
	var errs []error
	done, open := 0, true
	for open {
		var result contract.CleanupResult
		beat := false
		select {
		case result, open = <-results:
		case <-tick.C:
			beat = true
		}
		if open && !beat {
			done++
			r.tally.add(result)
			some = append(some, result)
		}
		if open && !beat && len(some) < resultsAtOnce {
			continue
		}
		if err := r.pass(ctx, some, done); err != nil && len(errs) == 0 {
			errs = append(errs, err)
		}
		some = some[:0:0]
	}
	return done, errors.Join(errs...)
}

// pass hands some results on.
func (r *run) pass(ctx context.Context, some []contract.CleanupResult, done int) error {
	err := r.c.auditResults(ctx, &r.tally.report, some)
	r.watch.results(some)
	r.watch.progress(contract.CleanupProgress{Run: r.id, Phase: r.tally.report.Kind, Done: uint64(done), Total: uint64(len(r.plan.Items))})
	return err
}
