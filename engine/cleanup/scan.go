package cleanup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/projections"
)

// progressEvery is how many messages or items lie between two reports of progress.
const progressEvery = 4096

// Scan looks at every session and returns what is stale and what is orphaned.
// It changes nothing. The errors are a *domain.Rejection for a request that is
// wrong, and those of the store.
func (c *Cleaner) Scan(ctx context.Context, r contract.CleanupRequest, by string, watch Watch) (*contract.CleanupPlan, *contract.CleanupReport, error) {
	t := newTally("scan", by, c.now())
	plan, err := c.plan(ctx, r, t.report.ID, watch)
	if err != nil {
		return nil, nil, err
	}
	t.found(plan)
	t.report.DryRun = true
	report := t.end(c.now())
	return plan, report, c.audit(ctx, report)
}

// plan is a scan without its report.
func (c *Cleaner) plan(ctx context.Context, r contract.CleanupRequest, run string, watch Watch) (*contract.CleanupPlan, error) {
	s, err := c.look(ctx, r, run, watch)
	if err != nil {
		return nil, err
	}
	return s.done(r.Limit), nil
}

// look is a scan whose plan is still to be made.
func (c *Cleaner) look(ctx context.Context, r contract.CleanupRequest, run string, watch Watch) (*scan, error) {
	s, err := c.newScan(r)
	if err != nil {
		return nil, err
	}
	info, err := c.cfg.Sessions.Info(ctx)
	if err != nil {
		return nil, err
	}
	s.position = c.cfg.Sessions.Position(info.Last)
	if err := c.cfg.Reach(ctx, s.position); err != nil {
		return nil, fmt.Errorf("the index and the views are not up to date: %w", err)
	}
	s.survey, err = newSurvey(ctx, c.cfg.Sessions, info.Last, func(seq uint64) {
		if seq%progressEvery == 0 {
			watch.progress(contract.CleanupProgress{Run: run, Phase: "scan", Done: seq, Total: info.Last})
		}
	})
	if err != nil {
		return nil, err
	}
	for _, look := range []func(context.Context) error{s.stale, s.ends, s.views, s.traces} {
		if err := look(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// scan is one scan.
type scan struct {
	c *Cleaner
	criteria
	position contract.Position
	survey   *survey
	items    []contract.CleanupItem
	// faulty are the views that are not as they should be.
	faulty []projections.Finding
}

func (c *Cleaner) newScan(r contract.CleanupRequest) (*scan, error) {
	policy := DefaultPolicy()
	if r.Policy != nil {
		policy = *r.Policy
	}
	if err := CheckPolicy(policy); err != nil {
		return nil, err
	}
	for _, state := range r.Filter.States {
		if err := checkState(state); err != nil {
			return nil, domain.Invalid("filter.states", "%v", err)
		}
	}
	if r.Limit < 0 {
		return nil, domain.Invalid("limit", "%d is negative; leave it out for no bound", r.Limit)
	}
	return &scan{c: c, criteria: criteria{policy: policy, filter: r.Filter, now: c.now()}}, nil
}

// stale finds the sessions whose time has come. A session whose entry is not
// that of its last commit is just being used.
func (s *scan) stale(ctx context.Context) error {
	var found []contract.CleanupItem
	err := s.c.cfg.Index.Each(func(e projections.Entry) bool {
		t := s.survey.trails[eventstore.Key{User: e.User, Session: e.ID}]
		if t == nil || t.commit != e.Seq || !s.wanted(e.User, e.ID, e.State) || !s.criteria.stale(e.State, e.UpdatedAt, e.InFlight) {
			return true
		}
		found = append(found, contract.CleanupItem{
			User: e.User, Session: e.ID, Reason: reasonOf(e.State), State: e.State, Version: e.Version, Seq: e.Seq,
			FirstSeq: t.first, LastActivity: e.UpdatedAt, Commits: t.messages, Bytes: t.bytes, Held: e.Held,
		})
		return true
	})
	if err != nil {
		return err
	}
	for _, item := range found {
		matches, err := s.matches(ctx, item)
		if err != nil {
			return err
		}
		if matches {
			s.items = append(s.items, item)
		}
	}
	return ctx.Err()
}

// matches reports whether a session has the metadata that the filter wants.
func (s *scan) matches(ctx context.Context, item contract.CleanupItem) (bool, error) {
	if len(s.filter.Metadata) == 0 {
		return true, nil
	}
	a, err := s.c.cfg.Sessions.Load(ctx, keyOf(item))
	if errors.Is(err, eventstore.ErrCorrupt) {
		return false, nil
	}
	return err == nil && hasAll(a.Session.Metadata, s.filter.Metadata), err
}

// ends finds what is wrong with the ends of histories: tombstones that are old,
// or stand behind a history; and histories without a beginning.
func (s *scan) ends(ctx context.Context) error {
	if !s.orphans() {
		return nil
	}
	for key, t := range s.survey.trails {
		if !s.named(key.User, key.Session) {
			continue
		}
		item := contract.CleanupItem{
			User: key.User, Session: key.Session, Seq: t.last, FirstSeq: t.first,
			LastActivity: t.lastTime, Commits: t.messages, Bytes: t.bytes,
		}
		switch {
		case t.gone && t.messages > 1:
			item.Reason, item.Commits, item.Bytes = contract.ReasonUnfinished, t.messages-1, t.bytes-t.lastSize
		case t.gone && s.over(t.lastTime, s.policy.Tombstones.Std()):
			item.Reason = contract.ReasonTombstone
		case !t.begins && s.over(t.lastTime, s.policy.Debris.Std()):
			item.Reason = contract.ReasonHeadless
		default:
			continue
		}
		if item.Reason == contract.ReasonHeadless {
			headless, err := s.c.headless(ctx, key)
			if err != nil {
				return err
			}
			if !headless {
				continue
			}
		}
		s.items = append(s.items, item)
	}
	return nil
}

// headless reports whether there is no session to be made of what is stored.
func (c *Cleaner) headless(ctx context.Context, key eventstore.Key) (bool, error) {
	a, err := c.current(ctx, key)
	if errors.Is(err, eventstore.ErrCorrupt) {
		return true, nil
	}
	return err == nil && a.Session.Version == 0 && a.Last > 0, err
}

// views finds views of sessions that are not there.
func (s *scan) views(ctx context.Context) error {
	if !s.orphans() {
		return nil
	}
	var err error
	s.faulty, err = s.c.cfg.Views.Compare(ctx, s.survey.heads())
	for _, f := range s.faulty {
		if f.Fault == projections.FaultDead && s.named(f.Key.User, f.Key.Session) {
			s.items = append(s.items, contract.CleanupItem{User: f.Key.User, Session: f.Key.Session, Reason: contract.ReasonDeadView})
		}
	}
	return err
}

// traces finds what else is left of sessions that are gone.
func (s *scan) traces(ctx context.Context) error {
	if !s.orphans() {
		return nil
	}
	wanted := func(key eventstore.Key) bool {
		trail := s.survey.trails[key]
		return s.named(key.User, key.Session) && (trail == nil || trail.gone)
	}
	return s.c.cfg.Traces.Find(ctx, wanted, func(t Trace) error {
		if t.Reason == contract.ReasonDeadLetter && !s.over(t.Time, s.policy.Debris.Std()) {
			return nil
		}
		why, err := s.c.ownerless(ctx, t)
		if err == nil && why != nil {
			s.items = append(s.items, contract.CleanupItem{
				User: t.Key.User, Session: t.Key.Session, Reason: t.Reason, Subject: t.Subject, Seq: t.Seq, LastActivity: t.Time,
			})
		}
		return err
	})
}

// ownerless returns the rejection that any command to the session of a trace
// gets, since the session is gone; nil if it isn't. A command that is queued, or
// was rejected, for a session that never was is nobody's orphan.
func (c *Cleaner) ownerless(ctx context.Context, t Trace) (why, err error) {
	a, err := c.current(ctx, t.Key)
	if errors.Is(err, eventstore.ErrCorrupt) {
		return nil, nil
	}
	commands := t.Reason == contract.ReasonQueued || t.Reason == contract.ReasonDeadLetter
	if err != nil || a.Session.Exists() || commands && a.Session.Gone == nil {
		return nil, err
	}
	_, why = domain.Decide(a.Session, &domain.Start{}, domain.Env{})
	return why, nil
}

// done makes the plan: orphans first, then the oldest.
func (s *scan) done(limit int) *contract.CleanupPlan {
	slices.SortFunc(s.items, func(a, b contract.CleanupItem) int {
		return cmp.Or(
			orphansFirst(a.Reason, b.Reason), a.LastActivity.Compare(b.LastActivity),
			cmp.Compare(a.User, b.User), cmp.Compare(a.Session, b.Session), cmp.Compare(a.Subject, b.Subject),
		)
	})
	plan := &contract.CleanupPlan{
		ID: newID(), Time: s.now, Position: s.position, Policy: s.policy, Filter: s.filter,
		Scanned: len(s.survey.trails), Items: s.items,
	}
	if plan.Items == nil {
		plan.Items = []contract.CleanupItem{}
	}
	if limit > 0 && len(plan.Items) > limit {
		plan.Items, plan.Truncated = plan.Items[:limit:limit], true
	}
	return plan
}

func orphansFirst(a, b contract.CleanupReason) int {
	switch {
	case a.Orphan() == b.Orphan():
		return 0
	case a.Orphan():
		return -1
	}
	return 1
}

func keyOf(item contract.CleanupItem) eventstore.Key {
	return eventstore.Key{User: item.User, Session: item.Session}
}
