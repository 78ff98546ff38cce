package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

const (
	// examineTimeout bounds the look of an engine at itself.
	examineTimeout = 10 * time.Second
	// viewsPatience is how long such a look waits for views that are on their way.
	viewsPatience = 2 * time.Second
	// holderPoll is the pause between two looks for a holder.
	holderPoll = 50 * time.Millisecond
)

// examine says what this engine knows of itself, its server and its streams. The
// error joins what could not be found out.
func (e *Engine) examine(ctx context.Context, p *parts, js jetstream.JetStream) (contract.EngineReport, error) {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	r := contract.EngineReport{Engine: e.cfg.ID, Version: Version, Holder: p.operations.awaitHolder(ctx)}
	if e.cfg.Trouble != nil {
		if err := e.cfg.Trouble(); err != nil {
			r.Trouble = err.Error()
		}
	}
	failed := errors.Join(e.examineServer(ctx, p, js, &r), e.examineEvents(ctx, js, &r), e.examineQueue(ctx, js, &r))
	p.examineLists(ctx, &r)
	p.examineCache(&r)
	p.examineActions(&r)
	now, err := p.executor.readOnly.mark.Get(ctx)
	if now.ID != "" {
		r.ReadOnly = &contract.ReadOnlyReport{By: now.By, Reason: now.Reason, Since: now.Since}
	}
	return r, errors.Join(failed, err)
}

// awaitHolder returns who holds; at a start it takes a moment until somebody does.
func (o *operations) awaitHolder(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, holderPatience)
	defer cancel()
	for ctx.Err() == nil {
		if entry, err := o.Lease.Get(ctx, leaseKey); err == nil && len(entry.Value()) > 0 {
			return string(entry.Value())
		}
		pause(ctx, holderPoll)
	}
	return ""
}

func (e *Engine) examineServer(ctx context.Context, p *parts, js jetstream.JetStream, r *contract.EngineReport) error {
	nc := p.conns.read
	rtt, err := nc.RTT()
	if err != nil {
		return err
	}
	r.Server = contract.ServerReport{
		Name: nc.ConnectedServerName(), Version: nc.ConnectedServerVersion(), Cluster: nc.ConnectedClusterName(),
		RTT: rtt, Disk: e.cfg.Disk,
	}
	info, err := js.AccountInfo(ctx)
	if err != nil {
		return err
	}
	r.JetStream = contract.JetStreamReport{
		Memory: info.Memory, Store: info.Store, Streams: info.Streams, Consumers: info.Consumers,
		MaxMemory: info.Limits.MaxMemory, MaxStore: info.Limits.MaxStore,
		MaxStreams: info.Limits.MaxStreams, MaxConsumers: info.Limits.MaxConsumers,
	}
	return nil
}

func (e *Engine) examineEvents(ctx context.Context, js jetstream.JetStream, r *contract.EngineReport) error {
	stream, err := js.Stream(ctx, e.names.EventsStream())
	if err != nil {
		return err
	}
	asked := e.cfg.Clock()
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	middle := asked.Add(e.cfg.Clock().Sub(asked) / 2)
	r.Skew = middle.Sub(info.TimeStamp)
	r.Events = contract.EventsReport{
		Stream: info.Config.Name, Memory: info.Config.Storage == jetstream.MemoryStorage, Replicas: info.Config.Replicas,
		Async: info.Config.PersistMode == jetstream.AsyncPersistMode, Messages: info.State.Msgs, Bytes: info.State.Bytes,
		LastSeq: info.State.LastSeq, Subjects: info.State.NumSubjects, Deleted: uint64(max(info.State.NumDeleted, 0)),
	}
	if info.Cluster != nil {
		r.Events.Leader = info.Cluster.Leader
		for _, replica := range info.Cluster.Replicas {
			if replica.Offline || !replica.Current {
				r.Events.Behind = append(r.Events.Behind, replica.Name)
			}
		}
	}
	return nil
}

func (p *parts) examineCache(r *contract.EngineReport) {
	st := p.store.Stats()
	r.Cache = contract.CacheReport{
		Hits: st.CacheHits, Misses: st.CacheMisses, Sessions: st.CacheSessions, Bytes: st.CacheBytes, MaxBytes: st.CacheLimit,
	}
}

func (e *Engine) examineQueue(ctx context.Context, js jetstream.JetStream, r *contract.EngineReport) error {
	var errs []error
	for name, count := range map[string]*uint64{e.names.QueueStream(): &r.Queued, e.names.DeadStream(): &r.DeadLetters} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		*count = stream.CachedInfo().State.Msgs
	}
	return errors.Join(errs...)
}

// examineLists says how far lists and views are behind the last event that the
// report has.
func (p *parts) examineLists(ctx context.Context, r *contract.EngineReport) {
	ctx, cancel := context.WithTimeout(ctx, viewsPatience)
	defer cancel()
	last := p.store.Position(r.Events.LastSeq)
	_ = p.runner.WaitFor(ctx, last) // the report says how far it came
	r.Lists = contract.ListsReport{Ready: p.index.Ready(), Sessions: p.index.Len(), Behind: behind(p.runner.Position().Seq, last.Seq)}
	if r.Holder == r.Engine {
		_ = p.views.WaitFor(ctx, last) // as above
		r.Lists.ViewsBehind = behind(p.views.Progress().Position.Seq, last.Seq)
	}
}

func behind(at, end uint64) uint64 {
	if at >= end {
		return 0
	}
	return end - at
}

// examineActions lists what workers are needed for.
func (p *parts) examineActions(r *contract.EngineReport) {
	unserved, known := p.index.Unserved()
	r.ServingKnown = known
	r.Actions = []contract.ActionReport{}
	for action, load := range p.index.Actions() {
		_, without := unserved[action]
		r.Actions = append(r.Actions, contract.ActionReport{Action: action, Ready: load.Ready, InFlight: load.InFlight, Served: known && !without})
	}
	slices.SortFunc(r.Actions, func(a, b contract.ActionReport) int {
		if a.Served != b.Served {
			if b.Served {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Ready, a.Ready), strings.Compare(a.Action, b.Action))
	})
	r.MoreActions = max(len(r.Actions)-contract.MaxActionReports, 0)
	r.Actions = r.Actions[:len(r.Actions)-r.MoreActions]
}
