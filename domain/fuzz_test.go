package domain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"reprise/domain"
)

// fuzzVerbs are all verbs that have a body.
func fuzzVerbs() []domain.Verb {
	return append(append(domain.UserVerbs(), domain.OperatorVerbs()...), domain.WorkerVerbs()...)
}

// fuzzStates are states to decide hostile commands against.
func fuzzStates(f *testing.F) []*domain.Session {
	f.Helper()
	paths := []string{"", ": start", ": start claim", ": start claim pause", ": start claim fail", "open continue : start claim fail", "manual : start", ": start skip skip-z", ": start cancel", ": delete", "keepOpen : start"}
	states := []*domain.Session{domain.New("ann", "s1")}
	for _, sit := range situations() {
		if slices.Contains(paths, sit.name) {
			h := newStory(f)
			sit.build(h)
			states = append(states, h.s)
		}
	}
	return states
}

// FuzzDecodeCommand decodes hostile bodies and decides what came of them
// against several states: nothing panics, what is rejected has a code and a
// sentence of bounded length, what is accepted folds and can be stored.
func FuzzDecodeCommand(f *testing.F) {
	states := fuzzStates(f)
	verbs := fuzzVerbs()
	for _, seed := range []struct {
		verb domain.Verb
		body string
	}{
		{domain.VerbCreate, plan("open", "manual")},
		{domain.VerbCreate, `{"chains":[{"waitsFor":["2"],"open":true},{"waitsFor":["1"],"open":true}]}`},
		{domain.VerbCreate, `{"timeout":"9999999d","metadata":{"":null}}`},
		{domain.VerbStart, ``},
		{domain.VerbPause, `{"mode":"interrupt"}`},
		{domain.VerbResume, `null`},
		{domain.VerbCancel, `{"reason":"x"}`},
		{domain.VerbDelete, `{"force":true}`},
		{domain.VerbMetadataSet, `{"set":{"a":"b"},"remove":["c"]}`},
		{domain.VerbFork, `{"id":"f","version":3,"time":"2030-01-01T00:00:00Z"}`},
		{domain.VerbChainAdd, `{"id":"n","position":-1,"steps":[{"action":"w","waitsFor":["1"]}]}`},
		{domain.VerbChainClose, `{"chain":"c"}`},
		{domain.VerbChainRemove, `{"chain":"c"}`},
		{domain.VerbChainMove, `{"chain":"c","position":1}`},
		{domain.VerbChainMove, `{"chain":"c","to":"*"}`},
		{domain.VerbStepAdd, `{"chain":"c","step":{"action":"w","retry":{"maxAttempts":1000,"factor":1e308}}}`},
		{domain.VerbStepRetry, `{"chain":"c","step":"x","input":null}`},
		{domain.VerbStepSkip, `{"chain":"c","step":"x","output":[[[]]]}`},
		{domain.VerbStepSucceed, `{"chain":"c","step":"x","output":"\ud800"}`},
		{domain.VerbStepFail, `{"chain":"c","step":"x","error":{"message":"m","retryable":false}}`},
		{domain.VerbBatch, `{"mode":"each","commands":[{"verb":"pause"},{"verb":"create","body":{}},{"verb":"resume"}]}`},
		{domain.VerbHold, `{}`},
		{domain.VerbUnhold, `{}`},
		{domain.VerbClaim, `{"chain":"c","step":"x","lease":"5s"}`},
		{domain.VerbHeartbeat, `{"chain":"c","step":"x","attempt":1,"progress":0.5}`},
		{domain.VerbSucceed, `{"chain":"c","step":"x","attempt":1,"claimNext":true,"actions":["w"]}`},
		{domain.VerbFail, `{"chain":"c","step":"x","attempt":-1,"error":{"message":"m","stack":"s"}}`},
		{domain.VerbRelease, `{"chain":"c","step":"x","attempt":1}`},
		{domain.VerbPause, `{"mode":`},
		{domain.VerbPause, "\xff\xfe"},
		{domain.VerbPause, `[[[[[[`},
	} {
		f.Add(uint8(slices.Index(verbs, seed.verb)), []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, verb uint8, body []byte) {
		c, err := domain.DecodeCommand(verbs[int(verb)%len(verbs)], body)
		if err != nil {
			checkRejection(t, err)
			return
		}
		asWorker(c)
		for _, s := range states {
			checkDecision(t, s, c)
		}
	})
}

// asWorker fills in what the subject would say.
func asWorker(c domain.Command) {
	switch c := c.(type) {
	case *domain.Claim:
		c.Worker, c.Action = "w1", "work"
	case *domain.Heartbeat:
		c.Worker, c.Action = "w1", "work"
	case *domain.Succeed:
		c.Worker, c.Action = "w1", "work"
	case *domain.Fail:
		c.Worker, c.Action = "w1", "work"
	case *domain.Release:
		c.Worker, c.Action = "w1", "work"
	}
}

func checkRejection(t *testing.T, err error) {
	t.Helper()
	var r *domain.Rejection
	if !errors.As(err, &r) || !slices.Contains(domain.Codes(), r.Code) || r.Message == "" {
		t.Fatalf("%#v is no rejection", err)
	}
	if len(r.Message) > 2048 {
		t.Fatalf("a sentence of %d bytes: %.200s", len(r.Message), r.Message)
	}
}

func checkDecision(t *testing.T, s *domain.Session, c domain.Command) {
	t.Helper()
	env := domain.Env{Now: epoch.Add(time.Hour), Actor: "ann", CommandID: "fuzz"}
	before := jsonOf(t, s)
	d, err := domain.Decide(s, c, env)
	if jsonOf(t, s) != before {
		t.Fatal("the state was changed")
	}
	if err != nil {
		checkRejection(t, err)
		return
	}
	if len(d.Events) == 0 {
		return
	}
	commit := &domain.Commit{ID: "fuzz", Version: s.Version + 1, Time: d.Time, Actor: env.Actor, Events: throughJSON(t, d.Events)}
	next := domain.Apply(s, commit)
	if next.State != d.Next.State || next.Version != d.Next.Version || len(next.Chains) != len(d.Next.Chains) {
		t.Fatalf("the fold is %s, the decision says %s", jsonOf(t, next), jsonOf(t, d.Next))
	}
	if kept, folded := jsonOf(t, d.Keep(s, commit)), jsonOf(t, next); kept != folded {
		t.Fatalf("kept is %s, the fold says %s", kept, folded)
	}
}

// FuzzEvolve applies hostile events that decode, one a line as "type body", to
// a state: Evolve and Apply never panic, and neither does what reads the state.
func FuzzEvolve(f *testing.F) {
	states := fuzzStates(f)
	for _, sit := range situations() {
		h := newStory(f)
		sit.build(h)
		var lines bytes.Buffer
		for _, c := range h.commits {
			for _, e := range c.Events {
				lines.WriteString(string(e.Type()) + " " + jsonOf(f, e) + "\n")
			}
		}
		f.Add(uint8(0), lines.Bytes())
		f.Add(uint8(5), lines.Bytes())
	}
	for i, line := range []string{
		`session.forked {"plan":{"chains":[null,{"id":"c","steps":[null]}]}}`,
		`session.imported {"plan":{"state":"RUNNING","inFlight":-3,"chains":[{"id":"c","steps":[{"id":"x","status":"RUNNING"},{"id":"x"}]},{"id":"c"}]}}`,
		`chain.moved.in {"chain":{"id":"c","waitsFor":["c"],"steps":[{"id":"x","waitsFor":["x"],"status":"PENDING"}]},"position":-5}`,
		`chain.moved {"chain":"c","position":99}`, `step.failed {"chain":"c","step":"x","willRetry":true,"backoff":"3650d"}`,
		`session.failed {"failure":{"chain":"c","step":"x"}}`, `session.purged {"tombstone":{}}`, `metadata.set {"removed":["q"]}`,
		`chain.added {"chain":{"id":"c","steps":[{"id":"x"},{"id":"x"}]},"position":1}`, `chain.removed {"chain":"nope"}`,
	} {
		f.Add(uint8(i), []byte(line))
	}
	f.Fuzz(func(t *testing.T, state uint8, data []byte) {
		s := states[int(state)%len(states)]
		before := jsonOf(t, s)
		c := &domain.Commit{ID: "fuzz", Version: s.Version + 1, Time: epoch.Add(time.Hour), Events: hostileEvents(data)}
		next := domain.Apply(s, c)
		if jsonOf(t, s) != before {
			t.Fatal("the state was changed")
		}
		readAll(next)
	})
}

// maxFuzzEvents bounds one hostile commit.
const maxFuzzEvents = 50

func hostileEvents(data []byte) []domain.Event {
	var events []domain.Event
	for line := range bytes.Lines(data) {
		name, body, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		e := domain.NewEvent(domain.EventType(name))
		if e != nil && json.Unmarshal(body, e) == nil && len(events) < maxFuzzEvents {
			events = append(events, e)
		}
	}
	return events
}

// readAll asks a state everything and decides some commands on it.
func readAll(s *domain.Session) {
	s.Ready()
	s.Timers()
	now := epoch.Add(2 * time.Hour)
	var commands []domain.Command
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			s.Blocker(c.ID, st.ID, now)
			commands = append(commands, &domain.SkipStep{Chain: c.ID, Step: st.ID}, &domain.RetryStep{Chain: c.ID, Step: st.ID},
				&domain.Fail{Chain: c.ID, Step: st.ID, Attempt: st.Attempt, Worker: st.Worker, Action: st.Action, Error: domain.ReportError{Message: "x"}})
		}
		commands = append(commands, &domain.RemoveChain{Chain: c.ID}, &domain.CloseChain{Chain: c.ID})
	}
	commands = append(commands, &domain.Start{}, &domain.Pause{Mode: domain.PauseInterrupt}, &domain.Resume{}, &domain.Cancel{}, &domain.TimeoutSession{}, &domain.Delete{Force: true})
	for _, c := range commands[max(0, len(commands)-60):] {
		_, _ = domain.Decide(s, c, domain.Env{Now: now, CommandID: "read"})
	}
}

// FuzzDuration reads hostile durations; what it accepts reads the same again.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"30s", "0d", "1500ms", "3650d", "3651d", "999999999999999ms", "", "s", "-1s", "1h30m", "00000000000000000001s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := domain.ParseDuration(text)
		if err != nil {
			return
		}
		if d < 0 || d.Std() > domain.MaxDuration {
			t.Fatalf("%q reads as %d", text, d)
		}
		if again, err := domain.ParseDuration(d.String()); err != nil || again != d {
			t.Fatalf("%q reads as %s and then as %s, %v", text, d, again, err)
		}
	})
}
