package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The lease of the holder. An engine that dies is replaced after leaseTTL at
// the latest; one that stops gives the lease back at once.
const (
	leaseTTL     = 3 * time.Second
	leaseRenewal = leaseTTL / 6
	// leaseGrace is how long a holder goes on without a renewal before it stops
	// by itself, which is before anybody else can get the lease; and how long one
	// renewal may take.
	leaseGrace = leaseTTL / 2
	// leaseSilence is how long it goes on instead while the server is connected
	// and says nothing at all. Most likely the server is busy and nobody else gets
	// an answer either; if somebody does, both act for that long, which is why all
	// that a holder writes is guarded or changes nothing the second time.
	leaseSilence = 5 * leaseTTL
	leaseKey     = "holder"
	// leaseLook is the pause between two looks for a lease that was just stored.
	leaseLook = 20 * time.Millisecond
	// maxClockSkew is how far an engine's clock may be from the server's.
	maxClockSkew = time.Second
)

// errClockSkew says that this engine's clock is too far off to be the holder.
var errClockSkew = errors.New("the clock of this engine and the server's differ too much")

// errLeaseLost is the cause with which the holder's work is cancelled.
var errLeaseLost = errors.New("another engine is the holder now, or the server can't be reached")

// errLeaseUnclear says that a replica that is behind was asked who the holder is.
var errLeaseUnclear = errors.New("it is not clear who has the lease")

// holder takes part in the election of the one engine that writes what is
// derived: views, queue results, timers.
type holder struct {
	kv jetstream.KeyValue
	// open makes or opens the bucket again: it is in memory, and gone when a
	// server without replicas has restarted.
	open func(context.Context) (jetstream.KeyValue, error)
	id   string
	// connected reports whether there is a connection to the server.
	connected func() bool
	clock     func() time.Time
	log       *slog.Logger
	// acquired is the revision with which the lease was got last.
	acquired atomic.Uint64
}

// ensureControl makes or opens the bucket in which engines agree who holds.
func ensureControl(ctx context.Context, js jetstream.JetStream, bucket string, replicas int) (jetstream.KeyValue, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucket, Description: "Reprise: which engine writes what is derived",
		TTL: leaseTTL, Storage: jetstream.MemoryStorage, Replicas: max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return kv, nil
}

// run campaigns for the lease until ctx ends. While it is held, work runs; its
// context ends when the lease is lost. run returns after work has.
func (h *holder) run(ctx context.Context, work func(context.Context) error) {
	for ctx.Err() == nil {
		if rev, ok := h.acquire(ctx); ok {
			h.hold(ctx, rev, work)
			continue
		}
		pause(ctx, leaseRenewal)
	}
}

// acquire tries once to get the lease.
func (h *holder) acquire(ctx context.Context) (uint64, bool) {
	ctx, cancel := context.WithTimeout(ctx, leaseGrace)
	defer cancel()
	rev, err := h.kv.Create(ctx, leaseKey, []byte(h.id))
	if err != nil {
		if !errors.Is(err, jetstream.ErrKeyExists) {
			h.reopen(ctx, err)
		}
		return 0, false
	}
	if err := h.checkClock(ctx, rev); err != nil {
		h.log.Error("not becoming the holder", "error", err)
		h.giveBack(ctx, rev)
		pause(ctx, leaseGrace)
		return 0, false
	}
	return rev, true
}

// reopen opens the bucket again after a failure; if that fails too, the next try
// to acquire the lease does the same.
func (h *holder) reopen(ctx context.Context, cause error) {
	h.log.Warn("can't ask for the holder's lease", "error", cause)
	if kv, err := h.open(ctx); err == nil {
		h.kv = kv
	}
}

// checkClock compares this engine's clock with the time at which the server
// stored the lease.
func (h *holder) checkClock(ctx context.Context, rev uint64) error {
	entry, err := h.kv.GetRevision(ctx, leaseKey, rev)
	for errors.Is(err, jetstream.ErrKeyNotFound) && ctx.Err() == nil { // a replica that is behind was asked
		pause(ctx, leaseLook)
		entry, err = h.kv.GetRevision(ctx, leaseKey, rev)
	}
	if err != nil {
		return err
	}
	now := h.clock()
	if skew := now.Sub(entry.Created()); skew > maxClockSkew+leaseGrace || skew < -maxClockSkew {
		return fmt.Errorf("%w: by %s", errClockSkew, skew.Round(time.Millisecond))
	}
	return nil
}

// hold runs work while the lease can be renewed.
func (h *holder) hold(ctx context.Context, rev uint64, work func(context.Context) error) {
	h.log.Info("this engine is the holder", "engine", h.id)
	h.acquired.Store(rev)
	workCtx, stop := context.WithCancelCause(ctx)
	done := make(chan struct{})
	var ended error
	go func() {
		defer close(done)
		ended = work(workCtx)
	}()
	rev, err := h.renew(workCtx, rev, done)
	stop(err)
	<-done
	if !errors.Is(err, errLeaseLost) {
		h.giveBack(ctx, rev)
	}
	if ctx.Err() == nil {
		h.log.Warn("this engine is no longer the holder", "engine", h.id, "error", errors.Join(err, ended))
		pause(ctx, leaseRenewal)
	}
}

// renew keeps the lease until ctx or work ends (nil), or the lease is lost.
func (h *holder) renew(ctx context.Context, rev uint64, done <-chan struct{}) (uint64, error) {
	last := time.Now()
	tick := time.NewTicker(leaseRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return rev, nil
		case <-done:
			return rev, nil
		case <-tick.C:
		}
		next, err := h.extend(ctx, rev)
		switch {
		case err == nil:
			rev, last = next, time.Now()
		case ctx.Err() != nil:
			return rev, nil
		case errors.Is(err, jetstream.ErrKeyExists) || time.Since(last) > h.patience(err):
			return rev, errors.Join(errLeaseLost, err)
		}
	}
}

// patience is how long the holder goes on without a renewal if this is why.
func (h *holder) patience(err error) time.Duration {
	if errors.Is(err, context.DeadlineExceeded) && h.connected() {
		return leaseSilence
	}
	return leaseGrace
}

// extend renews the lease once and returns its new revision. The error is
// jetstream.ErrKeyExists if somebody else has it, or has had it.
func (h *holder) extend(ctx context.Context, rev uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseGrace)
	defer cancel()
	next, err := h.kv.Update(ctx, leaseKey, []byte(h.id), rev)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return h.reclaim(ctx, rev, err)
	}
	return next, err
}

// reclaim returns the revision of a lease that is no longer at rev but still
// this engine's: a renewal was stored and its answer lost, or the lease expired
// while the server said nothing and nobody has taken it since. Everything that
// is done to the lease counts its revision up by one, so a gap tells of others.
func (h *holder) reclaim(ctx context.Context, rev uint64, refused error) (uint64, error) {
	entry, err := h.kv.Get(ctx, leaseKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		next, err := h.kv.Create(ctx, leaseKey, []byte(h.id))
		if err == nil && next != rev+1 {
			h.giveBack(ctx, next)
			return rev, refused
		}
		return next, err
	case err != nil:
		return rev, err
	case string(entry.Value()) != h.id:
		return rev, refused
	case entry.Revision() <= rev:
		return rev, errLeaseUnclear
	}
	return entry.Revision(), nil
}

// giveBack lets the next engine take over at once, also after ctx has ended.
func (h *holder) giveBack(ctx context.Context, rev uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseRenewal)
	defer cancel()
	if err := h.kv.Delete(ctx, leaseKey, jetstream.LastRevision(rev)); err != nil {
		h.log.Debug("the holder's lease was not given back; it expires by itself", "error", err)
	}
}

// pause waits for a time or for ctx to end.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
