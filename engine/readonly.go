package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/domain"
)

// readOnlyRetry is the pause before an engine looks again for the read-only mark
// after a failure of the server.
const readOnlyRetry = 250 * time.Millisecond

// readOnlyGate lets commands through unless the service is read-only. It is safe
// for concurrent use; a nil one lets everything through.
type readOnlyGate struct {
	mark  *ReadOnlyMark
	id    string // of the engine
	clock func() time.Time
	log   *slog.Logger

	// running is held for reading by every command on its way, so that a change
	// takes effect when those before it are done.
	running sync.RWMutex
	now     ReadOnly
	until   time.Time // zero: without end

	// seen is the revision of the mark that is in force here.
	seen atomic.Uint64
}

// openReadOnlyGate reads the mark, so that not one command slips through at the
// start.
func openReadOnlyGate(ctx context.Context, js jetstream.JetStream, e *Engine) (*readOnlyGate, error) {
	mark, err := openReadOnlyMark(ctx, js, e.names, e.cfg.storage(), e.cfg.Replicas)
	if err != nil {
		return nil, err
	}
	g := &readOnlyGate{mark: mark, id: e.cfg.ID, clock: e.cfg.Clock, log: e.cfg.Logger}
	now, rev, err := mark.read(ctx)
	if err == nil {
		g.set(now, rev)
	}
	return g, err
}

// enter lets a command through, which has to leave then, or says why not.
func (g *readOnlyGate) enter(r Request) error {
	if g == nil {
		return nil
	}
	g.running.RLock()
	if g.now.ID == "" || r.DryRun || r.Verb == domain.VerbHeartbeat || !g.until.IsZero() && g.clock().After(g.until) {
		return nil
	}
	rejected := g.now.rejection()
	g.running.RUnlock()
	return rejected
}

func (g *readOnlyGate) leave() {
	if g != nil {
		g.running.RUnlock()
	}
}

// set takes a state over, after the commands that are on their way.
func (g *readOnlyGate) set(now ReadOnly, rev uint64) {
	g.running.Lock()
	defer g.running.Unlock()
	if now.ID != g.now.ID {
		g.log.Info("read-only", "on", now.ID != "", "by", now.By, "reason", now.Reason)
	}
	g.now, g.until = now, time.Time{}
	if now.TTL > 0 {
		g.until = g.clock().Add(now.TTL.Std())
	}
	g.seen.Store(rev)
}

// tell lets those who ask know how far this engine is, from when it returns until
// stop is called. An engine that nobody can ask must not take commands.
func (g *readOnlyGate) tell(nc *nats.Conn) (stop func(), err error) {
	sub, err := nc.Subscribe(g.mark.subject(), func(m *nats.Msg) {
		if body, err := domain.Marshal(readOnlySeen{Engine: g.id, Revision: g.seen.Load()}); err == nil {
			_ = m.Respond(body) // who asked asks again
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", g.mark.subject(), err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // the connection may be gone already
}

// run follows the mark until ctx ends.
func (g *readOnlyGate) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := g.follow(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("the read-only mark is not followed for the moment", "error", err)
		}
		pause(ctx, readOnlyRetry)
	}
}

// follow takes over what the mark becomes.
func (g *readOnlyGate) follow(ctx context.Context) error {
	watch, err := g.mark.kv.Watch(ctx, readOnlyKey)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", g.mark.kv.Bucket(), err)
	}
	defer func() { _ = watch.Stop() }() // it may have ended by itself
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, open := <-watch.Updates():
			if !open {
				return fmt.Errorf("bucket %s: the watch has ended", g.mark.kv.Bucket())
			}
			if entry == nil {
				continue // all that was there has been seen
			}
			now, err := parseReadOnly(entry)
			if err != nil {
				return err
			}
			g.set(now, entry.Revision())
		}
	}
}
