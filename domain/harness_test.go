package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

// epoch is when every test session begins.
var epoch = time.Date(2030, time.January, 2, 3, 4, 5, 0, time.UTC)

// story drives one session the way an engine does: decide, commit, fold. Every
// command it runs is checked for what must hold of all of them: the state
// before is not touched, and the commits folded from JSON give the state.
type story struct {
	t       testing.TB
	s       *domain.Session
	now     time.Time
	jitter  float64
	head    string
	n       int
	commits []*domain.Commit
	last    domain.Decision
}

func newStory(t testing.TB) *story {
	return &story{t: t, s: domain.New("ann", "s1"), now: epoch}
}

// begin returns the story of a session created from a definition in JSON.
func begin(t testing.TB, definition string) *story {
	t.Helper()
	h := newStory(t)
	h.do(decode(t, domain.VerbCreate, definition))
	return h
}

// running is begin and start.
func running(t testing.TB, definition string) *story {
	t.Helper()
	h := begin(t, definition)
	h.do(&domain.Start{})
	return h
}

func decode(t testing.TB, verb domain.Verb, body string) domain.Command {
	t.Helper()
	c, err := domain.DecodeCommand(verb, []byte(body))
	if err != nil {
		t.Fatalf("decode %s %s: %v", verb, body, err)
	}
	return c
}

func (h *story) env() domain.Env {
	return domain.Env{Now: h.now, Jitter: h.jitter, Actor: "ann", CommandID: fmt.Sprintf("cmd-%d", h.n), Head: h.head}
}

// do runs a command that has to be accepted and returns its events in short.
func (h *story) do(c domain.Command) string {
	h.t.Helper()
	events, err := h.try(c)
	if err != nil {
		h.t.Fatalf("%s: %v", c.Verb(), err)
	}
	return events
}

// want runs a command and compares its events in short.
func (h *story) want(c domain.Command, events string) {
	h.t.Helper()
	if got := h.do(c); got != events {
		h.t.Fatalf("%s\n got %s\nwant %s", c.Verb(), got, events)
	}
}

// refuse runs a command that has to be rejected with a code and a sentence that
// holds some words.
func (h *story) refuse(c domain.Command, code domain.Code, words string) {
	h.t.Helper()
	events, err := h.try(c)
	if err == nil {
		h.t.Fatalf("%s was accepted: %s", c.Verb(), events)
	}
	wantRejection(h.t, err, code, words)
}

func wantRejection(t testing.TB, err error, code domain.Code, words string) {
	t.Helper()
	var r *domain.Rejection
	if !errors.As(err, &r) {
		t.Fatalf("error %v is no rejection", err)
	}
	if r.Code != code || !strings.Contains(r.Message, words) {
		t.Fatalf("rejected with %s: %s\nwant %s: ...%s...", r.Code, r.Message, code, words)
	}
}

func (h *story) try(c domain.Command) (string, error) {
	h.t.Helper()
	h.n++
	before := jsonOf(h.t, h.s)
	d, err := domain.Decide(h.s, c, h.env())
	if after := jsonOf(h.t, h.s); after != before {
		h.t.Fatalf("%s changed the state it was decided on\nbefore %s\nafter  %s", c.Verb(), before, after)
	}
	if err != nil {
		return "", err
	}
	h.last = d
	h.commit(c.Verb(), d)
	return brief(d.Events), nil
}

// commit appends a decision as one commit, by way of JSON.
func (h *story) commit(verb domain.Verb, d domain.Decision) {
	h.t.Helper()
	if len(d.Events) == 0 {
		return
	}
	env := h.env()
	c := &domain.Commit{
		ID: env.CommandID, Session: h.s.ID, User: h.s.User, Version: h.s.Version + 1, Time: d.Time, Actor: env.Actor,
		Cause: verb, State: d.Next.State, Digest: domain.Digest(verb, []byte(env.CommandID)), Events: throughJSON(h.t, d.Events),
	}
	before := jsonOf(h.t, h.s)
	next := domain.Apply(h.s, c)
	if after := jsonOf(h.t, h.s); after != before {
		h.t.Fatalf("Apply of %s changed the state before it\nbefore %s\nafter  %s", verb, before, after)
	}
	h.commits = append(h.commits, c)
	h.s, h.now, h.head = next, d.Time, fmt.Sprintf("head-%d", len(h.commits))
	h.check()
}

// check compares the state with the fold of all commits and with its own JSON.
func (h *story) check() {
	h.t.Helper()
	fold := domain.New(h.s.User, h.s.ID)
	for _, c := range h.commits {
		fold = domain.Apply(fold, c)
	}
	state := jsonOf(h.t, h.s)
	if got := jsonOf(h.t, fold); got != state {
		h.t.Fatalf("the fold of the commits is not the state\nfold  %s\nstate %s", got, state)
	}
	read := new(domain.Session)
	if err := json.Unmarshal([]byte(state), read); err != nil {
		h.t.Fatalf("the state can't be read back: %v\n%s", err, state)
	}
	if got := jsonOf(h.t, read); got != state {
		h.t.Fatalf("the state loses something in JSON\nread  %s\nstate %s", got, state)
	}
	inFlight := 0
	for _, c := range h.s.Chains {
		inFlight += c.Running()
	}
	if inFlight != h.s.InFlight {
		h.t.Fatalf("inFlight is %d, and %d steps are RUNNING", h.s.InFlight, inFlight)
	}
}

// pass lets time go by.
func (h *story) pass(d time.Duration) { h.now = h.now.Add(d) }

// status writes the state of the session and its chains and steps in short:
// "RUNNING a:RUNNING(1:SUCCESS 2:PENDING)".
func (h *story) status() string {
	var b strings.Builder
	b.WriteString(string(h.s.State))
	for _, c := range h.s.Chains {
		steps := make([]string, len(c.Steps))
		for i, st := range c.Steps {
			steps[i] = st.ID + ":" + string(st.Status)
		}
		fmt.Fprintf(&b, " %s:%s(%s)", c.ID, c.Status, strings.Join(steps, " "))
	}
	return b.String()
}

func (h *story) wantStatus(want string) {
	h.t.Helper()
	if got := h.status(); got != want {
		h.t.Fatalf("status\n got %s\nwant %s", got, want)
	}
}

// claim, succeed and fail are the worker's commands with the usual names.
func claim(chain, step string) *domain.Claim {
	return &domain.Claim{Chain: chain, Step: step, Worker: "w1", Action: "work"}
}

func (h *story) claim(chain, step string) { h.t.Helper(); h.do(claim(chain, step)) }

func (h *story) succeed(chain, step string) string {
	h.t.Helper()
	return h.do(&domain.Succeed{Chain: chain, Step: step, Attempt: h.attempt(chain, step), Worker: "w1", Action: "work"})
}

func (h *story) fail(chain, step string) string {
	h.t.Helper()
	return h.do(h.failure(chain, step))
}

func (h *story) failure(chain, step string) *domain.Fail {
	return &domain.Fail{
		Chain: chain, Step: step, Attempt: h.attempt(chain, step), Worker: "w1", Action: "work",
		Error: domain.ReportError{Code: "boom", Message: step + " broke", Stack: "main.go:1"},
	}
}

func (h *story) attempt(chain, step string) int {
	if st := h.s.Step(chain, step); st != nil {
		return st.Attempt
	}
	return 0
}

func (h *story) step(chain, step string) *domain.Step {
	h.t.Helper()
	st := h.s.Step(chain, step)
	if st == nil {
		h.t.Fatalf("there is no step %s/%s in %s", chain, step, h.status())
	}
	return st
}

// brief writes events in short: "chain.started a, step.started a/1".
func brief(events []domain.Event) string {
	words := make([]string, len(events))
	for i, e := range events {
		words[i] = string(e.Type())
		if chain, step := e.About(); chain != "" {
			words[i] += strings.TrimSuffix(" "+chain+"/"+step, "/")
		}
	}
	return strings.Join(words, ", ")
}

// throughJSON writes events and reads them again, as a store does.
func throughJSON(t testing.TB, events []domain.Event) []domain.Event {
	t.Helper()
	next := make([]domain.Event, len(events))
	for i, e := range events {
		raw, err := domain.Marshal(e)
		if err != nil {
			t.Fatalf("marshal %s: %v", e.Type(), err)
		}
		next[i] = domain.NewEvent(e.Type())
		if err := json.Unmarshal(raw, next[i]); err != nil {
			t.Fatalf("unmarshal %s: %v\n%s", e.Type(), err, raw)
		}
	}
	return next
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	raw, err := domain.Marshal(v)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return string(raw)
}

// golden compares text with a file under testdata (or another path); UPDATE=1
// writes it.
func golden(t *testing.T, path, text string) {
	t.Helper()
	if os.Getenv("UPDATE") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with UPDATE=1 to write it", err)
	}
	want, got := strings.Split(string(raw), "\n"), strings.Split(text, "\n")
	if slices.Equal(want, got) {
		return
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("%s differs from line %d on; run the test with UPDATE=1 to rewrite it\n got %s\nwant %s", path, i+1, line(got, i), line(want, i))
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end of file)"
}
