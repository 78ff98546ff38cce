package eventstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// restoring is a store with a session of three commits, and an empty one.
type restoring struct {
	*testing.T
	from, to *eventstore.Memory
	source   *eventstore.Store
	target   *eventstore.Store
	key      eventstore.Key
}

func newRestoring(t *testing.T) *restoring {
	t.Helper()
	r := &restoring{T: t, from: eventstore.NewMemory(), to: eventstore.NewMemory(), key: eventstore.Key{User: "ann", Session: "s1"}}
	r.source, r.target = r.open(eventstore.Config{Driver: r.from}), r.open(eventstore.Config{Driver: r.to})
	agg, err := r.source.Load(t.Context(), r.key)
	r.must(err)
	create := &domain.Create{Definition: domain.Definition{KeepOpen: true}}
	for n, c := range []domain.Command{create, &domain.Start{}, &domain.Pause{}} {
		now := time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC)
		d, err := domain.Decide(agg.Session, c, domain.Env{Now: now, Actor: "ann", CommandID: "c", Head: agg.Hash})
		r.must(err)
		commit := &domain.Commit{
			ID: "c", Session: "s1", User: "ann", Version: agg.Session.Version + 1, Time: d.Time, Actor: "ann",
			Cause: c.Verb(), State: d.Next.State, Events: d.Events,
		}
		agg, err = r.source.Append(t.Context(), eventstore.Proposal{Base: agg, Commit: commit, Next: domain.Apply(agg.Session, commit), TraceParent: "trace"})
		r.must(err)
	}
	return r
}

func (r *restoring) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *restoring) open(cfg eventstore.Config) *eventstore.Store {
	r.Helper()
	s, err := eventstore.Open(r.Context(), cfg)
	r.must(err)
	return s
}

func (r *restoring) originals() []eventstore.Original {
	r.Helper()
	var all []eventstore.Original
	r.must(r.source.History(r.Context(), r.key, 0, func(m eventstore.Message) error {
		all = append(all, eventstore.Original{Header: m.Header, Body: m.Body})
		return nil
	}))
	return all
}

func (r *restoring) restore(commits ...eventstore.Original) (eventstore.Aggregate, error) {
	agg, err := r.target.Load(r.Context(), r.key)
	for _, o := range commits {
		if err == nil {
			agg, err = r.target.Restore(r.Context(), agg, o)
		}
	}
	return agg, err
}

func TestRestoreKeepsBytesAndMakesGuards(t *testing.T) {
	t.Parallel()
	r := newRestoring(t)
	r.to.Inject(r.key, nil, []byte("foreign"))
	agg, err := r.restore(r.originals()...)
	r.must(err)
	want, err := r.source.Load(t.Context(), r.key)
	r.must(err)
	if agg.Hash != want.Hash || agg.Seq != 4 || agg.Session.State != domain.StatePaused {
		t.Errorf("restored %+v, want %+v", agg, want)
	}
	again, err := r.target.Load(t.Context(), r.key)
	if err != nil || again.Hash != agg.Hash || again.Last != agg.Last {
		t.Errorf("loaded %+v, %v", again, err)
	}
	_, err = r.restore(r.originals()[2])
	var broken *eventstore.CommitError
	if !errors.As(err, &broken) || broken.Kind != eventstore.KindVersionGap {
		t.Errorf("the last commit a second time: %v", err)
	}
}

func TestRestoreMakesHeadersAnew(t *testing.T) {
	t.Parallel()
	r := newRestoring(t)
	o := r.originals()[0]
	o.Header = map[string]string{
		"ce-source": "elsewhere", "ce-extension": "kept", "traceparent": "trace", contract.HeaderTypes: "session.purged",
		"ce-id": "made up", "Nats-Batch-Id": "b", "Nats-Rollup": "sub", "ce-broken": "a\r\nNats-Rollup: sub", "Status": "503",
	}
	_, err := r.restore(o)
	r.must(err)
	m, err := r.to.Last(t.Context(), r.key)
	r.must(err)
	for name, want := range map[string]string{
		"ce-source": "elsewhere", "ce-extension": "kept", "traceparent": "trace", contract.HeaderTypes: "session.created",
		"ce-id": "ann.s1.1", "Nats-Batch-Id": "", "Nats-Rollup": "", "ce-broken": "", "Status": "",
	} {
		if m.Header[name] != want {
			t.Errorf("header %s is %q, want %q", name, m.Header[name], want)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	r := newRestoring(t)
	all := r.originals()
	for name, test := range map[string]struct {
		commits []eventstore.Original
		want    string
	}{
		"a gap":         {[]eventstore.Original{all[0], all[2]}, "version gap"},
		"no beginning":  {[]eventstore.Original{all[1]}, "version gap"},
		"no commit":     {[]eventstore.Original{{Body: []byte("x")}}, "bytes"},
		"another state": {[]eventstore.Original{{Body: []byte(strings.Replace(string(all[0].Body), "PENDING", "RUNNING", 1))}}, "its events make it PENDING"},
	} {
		r.to = eventstore.NewMemory()
		r.target = r.open(eventstore.Config{Driver: r.to})
		if _, err := r.restore(test.commits...); !errors.Is(err, eventstore.ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.target = r.open(eventstore.Config{Driver: eventstore.NewMemory(), MaxMessage: 300})
	if _, err := r.restore(all[0]); !errors.Is(err, eventstore.ErrTooLarge) || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("too large: %v", err)
	}
}

func TestRestoreFindsWhatWasStored(t *testing.T) {
	t.Parallel()
	r := newRestoring(t)
	all := r.originals()
	r.to.SetFaults(eventstore.Faults{AfterAppend: func(context.Context, []eventstore.Record, []uint64) error {
		return eventstore.ErrUnknownOutcome
	}})
	agg, err := r.restore(all...)
	if err != nil || agg.Seq != 3 {
		t.Errorf("lost acknowledgements: %+v, %v", agg, err)
	}
	r.to.SetFaults(eventstore.Faults{})
	stale := eventstore.Aggregate{Key: r.key, Session: domain.New("ann", "s1")}
	if _, err := r.target.Restore(t.Context(), stale, all[0]); err != nil {
		t.Errorf("a commit that is there: %v", err)
	}
	down := errors.New("down")
	r.to.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { return down }})
	if _, err := r.target.Restore(t.Context(), stale, all[0]); !errors.Is(err, down) {
		t.Errorf("a store that is down: %v", err)
	}
	r.to.SetFaults(eventstore.Faults{})
	stale.Last = 99
	if _, err := r.target.Restore(t.Context(), stale, all[0]); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("a guard that fails: %v", err)
	}
}

func TestHistoryUpToASequence(t *testing.T) {
	t.Parallel()
	r := newRestoring(t)
	count := func(upTo uint64) (n int) {
		r.must(r.source.History(t.Context(), r.key, upTo, func(eventstore.Message) error { n++; return nil }))
		return n
	}
	for upTo, want := range map[uint64]int{0: 3, 1: 1, 2: 2, 99: 3} {
		if got := count(upTo); got != want {
			t.Errorf("up to %d there are %d commits, want %d", upTo, got, want)
		}
	}
	stop := errors.New("stop")
	if err := r.source.History(t.Context(), r.key, 0, func(eventstore.Message) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the caller's error: %v", err)
	}
	none := eventstore.Key{User: "ann", Session: "none"}
	r.must(r.source.History(t.Context(), none, 0, func(eventstore.Message) error { return stop }))
	r.from.SetFaults(eventstore.Faults{BeforeRead: func(context.Context) error { return stop }})
	if err := r.source.History(t.Context(), r.key, 0, func(eventstore.Message) error { return nil }); !errors.Is(err, stop) {
		t.Errorf("a store that is down: %v", err)
	}
}
