package domain_test

import (
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

// moveTo decides a move between two stories and commits both sides.
func moveTo(t *testing.T, src, dst *story, c *domain.MoveChain) (string, error) {
	t.Helper()
	src.n++
	dst.n = src.n
	a, b := jsonOf(t, src.s), jsonOf(t, dst.s)
	out, in, err := domain.DecideMove(src.s, dst.s, c, src.env())
	if jsonOf(t, src.s) != a || jsonOf(t, dst.s) != b {
		t.Fatal("a move changed the states it was decided on")
	}
	if err != nil {
		return "", err
	}
	src.commit(c.Verb(), out)
	dst.commit(c.Verb(), in)
	return brief(out.Events) + " | " + brief(in.Events), nil
}

func other(t *testing.T, definition string) *story {
	t.Helper()
	h := &story{t: t, s: domain.New("ann", "s2"), now: epoch}
	h.do(decode(t, domain.VerbCreate, definition))
	return h
}

func TestMoveAcross(t *testing.T) {
	t.Parallel()
	src, dst := running(t, `{"chains":[{"id":"a","steps":[{"action":"work","input":{"n":1}},{"action":"work"}]},{"id":"z","steps":[{"action":"work"}]}]}`), other(t, `{"chains":[{"id":"b","steps":[{"action":"work"}]}]}`)
	src.act("claim a/1")
	src.act("ok a/1")
	src.act("skip z/1")
	dst.act("start")
	dst.now = epoch.Add(time.Hour)
	dst.act("pause")
	events, err := moveTo(t, src, dst, &domain.MoveChain{Chain: "a", To: "s2", Position: new(0)})
	if err != nil || events != "chain.moved.out a, session.completed | chain.moved.in a" {
		t.Fatalf("%s, %v", events, err)
	}
	src.wantStatus("COMPLETED z:COMPLETED(1:SKIPPED)")
	dst.wantStatus("PAUSED a:RUNNING(1:SUCCESS 2:PENDING) b:PENDING(1:PENDING)")
	wantTime(t, "the source's commit", src.s.UpdatedAt, epoch.Add(time.Hour))
	if st := dst.step("a", "1"); string(st.Input) != `{"n":1}` || st.Attempt != 1 {
		t.Fatalf("the moved step is %+v", st)
	}
}

func TestMoveCompletesThere(t *testing.T) {
	t.Parallel()
	src, dst := running(t, sideways), other(t, `{"chains":[{"id":"c","steps":[{"action":"work"}]}]}`)
	src.act("claim a/1")
	src.act("ok a/1")
	dst.act("start")
	dst.act("skip c/1")
	dst = other(t, `{"keepOpen":true}`)
	dst.act("start")
	events, err := moveTo(t, src, dst, &domain.MoveChain{Chain: "a", To: "s2"})
	if err != nil || events != "chain.moved.out a | chain.moved.in a, chain.completed a" {
		t.Fatalf("%s, %v", events, err)
	}
	back, err := moveTo(t, dst, src, &domain.MoveChain{Chain: "a", To: "s1"})
	if err != nil || back != "chain.moved.out a | chain.moved.in a, chain.completed a" {
		t.Fatalf("%s, %v", back, err)
	}
	pending := other(t, `{"chains":[{"id":"c","steps":[{"action":"work"}]}]}`)
	if _, err := moveTo(t, src, pending, &domain.MoveChain{Chain: "a", To: "s2"}); err != nil {
		t.Fatal(err)
	}
	pending.wantStatus("PENDING c:PENDING(1:PENDING) a:PENDING(1:SUCCESS)")
	pending.want(&domain.Start{}, "session.started, chain.completed a")
}

func TestMoveTakesBackoffAlong(t *testing.T) {
	t.Parallel()
	src, dst := running(t, `{"chains":[{"id":"a","steps":[{"action":"work","retry":{"maxAttempts":3,"backoff":"10s"}},{"manual":true,"timeout":"1m","waitsFor":[]}]},{"id":"z","steps":[{"action":"work"}]}]}`), other(t, oneStepNamed("b"))
	src.act("claim a/1")
	src.act("fail a/1")
	src.pass(4 * time.Second)
	src.act("pause")
	src.pass(time.Hour)
	dst.now = src.now
	dst.act("start")
	if _, err := moveTo(t, src, dst, &domain.MoveChain{Chain: "a", To: "s2"}); err != nil {
		t.Fatal(err)
	}
	wantTime(t, "the backoff", dst.step("a", "1").NotBefore, dst.now.Add(6*time.Second))
	wantTime(t, "the manual step's deadline", dst.step("a", "2").Deadline, dst.now.Add(time.Minute))
}

func oneStepNamed(chain string) string {
	return `{"chains":[{"id":"` + chain + `","steps":[{"action":"work"}]}]}`
}

func TestMoveRefusals(t *testing.T) {
	t.Parallel()
	const three = `{"onFailure":"continue","chains":[{"id":"a","steps":[{"action":"work"}]},{"id":"b","waitsFor":["a"],"steps":[{"action":"work"}]},{"id":"c","steps":[{"action":"work"}]}]}`
	tests := []struct {
		name, src, script, dst, target string
		position                       *int
		code                           domain.Code
		words                          string
	}{
		{"no such chain", sideways, "", oneStepNamed("x"), "q", nil, domain.CodeNotFound, `session "s1" has no chain "q"`},
		{"RUNNING", sideways, "start; claim a/1", oneStepNamed("x"), "a", nil, domain.CodeIllegalTransition, "steps of it are RUNNING (1); wait for them, or pause with mode interrupt"},
		{"FAILED", three, "start; claim c/1; fail c/1", oneStepNamed("x"), "c", nil, domain.CodeIllegalTransition, `step "1" is FAILED; retry or skip it first`},
		{"waits", three, "start", oneStepNamed("x"), "b", nil, domain.CodeIllegalTransition, "it waits for chain a, which would stay behind"},
		{"is waited for", three, "start", oneStepNamed("x"), "a", nil, domain.CodeIllegalTransition, `chain "b" waits for it; remove that one first`},
		{"last chain", oneStep, "start", oneStepNamed("x"), "a", nil, domain.CodeIllegalTransition, "it is the last chain of a started session; delete the session instead"},
		{"id taken", sideways, "start", oneStepNamed("a"), "a", nil, domain.CodeExists, `session "s2" has a chain "a" already`},
		{"position", sideways, "start", oneStepNamed("x"), "a", new(2), domain.CodeInvalid, "position: 2 is outside 0 to 1"},
		{"source ended", sideways, "start; cancel", oneStepNamed("x"), "a", nil, domain.CodeIllegalTransition, `cannot move a chain of session "s1": it is CANCELLED; a move to another session needs PENDING, RUNNING or PAUSED on both sides; fork it`},
		{"no target", sideways, "start", "", "a", nil, domain.CodeNotFound, `there is no session "s2"`},
		{"target gone", sideways, "start", "delete", "a", nil, domain.CodeGone, `session "s2" is gone`},
		{"target failed", sideways, "start", "failed", "a", nil, domain.CodeIllegalTransition, `session "s2": it is FAILED; a move to another session needs PENDING, RUNNING or PAUSED on both sides; retry or skip`},
		{"target full", sideways, "start", "full", "a", nil, domain.CodeInvalid, `to: session "s2" has 256 chains, the most there may be`},
		{"target has too many steps", sideways, "start", "long", "a", nil, domain.CodeInvalid, "steps: the session would have 1001 steps; the most there may be is 1000"},
		{"somebody else's", sideways, "start", "foreign", "a", nil, domain.CodeNotFound, `there is no session "s2"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			src := begin(t, test.src)
			for word := range strings.SplitSeq(test.script, "; ") {
				if word != "" {
					src.act(word)
				}
			}
			dst := target(t, test.dst)
			_, err := moveTo(t, src, dst, &domain.MoveChain{Chain: test.target, To: "s2", Position: test.position})
			wantRejection(t, err, test.code, test.words)
		})
	}
}

// target makes the session to move to: of a definition, or by a word.
func target(t *testing.T, what string) *story {
	t.Helper()
	switch what {
	case "":
		return &story{t: t, s: domain.New("ann", "s2"), now: epoch}
	case "delete":
		h := other(t, oneStep)
		h.act("delete")
		return h
	case "failed":
		h := other(t, oneStep)
		h.act("start")
		h.act("claim a/1")
		h.act("fail a/1")
		return h
	case "foreign":
		h := other(t, oneStepNamed("x"))
		h.s = domain.New("bob", "s2")
		h.commits = nil
		h.do(decode(t, domain.VerbCreate, oneStepNamed("x")))
		return h
	case "full":
		return other(t, `{"chains":[`+many(domain.MaxChains, `{"steps":[{"action":"w"}]}`)+`]}`)
	case "long":
		return other(t, `{"chains":[{"steps":[`+many(domain.MaxSteps, `{"action":"w","waitsFor":[]}`)+`]}]}`)
	}
	return other(t, what)
}

func many(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }

func TestMoveWithin(t *testing.T) {
	t.Parallel()
	h := begin(t, `{"chains":[{"id":"a","steps":[{"action":"work"}]},{"id":"b","steps":[{"action":"work"}]},{"id":"c","steps":[{"action":"work"}]}]}`)
	order := func(want string) {
		t.Helper()
		got := ""
		for _, c := range h.s.Chains {
			got += c.ID
		}
		if got != want {
			t.Fatalf("the chains are %s, want %s", got, want)
		}
	}
	h.want(&domain.MoveChain{Chain: "a", Position: new(2)}, "chain.moved a")
	order("bca")
	h.want(&domain.MoveChain{Chain: "a", Position: new(0), To: "s1"}, "chain.moved a")
	order("abc")
	h.refuse(&domain.MoveChain{Chain: "a", Position: new(0)}, domain.CodeAlready, `chain "a" is already at position 0`)
	h.refuse(&domain.MoveChain{Chain: "a", Position: new(3)}, domain.CodeInvalid, "position: 3 is outside 0 to 2")
	h.refuse(&domain.MoveChain{Chain: "a", Position: new(-1)}, domain.CodeInvalid, "position: -1 is outside 0 to 2")
	h.refuse(&domain.MoveChain{Chain: "a"}, domain.CodeInvalid, "position: where to? give a position from 0 to 2, or a session to move to")
	h.refuse(&domain.MoveChain{Chain: "a", To: "s2"}, domain.CodeInvalid, "to: a move to another session can't be part of a batch")
	h.refuse(&domain.MoveChain{Chain: "q", Position: new(0)}, domain.CodeNotFound, "no chain")
}
