package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
	"reprise/natsnode"
)

const (
	// maxRunHistory is how many commits a run shows of the history, the last ones;
	// it looks for them among the last maxRunEvents events.
	maxRunHistory = 60
	maxRunEvents  = 600
	// maxStackLines is how many lines of an error's stack it shows, the last ones.
	maxStackLines = 20
	// stateWidth is the width of the longest state with its symbol, historyHead
	// that of what stands before the events of a commit.
	stateWidth  = 11
	historyHead = 5 + 2 + 12 + 2 + stateWidth + 2
	// endPatience bounds the questions at the end.
	endPatience = 10 * time.Second
	// guestPause is the time between two looks for others that use the engine.
	guestPause = 250 * time.Millisecond
)

// outcome is what a run ends with on -o json.
type outcome struct {
	Session string          `json:"session"`
	State   domain.State    `json:"state"`
	Version uint64          `json:"version"`
	Steps   map[string]int  `json:"steps"`
	Took    domain.Duration `json:"took,omitempty"`
	Error   *domain.Failure `json:"error,omitempty"`
}

// finish writes the summary and the history, and returns the exit code.
func (r *runner) finish() error {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	s := r.board.Session()
	if reply, err := r.client.Get(ctx, r.id); err == nil && reply.Session.Version >= s.Version {
		s = reply.Session // with what is too large for the events
	}
	err := r.report(ctx, s)
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		_, _ = fmt.Fprintln(r.a.err, "reprise: the summary is not complete: "+term.Safe(err.Error()))
	}
	return exitOf(s)
}

// report writes how it ended.
func (r *runner) report(ctx context.Context, s *domain.Session) error {
	if r.a.flags.format() != formatTable {
		return r.a.line(outcomeOfRun(s))
	}
	if err := r.summary(s); err != nil || r.f.noHistory || s.Gone != nil {
		return err
	}
	return r.history(ctx, s)
}

func outcomeOfRun(s *domain.Session) outcome {
	o := outcome{Session: s.ID, State: s.State, Version: s.Version, Steps: map[string]int{}, Error: s.Error}
	for status, n := range countSteps(s) {
		o.Steps[string(status)] = n
	}
	if s.EndedAt.After(s.StartedAt) && !s.StartedAt.IsZero() {
		o.Took = domain.Duration(s.EndedAt.Sub(s.StartedAt))
	}
	return o
}

// exitOf is the exit code of a run.
func exitOf(s *domain.Session) error {
	switch {
	case s.Gone != nil:
		return &quietError{exitNotFound}
	case s.State == domain.StatePaused:
		return &quietError{exitPaused}
	}
	return outcomeOf(s.State)
}

// summary says how it ended, what went wrong, and what to do about it.
func (r *runner) summary(s *domain.Session) error {
	var b strings.Builder
	state := term.State(r.a.palette, s.State)
	if s.Gone != nil {
		state = r.a.palette.Apply(term.Dim, "deleted")
	}
	fmt.Fprintf(&b, "\n%s  %s%s: %s\n", state, r.a.palette.Apply(term.Bold, s.ID), took(s), tally(s))
	if s.Error != nil {
		f := *s.Error
		f.Stack = tail(f.Stack, maxStackLines)
		r.a.writeFailure(&b, &f)
	}
	r.otherFailures(&b, s)
	if advice := r.advice(s); advice != "" {
		b.WriteString("  " + r.a.palette.Apply(term.Yellow, "→ "+advice) + "\n")
	}
	_, err := io.WriteString(r.a.out, b.String())
	return err
}

// otherFailures has a line for each failed step but the first.
func (r *runner) otherFailures(b *strings.Builder, s *domain.Session) {
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			first := s.Error != nil && s.Error.Chain == c.ID && s.Error.Step == st.ID
			if st.Status.Broken() && st.Error != nil && !first {
				b.WriteString("  " + r.a.palette.Apply(term.Red, place(c.ID, st.ID)+": "+term.Shorten(clean(st.Error.Message), maxShownData)) + "\n")
			}
		}
	}
}

// advice says what to do with a session that is not COMPLETED.
func (r *runner) advice(s *domain.Session) string {
	switch {
	case s.Gone != nil:
		return ""
	case s.State == domain.StatePaused:
		return "go on: " + r.resumeCommand(false)
	case s.State == domain.StateFailed:
		return "run the failed steps again: " + r.resumeCommand(true)
	case s.State == domain.StateCancelled:
		return "run it again as another session: reprise session fork " + s.ID + r.sameFlags()
	}
	return ""
}

// countSteps counts by status.
func countSteps(s *domain.Session) map[domain.StepStatus]int {
	n := map[domain.StepStatus]int{}
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			n[st.Status]++
		}
	}
	return n
}

// tally says how many steps came to what.
func tally(s *domain.Session) string {
	n := countSteps(s)
	parts := []string{plural(n[domain.StepStatusSuccess], "step") + " done"}
	for _, part := range []struct {
		status domain.StepStatus
		word   string
	}{
		{domain.StepStatusFailed, "failed"},
		{domain.StepStatusTimeout, "timed out"},
		{domain.StepStatusSkipped, "skipped"},
		{domain.StepStatusCancelled, "cancelled"},
		{domain.StepStatusRunning, "in flight"},
		{domain.StepStatusPending, "not run"},
	} {
		if n[part.status] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[part.status], part.word))
		}
	}
	return strings.Join(parts, ", ")
}

// tail returns the last lines of a text.
func tail(text string, most int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if over := len(lines) - most; over > 0 {
		lines = append([]string{"… " + plural(over, "line") + " before"}, lines[over:]...)
	}
	return strings.Join(lines, "\n")
}

// history writes the last commits, each in one line.
func (r *runner) history(ctx context.Context, s *domain.Session) error {
	req := contract.HistoryRequest{Session: r.id, Limit: contract.MaxPage, FromVersion: 1}
	if s.Version > maxRunEvents {
		req.FromVersion = s.Version - maxRunEvents
	}
	var commits []contract.CommitEntry
	for entry, err := range r.client.Commits(ctx, req) {
		if err != nil {
			return r.link.explain(err)
		}
		commits = append(commits, entry)
	}
	commits = commits[max(0, len(commits)-maxRunHistory):]
	var b strings.Builder
	b.WriteString("\nHistory, " + plural(int(s.Commits), "commit"))
	if len(commits) < int(s.Commits) {
		fmt.Fprintf(&b, "; here are the last %d, all with: reprise session history %s%s", len(commits), r.id, r.sameFlags())
	}
	b.WriteString("\n")
	room := r.historyRoom()
	for _, entry := range commits {
		state := term.State(r.a.palette, entry.State)
		fmt.Fprintf(&b, "%5d  %s  %s%s  %s\n", entry.Version, entry.Time.In(r.a.zone).Format("15:04:05.000"), state,
			strings.Repeat(" ", max(0, stateWidth-term.Width(state))), r.a.note(fit(eventWords(entry), room)))
	}
	_, err := io.WriteString(r.a.out, b.String())
	return err
}

// historyRoom is how many columns the events of a commit may take.
func (r *runner) historyRoom() int {
	width, _, ok := terminalSize(r.a.out)
	if !ok {
		return maxShownData
	}
	return max(width-1-historyHead, minWidth)
}

// eventWords has the events of a commit in one line.
func eventWords(entry contract.CommitEntry) string {
	words := make([]string, 0, len(entry.Events))
	for _, e := range entry.Events {
		words = append(words, strings.TrimRight(string(e.Type)+" "+place(e.Chain, e.Step), " "))
	}
	if more := len(words) - maxShownEvents; more > 0 {
		words = append(words[:maxShownEvents], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// hints say what a session waits for that this run can't give it.
func (r *runner) hints(s *domain.Session) []string {
	if r.stopping {
		return nil
	}
	if s.State == domain.StatePaused && s.InFlight == 0 {
		return []string{fmt.Sprintf("paused by %s: reprise session resume %s%s", clean(s.PausedBy), s.ID, r.sameFlags())}
	}
	var hints []string
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if hint := r.hint(s, c, st); hint != "" {
				hints = append(hints, hint)
			}
		}
		if c.Open && c.Status.Unfinished() && c.Done() && s.State == domain.StateRunning && len(missingChains(s, c)) == 0 {
			hints = append(hints, fmt.Sprintf("chain %s is open: reprise step add %s %s ..., or chain close %s %s%s", c.ID, s.ID, c.ID, s.ID, c.ID, r.sameFlags()))
		}
	}
	if len(hints) == 0 && s.State == domain.StateRunning && s.KeepOpen && !unfinished(s) {
		hints = append(hints, fmt.Sprintf("kept open: reprise chain add %s ..., or session complete %s%s", s.ID, s.ID, r.sameFlags()))
	}
	return hints
}

// hint says what one step waits for: a person, or a worker for its action.
func (r *runner) hint(s *domain.Session, c *domain.Chain, st *domain.Step) string {
	if st.Status != domain.StepStatusPending || s.Blocker(c.ID, st.ID, r.a.now()) != "" {
		return ""
	}
	where := place(c.ID, st.ID)
	if st.Manual {
		title := ""
		if st.Title != "" {
			title = " (" + clean(st.Title) + ")"
		}
		return fmt.Sprintf("%s%s waits for a person: reprise step succeed %s %s %s%s", where, title, s.ID, c.ID, st.ID, r.sameFlags())
	}
	if _, served := r.served[st.Action]; served || r.f.noWorker {
		return ""
	}
	return fmt.Sprintf("%s waits for a worker for %q, which this run doesn't execute; see --action-map", where, st.Action)
}

func unfinished(s *domain.Session) bool {
	for _, c := range s.Chains {
		if c.Status.Unfinished() {
			return true
		}
	}
	return false
}

// resumeCommand is the command line that goes on with the session.
func (r *runner) resumeCommand(retry bool) string {
	command := "reprise run --resume " + r.id
	if retry {
		command += " --retry"
	}
	return command + r.sameFlags()
}

// sameFlags are those that make another command find the same session.
func (r *runner) sameFlags() string {
	var b strings.Builder
	g := r.a.flags
	for _, flag := range [][2]string{{"nats", g.nats}, {"context", g.context}, {"data", g.data}, {"prefix", g.prefix}, {"user", g.user}} {
		if flag[1] != "" {
			b.WriteString(" --" + flag[0] + " " + quoted(flag[1]))
		}
	}
	return b.String()
}

// quoted is a word for a shell.
func quoted(word string) string {
	if strings.ContainsAny(word, " \t\n'\"$`\\&|;<>()*?[]#~!{}") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// goOn adds to an error that ended a run how to go on with its session.
func (r *runner) goOn(err error) error {
	if errors.Is(err, errStopped) || errors.Is(err, natsnode.ErrUnreachable) {
		return fmt.Errorf("%w; go on with: %s", err, r.resumeCommand(false))
	}
	return r.link.explain(err)
}

// guests is the subject on which runs answer that use the engine of another.
func (r *runner) guests() string { return r.names.Prefix() + ".run.guest" }

// visit tells the process whose engine this run uses that it is needed. It
// refuses what only an engine in this process could do.
func (r *runner) visit() error {
	if r.engine != nil {
		return nil
	}
	if err := r.f.sync.elsewhere(r.link.where); err != nil || r.a.remote() {
		return err
	}
	_, err := r.link.nc.Subscribe(r.guests(), func(msg *nats.Msg) { _ = msg.Respond(nil) })
	return err
}

// linger keeps the engine in this process for other runs that use it.
func (r *runner) linger(ctx context.Context) {
	for said := false; r.engine != nil && ctx.Err() == nil; said = true {
		if _, err := r.link.nc.Request(r.guests(), nil, guestPause); err != nil {
			return // nobody answers
		}
		if !said {
			_, _ = fmt.Fprintln(r.a.err, "reprise: other runs use the engine in this process; it stays until they end, or until an interrupt")
		}
		if pause(ctx, guestPause) != nil {
			return
		}
	}
}
