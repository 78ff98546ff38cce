package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"reprise/domain"
	"reprise/eventstore"
)

var s1 = eventstore.Key{User: "ada", Session: "s1"}

func TestEveryAppendIsGuarded(t *testing.T) {
	ctx := t.Context()
	driver := eventstore.NewMemory()
	var guards []uint64
	driver.SetFaults(eventstore.Faults{BeforeAppend: func(_ context.Context, records []eventstore.Record) error {
		for _, r := range records {
			seq, ok := r.Guard.Seq()
			if !ok {
				t.Errorf("%s is appended without a guard", r.Key)
			}
			guards = append(guards, seq)
		}
		return nil
	}})
	s := open(t, eventstore.Config{Driver: driver})
	grow(t, s, s1, 3)
	if want := []uint64{0, 1, 2}; len(guards) != 3 || guards[0] != want[0] || guards[1] != want[1] || guards[2] != want[2] {
		t.Errorf("the guards are %v", guards)
	}
	if _, err := driver.Append(ctx, []eventstore.Record{{Key: s1}}); !errors.Is(err, eventstore.ErrUnguarded) {
		t.Errorf("the driver takes an append without a guard: %v", err)
	}
	if seq, ok := eventstore.ExpectNew().Seq(); !ok || seq != 0 {
		t.Error("ExpectNew expects something")
	}
}

// TestUnknownOutcome walks through what may have become of an append whose
// answer never came.
func TestUnknownOutcome(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults func(m *eventstore.Memory) eventstore.Faults
		want   error
		stored bool
	}{
		{"it was stored", func(*eventstore.Memory) eventstore.Faults {
			return eventstore.Faults{AfterAppend: func(context.Context, []eventstore.Record, []uint64) error { return eventstore.ErrUnknownOutcome }}
		}, nil, true},
		{"it was not stored, or not yet", func(*eventstore.Memory) eventstore.Faults {
			return eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { return eventstore.ErrUnknownOutcome }}
		}, eventstore.ErrUnknownOutcome, false},
		{"somebody else was first, so it never will be", func(m *eventstore.Memory) eventstore.Faults {
			return eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
				m.Inject(s1, nil, []byte("first"))
				return eventstore.ErrUnknownOutcome
			}}
		}, eventstore.ErrConflict, false},
		{"the store can't be asked", func(*eventstore.Memory) eventstore.Faults {
			return eventstore.Faults{
				AfterAppend: func(context.Context, []eventstore.Record, []uint64) error { return eventstore.ErrUnknownOutcome },
				BeforeRead:  func(context.Context) error { return eventstore.ErrUnavailable },
			}
		}, eventstore.ErrUnknownOutcome, true},
		{"the store refuses", func(*eventstore.Memory) eventstore.Faults {
			return eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error { return eventstore.ErrUnavailable }}
		}, eventstore.ErrUnavailable, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			driver := eventstore.NewMemory()
			s := open(t, eventstore.Config{Driver: driver})
			before := grow(t, s, s1, 2)
			driver.SetFaults(c.faults(driver))
			p := propose(t, before, "c", &domain.SetMetadata{Set: map[string]string{"a": "b"}})
			after, err := s.Append(t.Context(), p)
			driver.SetFaults(eventstore.Faults{})
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("the error is %v", err)
			}
			got, err := s.Load(t.Context(), s1)
			if err != nil {
				t.Fatal(err)
			}
			if stored := got.Session.Version == p.Next.Version; stored != c.stored {
				t.Errorf("stored: %v", stored)
			}
			if c.want == nil && after.Seq != got.Seq {
				t.Errorf("the answer says %d, the store %d", after.Seq, got.Seq)
			}
		})
	}
}

// TestReadBackIsBounded looks for a commit under more others than are looked at.
func TestReadBackIsBounded(t *testing.T) {
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	first := grow(t, s, s1, 1)
	p := propose(t, first, "c", &domain.SetMetadata{Set: map[string]string{"a": "b"}})
	if _, err := s.Append(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	agg, err := s.Load(t.Context(), s1)
	if err != nil {
		t.Fatal(err)
	}
	for range 70 {
		if agg, err = s.Append(t.Context(), propose(t, agg, "n", &domain.SetMetadata{Set: map[string]string{"n": agg.Hash}})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), p); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("the error is %v", err)
	}
}

func TestAppendRefusesMistakes(t *testing.T) {
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	base := grow(t, s, s1, 2)
	good := propose(t, base, "c", &domain.SetMetadata{Set: map[string]string{"a": "b"}})
	for name, spoil := range map[string]func(*eventstore.Proposal){
		"no commit":       func(p *eventstore.Proposal) { p.Commit = nil },
		"no base":         func(p *eventstore.Proposal) { p.Base.Session = nil },
		"no state":        func(p *eventstore.Proposal) { p.Next = nil },
		"another session": func(p *eventstore.Proposal) { p.Base.Key.Session = "s2" },
		"another user":    func(p *eventstore.Proposal) { p.Base.Key.User = "eve" },
		"no events":       func(p *eventstore.Proposal) { p.Commit.Events = nil },
		"another version": func(p *eventstore.Proposal) { p.Commit.Version++ },
		"an older state":  func(p *eventstore.Proposal) { p.Next = base.Session },
		"no JSON": func(p *eventstore.Proposal) {
			p.Commit.Events = []domain.Event{&domain.StepSucceeded{Output: []byte(`{`)}}
		},
	} {
		p := good
		commit := *good.Commit
		p.Commit = &commit
		spoil(&p)
		if _, err := s.Append(t.Context(), p); err == nil {
			t.Errorf("a proposal with %s is accepted", name)
		}
	}
	if info, _ := driver.Info(t.Context()); info.Last != 2 {
		t.Errorf("the store is at %d", info.Last)
	}
	if good.Commit.Prev != "" {
		t.Error("the proposal was changed")
	}
}

func TestTraceParentIsPassedOnlyIfSafe(t *testing.T) {
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	agg := grow(t, s, s1, 1)
	for text, want := range map[string]string{
		"00-abc-def-01": "00-abc-def-01", "": "", "a\r\nInjected: yes": "", strings.Repeat("x", 200): "",
	} {
		p := propose(t, agg, "c", &domain.SetMetadata{Set: map[string]string{"a": agg.Hash}})
		p.TraceParent = text
		next, err := s.Append(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		m, err := driver.Get(t.Context(), next.Seq)
		if err != nil || m.Header["traceparent"] != want {
			t.Errorf("%q is passed as %q (%v)", text, m.Header["traceparent"], err)
		}
		agg = next
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, cfg := range []eventstore.Config{
		{},
		{Driver: eventstore.NewMemory(), Source: "a b"},
		{Driver: eventstore.NewMemory(), MaxMessage: -1},
		{Driver: unreachable{}},
	} {
		if _, err := eventstore.Open(t.Context(), cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// unreachable is a driver that can't be asked.
type unreachable struct{ eventstore.Driver }

func (unreachable) Info(context.Context) (eventstore.Info, error) {
	return eventstore.Info{}, eventstore.ErrUnavailable
}

// TestReadErrorsPass asks everything of a store whose reads fail.
func TestReadErrorsPass(t *testing.T) {
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver, CacheBytes: -1})
	agg := grow(t, s, s1, 3)
	dead := grow(t, s, eventstore.Key{User: "ada", Session: "s2"}, 1)
	large := *agg.Session
	large.Chains = []*domain.Chain{{ID: "a", Steps: []*domain.Step{{ID: "1", OutputRef: &domain.Ref{Version: 1}}}}}
	refers := agg
	refers.Session = &large
	reads := map[string]func(ctx context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx, s1); return err },
		"Confirm": func(ctx context.Context) error { _, err := s.Confirm(ctx, dead); return err },
		"Commits": func(ctx context.Context) error {
			return s.Commits(ctx, s1, 0, func(eventstore.Committed) error { return nil })
		},
		"At":          func(ctx context.Context) error { _, err := s.At(ctx, s1, eventstore.Cut{Version: 1}); return err },
		"FindCommand": func(ctx context.Context) error { _, _, err := s.FindCommand(ctx, agg, "c1"); return err },
		"Hydrate":     func(ctx context.Context) error { _, err := s.Hydrate(ctx, refers); return err },
		"Payload": func(ctx context.Context) error {
			_, err := s.Payload(ctx, refers, "a", "1", eventstore.PayloadOutput)
			return err
		},
		"Scan": func(ctx context.Context) error {
			return s.Scan(ctx, eventstore.Filter{}, func(eventstore.Committed, error) error { return nil })
		},
	}
	for name, read := range reads {
		for after := range 3 {
			n := 0
			driver.SetFaults(eventstore.Faults{BeforeRead: func(context.Context) error {
				if n++; n > after {
					return eventstore.ErrUnavailable
				}
				return nil
			}})
			err := read(t.Context())
			if after == 0 && !errors.Is(err, eventstore.ErrUnavailable) || err != nil && !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrCorrupt) {
				t.Errorf("%s after %d reads: %v", name, after, err)
			}
		}
	}
	driver.SetFaults(eventstore.Faults{})
	if _, err := s.Hydrate(t.Context(), refers); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("a reference to nothing gives %v", err)
	}
}

func TestScanNeedsBodies(t *testing.T) {
	s := open(t, eventstore.Config{Driver: eventstore.NewMemory()})
	err := s.Scan(t.Context(), eventstore.Filter{HeadersOnly: true}, func(eventstore.Committed, error) error { return nil })
	if !errors.Is(err, eventstore.ErrHeadersOnly) {
		t.Errorf("the error is %v", err)
	}
}

func TestDamageIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	driver.Inject(s1, nil, []byte("foreign"))
	for range 2 {
		if err := s.Scan(t.Context(), eventstore.Filter{}, func(eventstore.Committed, error) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "ada.s1") {
		t.Errorf("the log is %s", log.String())
	}
}

func TestPositionNamesTheIncarnation(t *testing.T) {
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	info, err := s.Info(t.Context())
	if err != nil || info.Incarnation == "" || s.Position(7).Incarnation != info.Incarnation || s.Position(7).Seq != 7 {
		t.Errorf("position %v of %+v (%v)", s.Position(7), info, err)
	}
	if s.Features() != (eventstore.Features{}) {
		t.Errorf("memory declares %+v", s.Features())
	}
}
