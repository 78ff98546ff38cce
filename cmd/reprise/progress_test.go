package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/worker"
)

// story is a session that commands make, with the commits they lead to.
type story struct {
	t   *testing.T
	s   *domain.Session
	now time.Time
	// commits are what a watch would bring.
	commits []contract.CommitEntry
}

func newStory(t *testing.T, definition string) *story {
	t.Helper()
	st := &story{t: t, s: domain.New("ada", "release-1"), now: time.Date(2026, 11, 21, 13, 30, 0, 0, time.UTC)}
	var def domain.Definition
	if err := json.Unmarshal([]byte(definition), &def); err != nil {
		t.Fatal(err)
	}
	return st.do(&domain.Create{Definition: def}).do(&domain.Start{})
}

// do decides a command and keeps its commit.
func (st *story) do(c domain.Command) *story {
	st.t.Helper()
	id := fmt.Sprintf("c%d", len(st.commits))
	d, err := domain.Decide(st.s, c, domain.Env{Now: st.now, Actor: "ada", CommandID: id})
	if err != nil {
		st.t.Fatal(err)
	}
	entry := contract.CommitEntry{Version: st.s.Version + 1, Commit: id, Time: st.now, Actor: "ada", Cause: c.Verb(), State: d.Next.State}
	for _, e := range d.Events {
		raw, err := domain.Marshal(e)
		if err != nil {
			st.t.Fatal(err)
		}
		chain, step := e.About()
		entry.Events = append(entry.Events, contract.EventSummary{Type: e.Type(), Chain: chain, Step: step, Data: raw})
	}
	commit, err := commitOf(st.s, entry)
	if err != nil {
		st.t.Fatal(err)
	}
	st.s = domain.Apply(st.s, commit)
	st.commits = append(st.commits, entry)
	return st
}

func (st *story) after(d time.Duration) *story {
	st.now = st.now.Add(d)
	return st
}

func (st *story) claim(chain, step string) *story {
	return st.do(&domain.Claim{Chain: chain, Step: step, Worker: "run-w", Action: "exec"})
}

func (st *story) succeed(chain, step string) *story {
	return st.do(&domain.Succeed{Chain: chain, Step: step, Attempt: st.s.Step(chain, step).Attempt, Worker: "run-w", Action: "exec"})
}

func (st *story) fail(chain, step, message string) *story {
	return st.do(&domain.Fail{
		Chain: chain, Step: step, Attempt: st.s.Step(chain, step).Attempt, Worker: "run-w", Action: "exec",
		Error: domain.ReportError{Code: "exit_status", Message: message},
	})
}

// picture is what a terminal of that size shows, without colours.
func (st *story) picture(width, height int, said map[domain.StepRef]string) []string {
	a := newApp(nil, nil, nil)
	a.now = func() time.Time { return st.now }
	r := &runner{a: a, f: &runFlags{}, served: map[string]string{"exec": "exec"}, board: newBoard(st.s)}
	f := frame{a: a, session: st.s, said: said, hints: r.hints(st.s), width: width, height: height}
	return f.lines()
}

const releasePlan = `{"chains":[
	{"id":"vet","title":"Look at the code","steps":[{"id":"vet","action":"exec"},{"id":"format","action":"exec"}]},
	{"id":"build","steps":[
		{"id":"modules","title":"Fetch modules","action":"exec","retry":{"maxAttempts":3,"backoff":"2s"}},
		{"id":"compile","action":"exec"}]},
	{"id":"approval","waitsFor":["vet"],"steps":[{"id":"ok","title":"Is it good?","manual":true}]},
	{"id":"package","title":"Pack it","waitsFor":["build","approval"],"steps":[{"id":"linux","action":"exec"},{"id":"odd","action":"paint","waitsFor":[]}]}]}`

// halfway is a release in the middle of everything.
func halfway(t *testing.T) *story {
	t.Helper()
	return newStory(t, releasePlan).
		after(10*time.Millisecond).claim("vet", "vet").claim("build", "modules").
		after(1200*time.Millisecond).succeed("vet", "vet").claim("vet", "format").
		fail("build", "modules", "exit status 1: no network").
		after(2*time.Second).claim("build", "modules").
		after(time.Second).succeed("vet", "format").
		after(3500 * time.Millisecond)
}

func expectLines(t *testing.T, got []string, want string) {
	t.Helper()
	if text := strings.Join(got, "\n"); text != strings.Trim(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", text, strings.Trim(want, "\n"))
	}
}

func TestFrame(t *testing.T) {
	said := map[domain.StepRef]string{{Chain: "build", Step: "modules"}: "go: downloading\tgithub.com/日本語/long v1.2.3\x1b[2J"}
	expectLines(t, halfway(t).picture(90, 30, said), `
⠋ release-1  RUNNING  7.7s  ━━━━━───────────────  2 of 7 steps

✓ vet           4.2s  Look at the code
├─ ✓ vet        1.2s
└─ ✓ format       3s
⠋ build         7.7s
├─ ⠋ modules    4.5s  try 2 of 3 · go: downloading github.com/日本語/long v1.2.3[2J
└─ ○ compile
○ approval
└─ ○ ok               Is it good? · waits for a person
○ package             Pack it · waits for chain build, approval
├─ ○ linux
└─ ○ odd

→ approval/ok (Is it good?) waits for a person: reprise step succeed release-1 approval ok
`)
}

func TestFrameOfAFailure(t *testing.T) {
	st := newStory(t, releasePlan).claim("vet", "vet").after(time.Second).claim("build", "modules").fail("vet", "vet", "exit status 2: vet:\nmain.go:7")
	expectLines(t, st.picture(60, 30, nil)[:8], `
✗ release-1  FAILED  1s  ────────────────────  0 of 7 steps

✗ vet             1s  Look at the code
├─ ✗ vet          1s  exit status 2: vet: main.go:7
└─ ○ format
⠋ build          0ms
├─ ⠋ modules     0ms  Fetch modules
└─ ○ compile
`)
}

func TestFrameOfAPause(t *testing.T) {
	st := halfway(t).do(&domain.Pause{})
	if got := st.picture(90, 30, nil)[0]; got != "‖ release-1  PAUSED  7.7s  ━━━━━───────────────  2 of 7 steps, 1 in flight" {
		t.Error(got)
	}
	st.succeed("build", "modules")
	lines := st.picture(90, 30, nil)
	if got := lines[len(lines)-1]; got != "→ paused by ada: reprise session resume release-1" {
		t.Error(got)
	}
}

// TestFrameFits: whatever the size, no line is wider and there are not too many;
// what is done is folded first, what hasn't begun next.
func TestFrameFits(t *testing.T) {
	st := halfway(t)
	said := map[domain.StepRef]string{{Chain: "build", Step: "modules"}: strings.Repeat("日本 ", 80)}
	for width := minWidth - 1; width < 120; width += 7 {
		for height := 8; height < 24; height++ {
			lines := st.picture(width, height, said)
			if len(lines) >= height {
				t.Fatalf("%d lines on %d", len(lines), height)
			}
			for _, line := range lines {
				if cells(line) > width {
					t.Fatalf("%d columns on %d: %s", cells(line), width, line)
				}
			}
		}
	}
	expectLines(t, st.picture(60, 12, nil), `
⠋ release-1  RUNNING  7.7s  2 of 7 steps

✓ vet           4.2s  Look at the code · 2 steps
⠋ build         7.7s
├─ ⠋ modules    4.5s  try 2 of 3 · Fetch modules
└─ ○ compile
○ approval            1 step
○ package             Pack it · 2 steps · waits for chain b…

→ approval/ok (Is it good?) waits for a person: reprise ste…
`)
	lines := st.picture(60, 9, nil)
	if got := lines[len(lines)-3]; !strings.Contains(got, "… 3 more lines") {
		t.Errorf("a low terminal: %q", lines)
	}
}

func TestHints(t *testing.T) {
	st := newStory(t, `{"keepOpen":true,"chains":[{"id":"c","open":true,"steps":[{"id":"s","action":"paint"}]}]}`)
	a := newApp(nil, nil, nil)
	a.flags.data, a.flags.user = "/my data", "bo"
	r := &runner{a: a, f: &runFlags{}, id: "release-1", served: map[string]string{"exec": "exec"}}
	hint := func(want string) {
		t.Helper()
		if got := strings.Join(r.hints(st.s), "|"); got != want {
			t.Errorf("hints %q, want %q", got, want)
		}
	}
	hint(`c/s waits for a worker for "paint", which this run doesn't execute; see --action-map`)
	st.do(&domain.SkipStep{Chain: "c", Step: "s"})
	hint("chain c is open: reprise step add release-1 c ..., or chain close release-1 c --data '/my data' --user bo")
	st.do(&domain.CloseChain{Chain: "c"})
	hint("kept open: reprise chain add release-1 ..., or session complete release-1 --data '/my data' --user bo")
	r.stopping = true
	hint("")
	if got := r.resumeCommand(true); got != "reprise run --resume release-1 --retry --data '/my data' --user bo" {
		t.Error(got)
	}
}

// TestBoard: the board follows the commits, stops attempts that are over, and
// says when it doesn't know an event.
func TestBoard(t *testing.T) {
	st := newStory(t, releasePlan).claim("vet", "vet").claim("build", "modules")
	b := newBoard(domain.New("ada", "release-1"))
	running := map[string]<-chan error{}
	for _, entry := range st.commits {
		if err := b.apply(entry); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Session(); got.Version != st.s.Version || got.InFlight != 2 {
		t.Fatalf("version %d, in flight %d", got.Version, got.InFlight)
	}
	for chain, step := range map[string]string{"vet": "vet", "build": "modules"} {
		task := worker.NewTask("ada", "release-1", contract.Assignment{Chain: chain, Step: step, Attempt: 1, Action: "exec"})
		task.Progress("line of " + step)
		task.Percent(7)
		running[step] = attemptOn(t, b, task)
	}
	if got := b.lastLines()[domain.StepRef{Chain: "vet", Step: "vet"}]; got != "7% line of vet" {
		t.Errorf("last line %q", got)
	}
	st.fail("build", "modules", "no network") // by somebody else: the attempt here is over
	if err := b.apply(st.commits[len(st.commits)-1]); err != nil {
		t.Fatal(err)
	}
	if err := <-running["modules"]; err != worker.ErrInterrupted { //nolint:errorlint // a cause is compared as it is
		t.Errorf("the attempt that is over ended with %v", err)
	}
	st.do(&domain.Cancel{})
	b.replace(st.s)
	if err := <-running["vet"]; err != worker.ErrCancelled { //nolint:errorlint // as above
		t.Errorf("the attempt of a cancelled session ended with %v", err)
	}
	old := b.Session()
	if err := b.apply(st.commits[0]); err != nil || b.Session() != old {
		t.Errorf("an old commit: %v", err)
	}
	entry := contract.CommitEntry{Version: old.Version + 1, Events: []contract.EventSummary{{Type: "step.invented", Data: []byte("{}")}}}
	if err := b.apply(entry); err == nil {
		t.Error("an unknown event was applied")
	}
}

// attemptOn starts a handler that waits for the end of its context, and returns
// once the board knows it; the channel gets the cause.
func attemptOn(t *testing.T, b *board, task *worker.Task) <-chan error {
	t.Helper()
	began, ended := make(chan struct{}), make(chan error, 1)
	handler := b.observed(waiting(began, ended))
	go func() { _, _ = handler(t.Context(), task) }()
	<-began
	return ended
}

func TestReadableID(t *testing.T) {
	for file, want := range map[string]string{
		"examples/release.yaml": "release-", "my data.v2.json": "my-data-v2-", "-": "run-", ".yaml": "run-",
		"日本.yaml": "run-", strings.Repeat("x", 100) + ".yaml": strings.Repeat("x", maxStem) + "-",
	} {
		id := readableID(file)
		if !strings.HasPrefix(id, want) || len(id) != len(want)+idWord || !domain.ValidID(id) {
			t.Errorf("%s: %s", file, id)
		}
	}
	if first, second := readableID("a"), readableID("a"); first == second {
		t.Error("two runs got one id")
	}
}

func TestTail(t *testing.T) {
	if got := tail("a\nb\nc\n", 2); got != "… 1 line before\nb\nc" {
		t.Errorf("%q", got)
	}
	if got := tail("a\nb", 2); got != "a\nb" {
		t.Errorf("%q", got)
	}
}

// waiting is a handler that waits for the end of its context.
func waiting(began chan<- struct{}, ended chan<- error) worker.Handler {
	return func(ctx context.Context, _ *worker.Task) (any, error) {
		close(began)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}
}
