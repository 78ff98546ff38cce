package storetest

import (
	"fmt"

	"reprise/domain"
	"reprise/eventstore"
)

var historyCases = []testCase{
	{"a history comes oldest first, with hashes that link", historyInOrder},
	{"a history begins at the commit that holds a version", historyFrom},
	{"an error of the callback ends a history", historyStops},
	{"a session can be seen as it was", sessionAt},
	{"a remembered command is found", findsCommand},
	{"large payloads are found in their commits", hydrates},
	{"payloads that a state carries are given as they are", payloads},
	{"payloads that a fork or a move carries are found", carriedPayloads},
}

func historyInOrder(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 9)
	var n int
	var before eventstore.Committed
	w.must(s.Commits(w.ctx, key(1), 0, func(c eventstore.Committed) error {
		if c.Seq != after[n].Seq || c.Hash != after[n].Hash || c.Commit.LastVersion() != after[n].Session.Version || c.Prev != before.Seq {
			w.Errorf("commit %d is %+v", n, c)
		}
		if c.Commit.Prev != before.Hash {
			w.Errorf("commit %d names %q as the one before", n, c.Commit.Prev)
		}
		before = c
		n++
		return nil
	}))
	if n != 9 {
		w.Errorf("the history has %d commits", n)
	}
	w.must(s.Commits(w.ctx, key(2), 0, func(eventstore.Committed) error {
		w.Error("a session that was never created has a history")
		return nil
	}))
}

func historyFrom(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 9)
	for i, agg := range after {
		var ids []string
		w.must(s.Commits(w.ctx, key(1), agg.Session.Version, func(c eventstore.Committed) error {
			ids = append(ids, c.Commit.ID)
			return nil
		}))
		if len(ids) != 9-i || ids[0] != fmt.Sprint("c", i+1) {
			w.Errorf("from version %d the history is %q", agg.Session.Version, ids)
		}
	}
}

func historyStops(w *world) {
	s := w.store(eventstore.Config{})
	w.history(s, key(1), 4)
	n := 0
	err := s.Commits(w.ctx, key(1), 0, func(eventstore.Committed) error { n++; return errStop })
	if err != errStop || n != 1 { //nolint:errorlint // it must be returned as it is
		w.Errorf("the history returned %v after %d commits", err, n)
	}
}

func sessionAt(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 6)
	for i, want := range after {
		for _, cut := range []eventstore.Cut{{Version: want.Session.Version}, {Seq: want.Seq}, {Time: want.Session.UpdatedAt}} {
			got, err := s.At(w.ctx, key(1), cut)
			w.must(err)
			w.equal(fmt.Sprintf("the session after commit %d, cut at %+v", i, cut), got, forgetful(want))
		}
	}
	for _, cut := range []eventstore.Cut{{Seq: after[0].Seq - 1}, {Time: epoch.Add(-1)}} {
		got, err := s.At(w.ctx, key(1), cut)
		w.must(err)
		if got.Seq != 0 || got.Session.Exists() {
			w.Errorf("before the first commit the session is %+v", got)
		}
	}
	got, err := s.At(w.ctx, key(1), eventstore.Cut{Version: 1e6})
	w.must(err)
	w.equal("the session at a version to come", got, forgetful(after[5]))
}

// forgetful is an aggregate as At returns it: without the command ids that it
// remembers.
func forgetful(agg eventstore.Aggregate) eventstore.Aggregate {
	s := *agg.Session
	s.Recent = nil
	agg.Session = &s
	return agg
}

func findsCommand(w *world) {
	s := w.store(eventstore.Config{})
	after := w.history(s, key(1), 8)
	for i, agg := range after {
		id := fmt.Sprint("c", i+1)
		c, ok, err := s.FindCommand(w.ctx, after[7], id)
		w.must(err)
		if !ok || c.Commit.ID != id || c.Seq != agg.Seq || c.Hash != agg.Hash {
			w.Errorf("command %s is %v %+v", id, ok, c)
		}
	}
	_, ok, err := s.FindCommand(w.ctx, after[7], "c9")
	w.must(err)
	if ok {
		w.Error("a command that never was is found")
	}
}

// failing is a session with large payloads of every kind.
func (w *world) failing(s *eventstore.Store, k eventstore.Key) eventstore.Aggregate {
	w.Helper()
	create := &domain.Create{Definition: domain.Definition{KeepOpen: true, OnFailure: domain.FailContinue, Chains: []domain.ChainDef{
		{ID: "a", Steps: []domain.StepDef{{ID: "in", Manual: true, Input: big(9000)}, {ID: "out", Manual: true}, {ID: "bad", Manual: true, Input: []byte(`1`)}}},
	}}}
	stack := string(big(8000))
	no := false
	after := w.run(s, k,
		create, &domain.Start{},
		&domain.AddChain{ChainDef: domain.ChainDef{ID: "b", Open: true, Steps: []domain.StepDef{{ID: "added", Manual: true, Input: big(7000)}}}},
		&domain.AddStep{Chain: "b", Step: domain.StepDef{ID: "later", Manual: true, Input: big(6500)}},
		&domain.SucceedManual{Chain: "a", Step: "in", Output: big(6000)},
		&domain.SkipStep{Chain: "a", Step: "out", Output: big(5000)},
		&domain.FailManual{Chain: "a", Step: "bad", Error: domain.ReportError{Message: "no", Stack: stack, Retryable: &no}},
		note("x"),
	)
	return after[len(after)-1]
}

func hydrates(w *world) {
	s := w.store(eventstore.Config{})
	agg := w.failing(s, key(1))
	full, err := s.Hydrate(w.ctx, agg)
	w.must(err)
	for _, c := range []struct {
		chain, step   string
		input, output int
	}{{"a", "in", 9000, 6000}, {"a", "out", 0, 5000}, {"b", "added", 7000, 0}, {"b", "later", 6500, 0}} {
		st := full.Step(c.chain, c.step)
		w.equal("the input of "+c.step, string(st.Input), bigOr(c.input))
		w.equal("the output of "+c.step, string(st.Output), bigOr(c.output))
		if st.InputRef != nil || st.OutputRef != nil {
			w.Errorf("step %s still refers to payloads", c.step)
		}
	}
	if f := full.Step("a", "bad").Error; f.Stack != string(big(8000)) || f.StackRef != nil {
		w.Errorf("the stack has %d bytes", len(f.Stack))
	}
	if agg.Session.Step("a", "in").Input != nil {
		w.Error("the aggregate itself was changed")
	}
	small := w.history(s, key(2), 3)[2]
	got, err := s.Hydrate(w.ctx, small)
	w.must(err)
	if got != small.Session {
		w.Error("a session without references was copied")
	}
}

func bigOr(n int) string {
	if n == 0 {
		return ""
	}
	return string(big(n))
}

func payloads(w *world) {
	s := w.store(eventstore.Config{})
	agg := w.failing(s, key(1))
	for _, c := range []struct {
		chain, step string
		kind        eventstore.PayloadKind
		want        string
	}{
		{"a", "in", eventstore.PayloadInput, bigOr(9000)},
		{"a", "in", eventstore.PayloadOutput, bigOr(6000)},
		{"a", "in", eventstore.PayloadStack, ""},
		{"a", "out", eventstore.PayloadInput, ""},
		{"a", "bad", eventstore.PayloadInput, "1"},
		{"a", "bad", eventstore.PayloadStack, text(w.T, bigOr(8000))},
	} {
		got, err := s.Payload(w.ctx, agg, c.chain, c.step, c.kind)
		w.must(err)
		w.equal(fmt.Sprint("the ", c.kind, " of ", c.step), string(got), c.want)
	}
	_, err := s.Payload(w.ctx, agg, "a", "nowhere", eventstore.PayloadInput)
	w.want(err, eventstore.ErrNotFound)
	if _, err := s.Payload(w.ctx, agg, "a", "in", "soul"); err == nil {
		w.Error("an unknown kind of payload is accepted")
	}
}

func carriedPayloads(w *world) {
	s := w.store(eventstore.Config{})
	source := w.failing(s, key(1))
	full, err := s.Hydrate(w.ctx, source)
	w.must(err)
	forked := w.run(s, key(2), &domain.Fork{ID: "s2", Source: full})[0]
	got, err := s.Hydrate(w.ctx, forked)
	w.must(err)
	w.equal("the forked input", string(got.Step("a", "in").Input), bigOr(9000))
	w.equal("the forked output", string(got.Step("a", "in").Output), bigOr(6000))

	empty := &domain.Create{Definition: domain.Definition{KeepOpen: true}}
	from, to := w.runAll(s, source.Key), w.run(s, key(3), empty)[0]
	hydrated := from
	hydrated.Session = full
	env := domain.Env{Now: epoch.Add(1e12), Actor: "ada", CommandID: "m1"}
	out, in, err := domain.DecideMove(full, to.Session, &domain.MoveChain{Chain: "b", To: "s3"}, env)
	w.must(err)
	_, moved, err := s.AppendPair(w.ctx, propose(from, env, domain.VerbChainMove, out), propose(to, env, domain.VerbChainMove, in))
	w.must(err)
	got, err = s.Hydrate(w.ctx, moved)
	w.must(err)
	w.equal("the moved input", string(got.Step("b", "added").Input), bigOr(7000))
}

// runAll returns the newest aggregate.
func (w *world) runAll(s *eventstore.Store, k eventstore.Key) eventstore.Aggregate {
	w.Helper()
	agg, err := s.Load(w.ctx, k)
	w.must(err)
	return agg
}
