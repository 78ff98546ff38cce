package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
)

const (
	// maxOperations is the number of operators' requests that are looked at side
	// by side; one of them may be a run.
	maxOperations = 32
	// holderPatience is how long a request waits for this engine to become the
	// holder: somebody else would be by then.
	holderPatience = leaseTTL + time.Second
	// progressEvery is the pause between two signs of life of a run.
	progressEvery = 250 * time.Millisecond
	// planItemsAtOnce is how many items of a plan one message has: below the
	// 1 MB of a message whatever their ids are.
	planItemsAtOnce = 500
)

// CleanupConfig says what the engine cleans up by itself, and what for
// operators. The zero value cleans up nothing by itself.
type CleanupConfig struct {
	// Policy holds where a request has none; cleanup.DefaultPolicy if nil.
	Policy *contract.CleanupPolicy
	// Every is the time between two purges by the holder; 0 for none.
	Every time.Duration
	// Archive is where the scheduled purges archive, a directory or
	// bucket:NAME; empty for nowhere. It is the only directory that operators may
	// name too.
	Archive string

	// open opens an archive for tests.
	open func(target string) (cleanup.Archiver, error)
}

// check fills in the defaults.
func (c *CleanupConfig) check() error {
	if c.Policy == nil {
		policy := cleanup.DefaultPolicy()
		c.Policy = &policy
	}
	if c.Every < 0 {
		return fmt.Errorf("a cleanup every %s; use a positive time, or 0 for none", c.Every)
	}
	return cleanup.CheckPolicy(*c.Policy)
}

// operationsConfig configures operations. Every field is required.
type operationsConfig struct {
	CleanupConfig
	Names   contract.Names
	ID      string // of this engine
	Cleaner *cleanup.Cleaner
	// OpenArchive opens an archive by what a request calls it.
	OpenArchive func(ctx context.Context, target string) (cleanup.Archiver, error)
	Audit       *auditLog
	// Lease says which engine is the holder, and Acquired with which revision of
	// it this one became that.
	Lease    jetstream.KeyValue
	Acquired func() uint64
	// Examine says how this engine is.
	Examine func(context.Context) (contract.EngineReport, error)
	// Writable returns why nothing may be removed now; nil if it may.
	Writable func() error
	Clock    func() time.Time
	Logger   *slog.Logger
}

// operations answer operators. Every engine gets each request, and the holder
// alone answers; so there is one run at a time. It is safe for concurrent use.
type operations struct {
	operationsConfig
	tokens chan struct{}

	mu sync.Mutex
	// term is nil while this engine is not the holder; changed is closed when that
	// changes.
	term    *term
	changed chan struct{}
	// closing is closed when the engine stops.
	closing chan struct{}
	running *operation
	runs    sync.WaitGroup
}

// term is a time in which this engine holds: until the context of the holder's
// work ends.
type term struct {
	ctx context.Context //nolint:containedctx // see above
	// lease is the revision with which it began.
	lease uint64
}

// operation is a run.
type operation struct {
	kind, by string
	cancel   context.CancelFunc

	mu       sync.Mutex
	progress contract.CleanupProgress
}

func (x *operation) note(p contract.CleanupProgress) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.progress = p
}

func (x *operation) now() contract.CleanupProgress {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.progress
}

func newOperations(cfg operationsConfig) *operations {
	return &operations{operationsConfig: cfg, tokens: make(chan struct{}, maxOperations), changed: make(chan struct{}), closing: make(chan struct{})}
}

// hold answers as the holder, and keeps to the schedule, until ctx ends. Runs
// end with it.
func (o *operations) hold(ctx context.Context) error {
	o.setTerm(&term{ctx, o.Acquired()})
	defer o.runs.Wait()
	defer o.setTerm(nil)
	if o.Every > 0 {
		return o.keepSchedule(ctx)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (o *operations) setTerm(t *term) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.term = t
	close(o.changed)
	o.changed = make(chan struct{})
}

// errNotHolder says that another engine answers.
var errNotHolder = errors.New("another engine is the holder")

// awaitTerm returns the holder's context. At a start it takes a moment until
// somebody is the holder. The error is errNotHolder if another engine is and
// gives signs of life: the lease may be that of a dead one, whose successor
// answers. It is a rejection if nobody is the holder, also where a dead one's lease
// outlives the patience, as on a slow machine: else nobody would answer.
func (o *operations) awaitTerm() (context.Context, error) {
	ctx, cancel := context.WithTimeout(context.Background(), holderPatience)
	defer cancel()
	look := time.NewTicker(leaseRenewal / 2)
	defer look.Stop()
	var other uint64 // the revision that another engine's lease had at first
	for {
		o.mu.Lock()
		term, changed := o.term, o.changed
		o.mu.Unlock()
		if term != nil && other > 0 && term.lease != other+1 {
			return nil, errNotHolder // the other one renewed its lease, or gave it back
		}
		if term != nil {
			return term.ctx, nil
		}
		switch lease := o.othersLease(ctx); {
		case other == 0:
			other = lease
		case lease > 0 && lease != other:
			return nil, errNotHolder
		}
		select {
		case <-changed:
		case <-look.C:
		case <-o.closing:
			if other > 0 {
				return nil, errNotHolder
			}
			return nil, stopping()
		case <-ctx.Done():
			return nil, domain.Reject(domain.CodeUnavailable, domain.StateNone, "no engine is the holder, which alone cleans up; ask again in a moment, and see the log if that doesn't help")
		}
	}
}

// othersLease returns the revision of the lease if another engine has it; 0 if
// none has, or if that can't be known now.
func (o *operations) othersLease(ctx context.Context) uint64 {
	entry, err := o.Lease.Get(ctx, leaseKey)
	if err != nil || string(entry.Value()) == o.ID {
		return 0
	}
	return entry.Revision()
}

// begin starts a run, of which there is one at a time. The caller ends it.
func (o *operations) begin(term context.Context, kind, by string) (context.Context, *operation, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.isClosing() || term.Err() != nil {
		return nil, nil, stopping()
	}
	if x := o.running; x != nil {
		p := x.now()
		return nil, nil, domain.Reject(domain.CodeBusy, domain.StateNone,
			"a %s by %s is going on (%s, %d of %d); ask again when it is done, or stop it with %s", x.kind, x.by, p.Phase, p.Done, p.Total, contract.AdminStop)
	}
	ctx, cancel := context.WithCancel(term)
	o.running = &operation{kind: kind, by: by, cancel: cancel, progress: contract.CleanupProgress{Phase: kind}}
	o.runs.Add(1)
	return ctx, o.running, nil
}

func stopping() error {
	return domain.Reject(domain.CodeUnavailable, domain.StateNone, "this engine is stopping; ask again in a moment")
}

func (o *operations) isClosing() bool {
	select {
	case <-o.closing:
		return true
	default:
		return false
	}
}

func (o *operations) end(x *operation) {
	x.cancel()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running = nil
	o.runs.Done()
}

// current returns the run that is going on, or nil.
func (o *operations) current() *operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.running
}

// close ends the run, starts no other, and waits for requests on their way, or
// for ctx. It may be called once.
func (o *operations) close(ctx context.Context) error {
	o.mu.Lock()
	close(o.closing)
	if o.running != nil {
		o.running.cancel()
	}
	o.mu.Unlock()
	for len(o.tokens) > 0 {
		if ctx.Err() != nil {
			return fmt.Errorf("operators were not answered: %w", context.Cause(ctx))
		}
		pause(ctx, stopPoll)
	}
	return nil
}

// keepSchedule purges again and again. The time counts from the last scheduled
// purge, also that of another engine.
func (o *operations) keepSchedule(ctx context.Context) error {
	for ctx.Err() == nil {
		pause(ctx, o.untilDue(ctx))
		if ctx.Err() != nil {
			break
		}
		if err := o.scheduled(ctx); err != nil && ctx.Err() == nil {
			o.Logger.Warn("a scheduled cleanup failed; the next one comes in its time", "error", err)
			pause(ctx, o.Every)
		}
	}
	return context.Cause(ctx)
}

// untilDue returns how long the next purge has time.
func (o *operations) untilDue(ctx context.Context) time.Duration {
	last, err := o.Audit.last(ctx, topicScheduled)
	if err != nil || last == nil {
		return o.Every
	}
	return min(max(last.Time.Add(o.Every).Sub(o.Clock()), 0), o.Every)
}

// scheduled is one purge of the schedule.
func (o *operations) scheduled(ctx context.Context) error {
	running, x, err := o.begin(ctx, "purge", scheduleActor)
	if err != nil {
		return err
	}
	defer o.end(x)
	report, err := o.purge(running, contract.CleanupRequest{Archive: o.Archive}, scheduleActor, cleanup.Watch{Progress: x.note})
	if report == nil {
		return err
	}
	o.Logger.Info("a scheduled cleanup is done", "purged", report.Purged, "failed", report.Failed, "bytes", report.Bytes)
	return errors.Join(err, o.Audit.keep(context.WithoutCancel(ctx), topicScheduled, report))
}

// scheduleActor is who purges by schedule.
const scheduleActor = "schedule"

// purge carries a request out.
func (o *operations) purge(ctx context.Context, r contract.CleanupRequest, by string, watch cleanup.Watch) (*contract.CleanupReport, error) {
	options := cleanup.Options{By: by, DryRun: r.DryRun, Concurrency: r.Concurrency}
	if !r.DryRun {
		if err := o.Writable(); err != nil {
			return nil, err
		}
		if r.Archive != "" {
			archiver, err := o.OpenArchive(ctx, r.Archive)
			if err != nil {
				return nil, err
			}
			options.Archiver = archiver
		}
	}
	return o.Cleaner.Purge(ctx, o.withPolicy(r), options, watch)
}

// withPolicy puts the engine's policy where the request has none.
func (o *operations) withPolicy(r contract.CleanupRequest) contract.CleanupRequest {
	if r.Policy == nil {
		r.Policy = o.Policy
	}
	return r
}
