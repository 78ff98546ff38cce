package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/archive"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
	"reprise/eventstore"
	"reprise/projections"
)

// openOperations makes what answers operators. The other parts have to be there.
func (e *Engine) openOperations(ctx context.Context, p *parts, js jetstream.JetStream) error {
	audit, err := openAuditLog(ctx, js, e.names, e.cfg.storage(), e.cfg.Replicas)
	if err != nil {
		return err
	}
	letters := graveyard{js, e.names, p.queue.Streams}
	cleaner, err := cleanup.New(cleanup.Config{
		Sessions: p.store, Index: p.index, Views: derived{p.views, p.blocks}, Purge: p.executor.purge, Reach: p.reach,
		Traces: cleanup.NewTraces(js, e.names, letters.buryQueued), Audit: audit.keep, Clock: e.cfg.Clock, Logger: e.cfg.Logger,
	})
	if err != nil {
		return err
	}
	p.executor.commander.horizon = e.cfg.Cleanup.Policy.Tombstones.Std()
	p.operations = newOperations(operationsConfig{
		CleanupConfig: e.cfg.Cleanup, Names: e.names, ID: e.cfg.ID, Cleaner: cleaner, Audit: audit,
		Lease: p.holder.kv, Acquired: p.holder.acquired.Load,
		OpenArchive: func(ctx context.Context, target string) (cleanup.Archiver, error) {
			if only := bucketArchive + e.names.ArchiveBucket(); e.cfg.Accounts != nil && strings.HasPrefix(target, bucketArchive) && target != only {
				return nil, domain.Invalid("archive", "with authentication on engines may use no object store but %s", only)
			}
			return e.cfg.Cleanup.openArchive(ctx, p.store, js, target)
		},
		Examine:  func(ctx context.Context) (contract.EngineReport, error) { return e.examine(ctx, p, js) },
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
	refused := x.lanes.submit(engineSender, r.Key, func() { //nolint:contextcheck // commands have a deadline of their own
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

// bucketArchive begins the name of an archive that is an object store.
const bucketArchive = "bucket:"

// openArchive opens an object store, or the one directory of the configuration:
// operators are not to write wherever this process may.
func (c *CleanupConfig) openArchive(ctx context.Context, store *eventstore.Store, js jetstream.JetStream, target string) (cleanup.Archiver, error) {
	if c.open != nil {
		return c.open(target)
	}
	if name, ok := strings.CutPrefix(target, bucketArchive); ok {
		bucket, err := js.ObjectStore(ctx, name)
		if err != nil {
			return nil, domain.Invalid("archive", "object store %.80q can't be opened: %v; it has to be there", name, err)
		}
		return keeper{archive.NewObjectStore(store, bucket, name)}, nil
	}
	if c.Archive == "" {
		return nil, domain.Invalid("archive", "this engine has no directory for archives; name an object store as %sNAME, or start the engine with one", bucketArchive)
	}
	if target != c.Archive {
		return nil, domain.Invalid("archive", "this engine archives into %q alone, or into an object store, %sNAME", c.Archive, bucketArchive)
	}
	dir, err := archive.NewDir(store, target)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	return keeper{dir}, nil
}

// keeper is an archive of sessions as they are.
type keeper struct{ archive.Archiver }

// Archive keeps the history up to the state that was judged.
func (k keeper) Archive(ctx context.Context, key eventstore.Key, upTo eventstore.Aggregate) (string, error) {
	return k.Archiver.Archive(ctx, key, upTo.Seq)
}

// derived are the views and the history blocks, which are rebuilt together.
type derived struct {
	*projections.Views

	blocks *projections.Blocks
}

// Rebuild writes the views anew and removes the blocks, which are made again
// where they are missed.
func (d derived) Rebuild(ctx context.Context) error {
	if err := d.Views.Rebuild(ctx); err != nil {
		return err
	}
	return d.blocks.Rebuild(ctx)
}
