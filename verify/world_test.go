package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"reprise/domain"
)

// world is a small model of an engine: sessions, a clock and a command counter.
type world struct {
	sessions map[string]*lane
	ids      []string
	now      time.Time
	n        int
}

// lane is one session with its history.
type lane struct {
	s       *domain.Session
	commits []*domain.Commit
	head    string
}

func newWorld() *world {
	return &world{sessions: map[string]*lane{}, now: time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC)}
}

func (w *world) lane(id string) *lane {
	l, ok := w.sessions[id]
	if !ok {
		l = &lane{s: domain.New("ann", id)}
		w.sessions[id] = l
		w.ids = append(w.ids, id)
	}
	return l
}

func (w *world) env(t *rapid.T, l *lane) domain.Env {
	w.n++
	return domain.Env{
		Now: w.now, Jitter: float64(rapid.IntRange(0, 9).Draw(t, "jitter")) / 10,
		Actor: "ann", CommandID: fmt.Sprintf("cmd-%d", w.n), Head: l.head,
	}
}

// handle runs one command as an engine does and checks what must hold.
func (w *world) handle(t *rapid.T, l *lane, c domain.Command) {
	env := w.env(t, l)
	before := text(t, l.s)
	d, err := domain.Decide(l.s, c, env)
	if after := text(t, l.s); after != before {
		t.Fatalf("%s changed the state it was decided on:\n%s\n%s", c.Verb(), before, after)
	}
	w.sameFromView(t, l.s, c, env, d, err)
	if err != nil {
		checkRejection(t, err)
		return
	}
	if len(d.Events) == 0 {
		return
	}
	w.commit(t, l, c.Verb(), env, d)
	if again, ok := l.s.FindRecent(env.CommandID); !ok || !again.Same(domain.Digest(c.Verb(), nil)) {
		t.Fatalf("the command id %s is not remembered", env.CommandID)
	}
}

// sameFromView decides once more on the state read from its JSON.
func (w *world) sameFromView(t *rapid.T, s *domain.Session, c domain.Command, env domain.Env, d domain.Decision, err error) {
	read := new(domain.Session)
	if e := json.Unmarshal([]byte(text(t, s)), read); e != nil {
		t.Fatalf("the state can't be read back: %v", e)
	}
	d2, err2 := domain.Decide(read, c, env)
	if fmt.Sprint(err) != fmt.Sprint(err2) {
		t.Fatalf("%s answers %v on the state and %v on its view", c.Verb(), err, err2)
	}
	if err != nil {
		return
	}
	if a, b := text(t, d.Events), text(t, d2.Events); a != b {
		t.Fatalf("%s on the state and on its view:\n%s\n%s", c.Verb(), a, b)
	}
	if a, b := text(t, d.Next), text(t, d2.Next); a != b {
		t.Fatalf("%s leads from the state and from its view to:\n%s\n%s", c.Verb(), a, b)
	}
}

// commit appends a decision by way of JSON and checks the new state.
func (w *world) commit(t *rapid.T, l *lane, verb domain.Verb, env domain.Env, d domain.Decision) {
	c := &domain.Commit{
		ID: env.CommandID, Session: l.s.ID, User: l.s.User, Version: l.s.Version + 1, Time: d.Time,
		Actor: env.Actor, Cause: verb, State: d.Next.State, Digest: domain.Digest(verb, nil), Results: d.Results,
	}
	for _, e := range d.Events {
		read := domain.NewEvent(e.Type())
		if err := json.Unmarshal([]byte(text(t, e)), read); err != nil {
			t.Fatalf("event %s can't be read back: %v", e.Type(), err)
		}
		c.Events = append(c.Events, read)
	}
	old := l.s
	l.s = domain.Apply(old, c)
	if a, b := text(t, d.Keep(old, c)), text(t, l.s); a != b && verb != domain.VerbChainMove && verb != domain.VerbFork {
		t.Fatalf("%s is kept as:\n%s\nand folded as:\n%s", verb, a, b)
	}
	l.commits = append(l.commits, c)
	l.head = domain.Digest(verb, []byte(l.head))
	checkCommit(t, old, l.s, c)
	checkFold(t, l)
	checkState(t, l.s)
	checkReady(t, l.s, w.now)
}

// move runs a move across two sessions.
func (w *world) move(t *rapid.T, src, dst *lane, c *domain.MoveChain) {
	env := w.env(t, src)
	a, b := text(t, src.s), text(t, dst.s)
	from := whole(t, src)
	out, in, err := domain.DecideMove(from, dst.s, c, env)
	if text(t, src.s) != a || text(t, dst.s) != b {
		t.Fatalf("a move changed the states it was decided on")
	}
	if err != nil {
		checkRejection(t, err)
		return
	}
	if !out.Time.Equal(in.Time) {
		t.Fatalf("a move has two times: %s and %s", out.Time, in.Time)
	}
	w.commit(t, src, c.Verb(), env, out)
	w.commit(t, dst, c.Verb(), env, in)
	moved := dst.s.Chain(c.Chain)
	for i, st := range from.Chain(c.Chain).Steps {
		if got := moved.Steps[i]; got.Status != st.Status || got.Attempt != st.Attempt || got.Output == nil && got.OutputRef == nil && st.Output != nil {
			t.Fatalf("the move lost results of step %s", st.ID)
		}
	}
}

// whole fills in the payloads that stay in their commits.
func whole(t *rapid.T, l *lane) *domain.Session {
	s := new(domain.Session)
	if err := json.Unmarshal([]byte(text(t, l.s)), s); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.InputRef != nil {
				st.Input = l.payload(t, st.InputRef)
			}
			if st.OutputRef != nil {
				st.Output = l.payload(t, st.OutputRef)
			}
			if st.Error != nil && st.Error.StackRef != nil {
				st.Error.Stack = "a long stack"
			}
		}
	}
	return s
}

// payload stands in for a lookup by version: it checks that the version exists
// and returns JSON of the size.
func (l *lane) payload(t *rapid.T, ref *domain.Ref) json.RawMessage {
	if ref.Version == 0 || ref.Version > l.s.Version {
		t.Fatalf("a payload is in version %d of %d", ref.Version, l.s.Version)
	}
	return blob(ref.Size)
}

// blob is a JSON string of a size of at least 2 bytes.
func blob(size int) json.RawMessage {
	raw := make([]byte, size)
	for i := range raw {
		raw[i] = 'x'
	}
	raw[0], raw[size-1] = '"', '"'
	return raw
}

func text(t *rapid.T, v any) string {
	raw, err := domain.Marshal(v)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return string(raw)
}

func checkRejection(t *rapid.T, err error) {
	var r *domain.Rejection
	if !errors.As(err, &r) || r.Message == "" {
		t.Fatalf("%v is no rejection with a sentence", err)
	}
	if !slices.Contains(domain.Codes(), r.Code) {
		t.Fatalf("code %q is unknown", r.Code)
	}
}
