package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"reprise/domain"
)

// A situation is a session with a chain "c" whose step "x" the commands of the
// walk are about, and a chain "z" that keeps the session from ending. It is
// built by commands alone.
type situation struct {
	name  string
	build func(h *story)
}

const (
	walkPlan = `{"timeout":"1h",%s"chains":[{"id":"c"%s,"steps":[{"id":"x",%s,"timeout":"1m","waitsFor":[]}]},{"id":"z","steps":[{"action":"work"}]}]}`
	byWorker = `"action":"work"`
	byPerson = `"manual":true`
)

// plan is a definition: options are "open", "manual", "continue" and "keepOpen".
func plan(options ...string) string {
	settings, open, kind := "", "", byWorker
	for _, option := range options {
		switch option {
		case "open":
			open = `,"open":true`
		case "manual":
			kind = byPerson
		case "continue":
			settings += `"onFailure":"continue",`
		case "keepOpen":
			settings += `"keepOpen":true,`
		}
	}
	return fmt.Sprintf(walkPlan, settings, open, kind)
}

// The ways on from a fresh session; each is one command of the story.
var moves = map[string]func(h *story){
	"start":    func(h *story) { h.do(&domain.Start{}) },
	"pause":    func(h *story) { h.do(&domain.Pause{}) },
	"cancel":   func(h *story) { h.do(&domain.Cancel{}) },
	"hold":     func(h *story) { h.do(&domain.PutHold{Reason: "audit"}) },
	"delete":   func(h *story) { h.do(&domain.Delete{}) },
	"purge":    func(h *story) { h.do(&domain.Purge{Policy: "old"}) },
	"claim":    func(h *story) { h.claim("c", "x") },
	"succeed":  func(h *story) { h.succeed("c", "x") },
	"fail":     func(h *story) { h.fail("c", "x") },
	"late":     func(h *story) { h.pass(time.Minute); h.do(&domain.TimeoutStep{Chain: "c", Step: "x", Attempt: 1}) },
	"release":  func(h *story) { h.do(&domain.Release{Chain: "c", Step: "x", Attempt: 1, Worker: "w1", Action: "work"}) },
	"skip":     func(h *story) { h.do(&domain.SkipStep{Chain: "c", Step: "x"}) },
	"retry":    func(h *story) { h.do(&domain.RetryStep{Chain: "c", Step: "x"}) },
	"overtime": func(h *story) { h.pass(time.Hour); h.do(&domain.TimeoutSession{}) },
	"skip-z":   func(h *story) { h.do(&domain.SkipStep{Chain: "z", Step: "1"}) },
	"claim-z":  func(h *story) { h.claim("z", "1") },
	"fail-z":   func(h *story) { h.fail("z", "1") },
	"done-x":   func(h *story) { h.do(&domain.SucceedManual{Chain: "c", Step: "x"}) },
	"fail-x": func(h *story) {
		h.do(&domain.FailManual{Chain: "c", Step: "x", Error: domain.ReportError{Message: "no"}})
	},
}

// situations lists every state of session, chain and step that commands reach.
func situations() []situation {
	list := []situation{{"does not exist", func(*story) {}}}
	add := func(options, path string) {
		list = append(list, situation{strings.TrimSpace(options + ": " + path), func(h *story) {
			h.do(decode(h.t, domain.VerbCreate, plan(strings.Fields(options)...)))
			for move := range strings.FieldsSeq(path) {
				moves[move](h)
			}
		}})
	}
	for path := range strings.SplitSeq(walkPaths, "\n") {
		options, path, ok := strings.Cut(path, ":")
		if ok {
			add(strings.TrimSpace(options), strings.TrimSpace(path))
		}
	}
	return list
}

// walkPaths are options and commands, a situation a line.
const walkPaths = `
         : 
         : skip
         : skip skip-z
         : start
         : start claim
         : start claim release
         : start claim succeed
         : start skip
         : start pause
         : start claim pause
         : start claim pause release
         : start claim pause succeed
         : start claim pause fail
         : start claim pause late
         : start pause skip
         : start claim fail
         : start claim late
         : start claim claim-z fail
         : start claim fail retry
         : start claim claim-z fail-z
         : start claim claim-z fail-z succeed
         : start claim-z fail-z
         : start claim-z fail-z skip
         : start overtime
         : start claim overtime
         : start claim succeed skip-z
         : start skip skip-z
         : start cancel
         : start skip-z
         : start claim skip-z
         : start claim pause skip-z
         : start claim pause succeed skip-z
         : start claim cancel
         : start claim succeed cancel
         : start skip cancel
         : start claim pause fail cancel
         : delete
         : start pause delete
         : start cancel purge
continue : start
continue : start claim
continue : start claim skip-z
continue : start claim fail
continue : start claim late
continue : start claim pause fail
continue : start claim fail cancel
continue : start claim fail claim-z
continue : start claim fail skip-z
open     : 
open     : start
open     : start claim
open     : start claim succeed
open     : start pause
open     : start claim fail
open     : start claim-z fail-z
open     : start skip cancel
open continue : start claim fail
keepOpen : start
keepOpen : start claim succeed skip-z
keepOpen : start claim pause succeed skip-z
manual   : 
manual   : start
manual   : start pause
manual   : start done-x
manual   : start fail-x
manual   : start done-x skip-z
manual   : start cancel
manual   : start claim-z fail-z
manual   : start skip-z
manual continue : start
manual continue : start fail-x
manual open : start
manual open : start done-x
         : hold
         : start hold
         : start pause hold
         : start claim fail hold
         : start skip skip-z hold
         : start cancel hold
`

// walkCommand is a command of the walk. Each is about chain "c" and step "x".
type walkCommand struct {
	name string
	make func(h *story) domain.Command
}

func walkCommands(t testing.TB) []walkCommand {
	t.Helper()
	always := func(c domain.Command) func(*story) domain.Command {
		return func(*story) domain.Command { return c }
	}
	zero := 1
	report := domain.ReportError{Message: "broke"}
	attempt := func(h *story) int { return h.attempt("c", "x") }
	return []walkCommand{
		{"create", always(decode(t, domain.VerbCreate, `{"keepOpen":true}`))},
		{"start", always(&domain.Start{})},
		{"pause", always(&domain.Pause{})},
		{"pause interrupt", always(&domain.Pause{Mode: domain.PauseInterrupt})},
		{"resume", always(&domain.Resume{})},
		{"cancel", always(&domain.Cancel{})},
		{"complete", always(&domain.Complete{})},
		{"session.timeout", always(&domain.TimeoutSession{})},
		{"delete", always(&domain.Delete{})},
		{"delete force", always(&domain.Delete{Force: true})},
		{"purge", always(&domain.Purge{})},
		{"purge cancel", always(&domain.Purge{Cancel: true})},
		{"hold", always(&domain.PutHold{})},
		{"unhold", always(&domain.ReleaseHold{})},
		{"metadata.set", always(&domain.SetMetadata{Set: map[string]string{"k": "v"}})},
		{"fork", func(h *story) domain.Command { return &domain.Fork{Source: h.s} }},
		{"chain.add", always(decode(t, domain.VerbChainAdd, `{"id":"new","steps":[{"action":"work"}]}`))},
		{"step.add", always(decode(t, domain.VerbStepAdd, `{"chain":"c","step":{"id":"new","action":"work"}}`))},
		{"chain.close", always(&domain.CloseChain{Chain: "c"})},
		{"chain.remove", always(&domain.RemoveChain{Chain: "c"})},
		{"chain.move", always(&domain.MoveChain{Chain: "c", Position: &zero})},
		{"claim", always(claim("c", "x"))},
		{"heartbeat", func(h *story) domain.Command {
			return &domain.Heartbeat{Chain: "c", Step: "x", Attempt: attempt(h), Worker: "w1", Action: "work"}
		}},
		{"release", func(h *story) domain.Command {
			return &domain.Release{Chain: "c", Step: "x", Attempt: attempt(h), Worker: "w1", Action: "work"}
		}},
		{"succeed", func(h *story) domain.Command {
			return &domain.Succeed{Chain: "c", Step: "x", Attempt: attempt(h), Worker: "w1", Action: "work", Output: json.RawMessage(`1`)}
		}},
		{"succeed stale", func(h *story) domain.Command {
			return &domain.Succeed{Chain: "c", Step: "x", Attempt: attempt(h) + 1, Worker: "w1", Action: "work"}
		}},
		{"fail", func(h *story) domain.Command {
			return &domain.Fail{Chain: "c", Step: "x", Attempt: attempt(h), Worker: "w1", Action: "work", Error: report}
		}},
		{"step.timeout", func(h *story) domain.Command {
			n := attempt(h)
			if st := h.s.Step("c", "x"); st != nil && st.Manual {
				n = 0
			}
			return &domain.TimeoutStep{Chain: "c", Step: "x", Attempt: n}
		}},
		{"step.retry", always(&domain.RetryStep{Chain: "c", Step: "x"})},
		{"step.skip", always(&domain.SkipStep{Chain: "c", Step: "x"})},
		{"step.succeed", always(&domain.SucceedManual{Chain: "c", Step: "x"})},
		{"step.fail", always(&domain.FailManual{Chain: "c", Step: "x", Error: report})},
	}
}

// walked is one cell of the product.
type walked struct {
	command string
	where   place
	events  string
	err     *domain.Rejection
	after   place
}

// place is where a situation stands, as the expectations name it.
type place struct {
	session, chain, step string
	flags                []string
}

func (p place) String() string {
	s := p.session
	if p.chain != "" {
		s += " c:" + p.chain + " x:" + p.step
	}
	return strings.TrimSpace(s + " " + strings.Join(p.flags, " "))
}

// placeOf reads where a session stands.
func placeOf(s *domain.Session) place {
	p := place{session: string(s.State)}
	switch {
	case s.Gone != nil:
		return place{session: "GONE"}
	case s.Version == 0:
		return place{session: "NONE"}
	}
	flag := func(name string, on bool) {
		if on {
			p.flags = append(p.flags, name)
		}
	}
	if c := s.Chain("c"); c != nil {
		st := c.Step("x")
		p.chain, p.step = string(c.Status), string(st.Status)
		flag("open", c.Open)
		flag("manual", st.Manual)
	}
	if z := s.Chain("z"); z != nil {
		flag("z-skipped", z.Status == domain.ChainStatusPending && z.Done())
		flag("z-"+string(z.Status), z.Status != domain.ChainStatusPending)
	}
	flag("continue", s.OnFailure == domain.FailContinue)
	flag("keepOpen", s.KeepOpen)
	flag("held", s.Hold != nil)
	return p
}

var walkedOnce struct {
	sync.Once
	cells []walked
}

// walk runs every command in every situation, once for all tests. The clock of
// an engine's timeout has run out: an hour has passed since.
func walk(t *testing.T) []walked {
	t.Helper()
	walkedOnce.Do(func() { walkedOnce.cells = walkAll(t) })
	return walkedOnce.cells
}

func walkAll(t *testing.T) []walked {
	t.Helper()
	var all []walked
	for _, sit := range situations() {
		for _, cmd := range walkCommands(t) {
			h := newStory(t)
			sit.build(h)
			h.pass(time.Hour)
			cell := walked{command: cmd.name, where: placeOf(h.s)}
			c := cmd.make(h)
			if fork, ok := c.(*domain.Fork); ok {
				h = &story{t: t, s: domain.New("ann", "s2"), now: h.now}
				h.visit(&cell, fork)
			} else {
				h.visit(&cell, c)
			}
			all = append(all, cell)
		}
	}
	return all
}

func (h *story) visit(cell *walked, c domain.Command) {
	h.t.Helper()
	events, err := h.try(c)
	cell.events, cell.after = events, placeOf(h.s)
	errors.As(err, &cell.err)
	if err != nil && cell.err == nil {
		h.t.Fatalf("%s in %s: %v is no rejection", cell.command, cell.where, err)
	}
}

// expectation is a line of the table: the first one that matches a cell says
// what has to come of it. In a pattern "*" is anything and "A|B" either; flags
// are words that have to be there, or with "!" must not.
type expectation struct {
	command, session, chain, step string
	flags                         []string
	want                          string
}

func parseExpectations(t *testing.T, table string) []expectation {
	t.Helper()
	var list []expectation
	for text := range strings.SplitSeq(table, "\n") {
		left, want, ok := strings.Cut(text, "=>")
		if !ok {
			continue
		}
		columns := strings.Split(left, ",")
		if len(columns) != 2 {
			t.Fatalf("line %q: want command, place => result", text)
		}
		where := strings.Fields(columns[1])
		if len(where) < 3 {
			t.Fatalf("line %q: want session, chain and step", text)
		}
		list = append(list, expectation{
			strings.TrimSpace(columns[0]), where[0], where[1], where[2], where[3:], strings.TrimSpace(want),
		})
	}
	return list
}

func (e expectation) matches(c walked) bool {
	one := func(pattern, text string) bool {
		return pattern == "*" || slices.Contains(strings.Split(pattern, "|"), text)
	}
	for _, flag := range e.flags {
		name, not := strings.CutPrefix(flag, "!")
		if slices.Contains(c.where.flags, name) == not {
			return false
		}
	}
	return (e.command == "*" || e.command == c.command) &&
		one(e.session, c.where.session) && one(e.chain, c.where.chain) && one(e.step, c.where.step)
}
