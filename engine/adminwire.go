package engine

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
)

// openOperations makes what answers operators. The other parts have to be there.
func (e *Engine) openOperations(ctx context.Context, p *parts, js jetstream.JetStream) error {
	audit, err := openAuditLog(ctx, js, e.names, e.cfg.storage(), e.cfg.Replicas)
	if err != nil {
		return err
	}
	cleaner, err := cleanup.New(cleanup.Config{
		Sessions: p.store, Index: p.index, Views: p.views, Purge: p.executor.purge, Reach: p.reach,
		Traces: cleanup.NewTraces(js, e.names), Audit: audit.keep, Clock: e.cfg.Clock, Logger: e.cfg.Logger,
	})
	if err != nil {
		return err
	}
	p.operations = newOperations(operationsConfig{
		CleanupConfig: e.cfg.Cleanup, Names: e.names, ID: e.cfg.ID, Cleaner: cleaner, Audit: audit, Lease: p.holder.kv,
		Writable: p.executor.writable, Clock: e.cfg.Clock, Logger: e.cfg.Logger,
	})
	return nil
}

// reach waits until the index and the stored views hold a position.
func (p *parts) reach(ctx context.Context, to contract.Position) error {
	if err := p.runner.WaitFor(ctx, to); err != nil {
		return err
	}
	return p.views.WaitFor(ctx, to)
}

// purge decides an order of the cleanup in the lane of its session, as any other
// command, and waits for the answer.
func (x *executor) purge(_ context.Context, o cleanup.Order) (uint64, error) {
	body, err := domain.Marshal(o.Command)
	if err != nil {
		return 0, err
	}
	r := Request{
		Key: o.Key, Verb: domain.VerbPurge, Command: o.Command, ID: o.ID, Actor: o.Actor, Expect: &o.Version,
		Digest: domain.Digest(domain.VerbPurge, body),
	}
	var reply contract.Reply
	ended := make(chan struct{})
	refused := x.lanes.submit(r.Key, func() {
		defer close(ended)
		reply, err = x.do(r)
	})
	if refused != nil {
		return 0, refused
	}
	<-ended
	return reply.Position.Seq, err
}

// writable says why nothing may be removed now; nil if it may.
func (x *executor) writable() error {
	err := x.readOnly.enter(Request{Verb: domain.VerbPurge})
	if err == nil {
		x.readOnly.leave()
	}
	return err
}
