package storetest

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"reprise/domain"
	"reprise/eventstore"
)

var damageCases = []testCase{
	{"damage is a typed error that stops nothing else", damageIsContained},
	{"damage is counted and reported once", damageIsCounted},
	{"a follower goes on after damage", damageIsFollowed},
	{"a broken hash chain is found where it breaks", brokenChain},
	{"a missing commit is found", versionGap},
	{"a foreign message is skipped", foreignSkipped},
	{"foreign messages between commits hide nothing", foreignBetween},
	{"a history is readable up to its damage", historyUpToDamage},
}

// damaged are bodies that are no commits, by the kind of error they give.
var damaged = []struct{ kind, body string }{
	{eventstore.KindBytes, ``},
	{eventstore.KindBytes, `null`},
	{eventstore.KindBytes, "\x00\xff\xfe"},
	{eventstore.KindBytes, `{"v":1,"commit":"c`},
	{eventstore.KindBytes, commitBody(`"surprise":1,"events":[{"type":"session.started","data":{}}]`)},
	{eventstore.KindBytes, commitBody(`"events":[]`)},
	{eventstore.KindBytes, commitBody(`"events":[{"type":"session.started","data":{"surprise":1}}]`)},
	{eventstore.KindBytes, commitBody(`"events":[{"type":"step.started","data":{"attempt":"many"}}]`)},
	{eventstore.KindBytes, commitBody(`"events":[{"type":"session.started","data":{}}]`) + "x"},
	{eventstore.KindBytes, strings.Replace(commitBody(`"events":[{"type":"session.started","data":{}}]`), `"ada"`, `"eve"`, 1)},
	{eventstore.KindEventType, commitBody(`"events":[{"type":"session.dreamt","data":{}}]`)},
	{eventstore.KindVersion, commitBody(`"events":[{"type":"session.started","v":99,"data":{}}]`)},
	{eventstore.KindVersion, `{"v":2,"shape":"of the future"}`},
}

// commitBody is the body of a commit of session s1 of ada but for its end.
func commitBody(rest string) string {
	return `{"v":1,"commit":"c9","session":"s1","user":"ada","version":2,"time":"2026-03-01T12:00:00Z",` +
		`"actor":"ada","cause":"start","state":"RUNNING","digest":"","prev":"",` + rest + `}`
}

// wantDamage fails the case unless the error says kind, session and sequence.
func (w *world) wantDamage(err error, kind string, k eventstore.Key, seq uint64) {
	w.Helper()
	w.want(err, eventstore.ErrCorrupt)
	var damaged *eventstore.CommitError
	if !errors.As(err, &damaged) {
		w.Fatalf("%v is no CommitError", err)
	}
	if damaged.Kind != kind || damaged.Key != k || damaged.Seq != seq {
		w.Fatalf("the error is %v; it should be %q at %s, sequence %d", err, kind, k, seq)
	}
	if !strings.Contains(err.Error(), k.String()) || !strings.Contains(err.Error(), strconv.FormatUint(seq, 10)) {
		w.Errorf("%q does not name session and sequence", err)
	}
}

func damageIsContained(w *world) {
	s := w.store(eventstore.Config{})
	healthy := w.history(s, key(2), 4)[3]
	last := w.history(s, key(1), 1)[0].Seq
	for _, d := range damaged {
		last = w.raw(key(1), last, d.body)
		_, err := w.cold().Load(w.ctx, key(1))
		w.want(err, eventstore.ErrCorrupt)
		m, err := w.Driver.Get(w.ctx, last)
		w.must(err)
		_, err = eventstore.Codec{}.Decode(m)
		w.wantDamage(err, d.kind, key(1), last)
	}
	got, err := w.cold().Load(w.ctx, key(2))
	w.must(err)
	w.equal("the healthy session", got, healthy)
	w.run(s, key(2), note("goes on"))
	commits, found := w.replay(s, eventstore.Filter{})
	if len(commits) != 6 || len(found) != len(damaged) {
		w.Fatalf("the replay has %d commits and %d damaged ones", len(commits), len(found))
	}
	for i, e := range found {
		if e.Kind != damaged[i].kind {
			w.Errorf("message %d is %q, not %q", i, e.Kind, damaged[i].kind)
		}
	}
}

func damageIsCounted(w *world) {
	s := w.store(eventstore.Config{CacheBytes: -1})
	last := w.history(s, key(1), 2)[1].Seq
	w.raw(key(1), last, "damage")
	w.must(w.Foreign(w.ctx, key(2), []byte("foreign")))
	for range 3 {
		w.replay(s, eventstore.Filter{})
		_, err := s.Load(w.ctx, key(1))
		w.want(err, eventstore.ErrCorrupt)
	}
	if st := s.Stats(); st.Corrupt != 1 || st.Foreign != 1 {
		w.Errorf("the counters are %+v", st)
	}
}

func damageIsFollowed(w *world) {
	s := w.store(eventstore.Config{})
	first := w.history(s, key(1), 2)
	bad := w.raw(key(1), first[1].Seq, "damage")
	w.must(w.Foreign(w.ctx, key(3), []byte("foreign")))
	last := w.history(s, key(2), 2)[1]
	var got []string
	err := s.Follow(w.ctx, 1, func(c eventstore.Committed, err error) error {
		if damaged, ok := errors.AsType[*eventstore.CommitError](err); ok {
			got = append(got, damaged.Kind)
		} else {
			got = append(got, c.Commit.ID)
		}
		if c.Seq == last.Seq {
			return errStop
		}
		return nil
	})
	w.want(err, errStop)
	w.equal("what was followed", got, []string{"c1", "c2", eventstore.KindBytes, eventstore.KindForeign, "c1", "c2"})
	if bad == 0 {
		w.Error("the damage has no sequence")
	}
}

// forge appends a commit whose version and hash link may be wrong.
func (w *world) forge(agg eventstore.Aggregate, version uint64, prev string) uint64 {
	w.Helper()
	c := &domain.Commit{
		ID: "forged", Session: agg.Key.Session, User: agg.Key.User, Version: version, Time: epoch, Actor: "eve",
		Cause: domain.VerbMetadataSet, State: agg.Session.State, Prev: prev,
		Events: []domain.Event{&domain.MetadataSet{Set: map[string]string{"a": "b"}}},
	}
	body, err := eventstore.Codec{}.Encode(c)
	w.must(err)
	return w.raw(agg.Key, agg.Last, string(body))
}

func brokenChain(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 4)
	seq := w.forge(after[3], after[3].Session.Version+1, after[2].Hash)
	_, err := w.cold().Load(w.ctx, key(1))
	w.wantDamage(err, eventstore.KindHashChain, key(1), seq)
	_, err = s.Confirm(w.ctx, after[3])
	w.wantDamage(err, eventstore.KindHashChain, key(1), seq)
	seq = w.forge(eventstore.Aggregate{Key: key(2), Session: domain.New("ada", "s2")}, 1, after[0].Hash)
	_, err = w.cold().Load(w.ctx, key(2))
	w.wantDamage(err, eventstore.KindHashChain, key(2), seq)
	err = w.cold().Commits(w.ctx, key(2), 0, func(eventstore.Committed) error { return nil })
	w.wantDamage(err, eventstore.KindHashChain, key(2), seq)
}

func versionGap(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 4)
	seq := w.forge(after[3], after[3].Session.Version+2, after[3].Hash)
	_, err := w.cold().Load(w.ctx, key(1))
	w.wantDamage(err, eventstore.KindVersionGap, key(1), seq)

	after = w.history(s, key(2), 4)
	w.must(w.Driver.Compact(w.ctx, key(2), after[2].Seq))
	_, err = w.cold().Load(w.ctx, key(2))
	w.wantDamage(err, eventstore.KindVersionGap, key(2), after[2].Seq)
	err = w.cold().Commits(w.ctx, key(2), 0, func(eventstore.Committed) error { return nil })
	w.wantDamage(err, eventstore.KindVersionGap, key(2), after[2].Seq)
}

func foreignSkipped(w *world) {
	s := w.store(eventstore.Config{})
	want := w.history(s, key(1), 3)[2]
	w.must(w.Foreign(w.ctx, key(1), []byte(`{"looks":"innocent"}`)))
	for _, reader := range []*eventstore.Store{w.cold(), w.store(eventstore.Config{})} {
		got, err := reader.Load(w.ctx, key(1))
		w.must(err)
		if got.Seq != want.Seq || got.Last <= got.Seq {
			w.Errorf("the aggregate is at %d with the last message at %d", got.Seq, got.Last)
		}
		w.equal("the session", got.Session, want.Session)
		confirmed, err := reader.Confirm(w.ctx, got)
		w.must(err)
		w.equal("the confirmed one", confirmed, got)
	}
	_, err := s.Append(w.ctx, w.propose(want, "c4", note("unaware")))
	w.want(err, eventstore.ErrConflict)
	next := w.run(s, key(1), note("aware"))[0]
	got, err := w.cold().Load(w.ctx, key(1))
	w.must(err)
	w.equal("the session", got, next)
}

func foreignBetween(w *world) {
	s := w.store(eventstore.Config{})
	var want eventstore.Aggregate
	w.must(w.Foreign(w.ctx, key(1), []byte("before the first")))
	for i := range 4 {
		commands := []domain.Command{note("a"), note(strconv.Itoa(i))}
		if i == 0 {
			commands = []domain.Command{plan(1), &domain.Start{}}
		}
		s.Forget(key(1))
		want = w.run(s, key(1), commands...)[1]
		w.must(w.Foreign(w.ctx, key(1), []byte("between")))
	}
	got, err := w.cold().Load(w.ctx, key(1))
	w.must(err)
	w.equal("the session", got.Session, want.Session)
	n := 0
	w.must(w.cold().Commits(w.ctx, key(1), 0, func(eventstore.Committed) error { n++; return nil }))
	if n != 8 {
		w.Errorf("the history has %d commits", n)
	}
}

func historyUpToDamage(w *world) {
	s := w.store(eventstore.Config{})
	agg := w.history(s, key(1), 3)[2]
	bad := w.raw(key(1), agg.Seq, "damage")
	good := strings.Replace(commitBody(`"events":[{"type":"session.started","data":{}}]`), `"version":2`, `"version":9`, 1)
	w.raw(key(1), bad, good)
	n := 0
	err := s.Commits(context.WithoutCancel(w.ctx), key(1), 0, func(eventstore.Committed) error { n++; return nil })
	w.wantDamage(err, eventstore.KindBytes, key(1), bad)
	if n != 3 {
		w.Errorf("%d commits come before the damage", n)
	}
}
