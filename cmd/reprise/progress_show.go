package main

import (
	"fmt"
	"strings"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

// display shows a run. Its methods are for one goroutine, but notice for any.
type display interface {
	// commit shows what has happened; s is the session after it.
	commit(entry contract.CommitEntry, s *domain.Session)
	// picture shows how things stand.
	picture(b *board)
	// hint says what the session waits for, once.
	hint(text string)
	// notice says something about the run itself.
	notice(text string)
	// close leaves the terminal as it was; a display may be closed again.
	close()
}

// newDisplay chooses by where it goes, and by --progress.
func (r *runner) newDisplay() display {
	a := r.a
	tree := r.f.progress == progressTree || r.f.progress == progressAuto && term.IsTerminal(a.out) && a.getenv("TERM") != "dumb"
	if tree && a.flags.format() == formatTable {
		return newTreeDisplay(r)
	}
	return &lineDisplay{a: a, said: map[string]bool{}}
}

// lineDisplay writes a line for each event, or with -o json one for each commit.
// What is no event goes to stderr.
type lineDisplay struct {
	a    *app
	said map[string]bool
}

func (d *lineDisplay) picture(*board) {}

func (d *lineDisplay) close() {}

func (d *lineDisplay) notice(text string) {
	_, _ = fmt.Fprintln(d.a.err, "reprise: "+term.Safe(text))
}

func (d *lineDisplay) hint(text string) {
	if !d.said[text] {
		d.said[text] = true
		d.notice(text)
	}
}

func (d *lineDisplay) commit(entry contract.CommitEntry, s *domain.Session) {
	if d.a.flags.format() != formatTable {
		_ = d.a.line(entry) // the pipe is gone, and the run goes on
		return
	}
	at := entry.Time.In(d.a.zone).Format("15:04:05.000")
	for _, e := range entry.Events {
		_, _ = fmt.Fprintln(d.a.out, strings.TrimRight(fmt.Sprintf("%s  %-17s  %s", at, e.Type, joinWords(subject(e, s), detail(e, s))), " "))
	}
}

// subject is what an event is about.
func subject(e contract.EventSummary, s *domain.Session) string {
	if e.Type == domain.TypeSessionCreated {
		return s.ID
	}
	return place(e.Chain, e.Step)
}

// detail is what there is to say about an event in words.
func detail(e contract.EventSummary, s *domain.Session) string {
	event := domain.NewEvent(e.Type)
	step := s.Step(e.Chain, e.Step)
	if event == nil || step == nil || unmarshal(e.Data, event) != nil {
		return ""
	}
	switch event := event.(type) {
	case *domain.StepStarted:
		return triesOf(step, event.Attempt)
	case *domain.StepSucceeded:
		return elapsed(step.StartedAt, step.EndedAt, step.EndedAt)
	case *domain.StepFailed:
		return broken(*event)
	case *domain.StepTimedOut:
		return broken(domain.StepFailed(*event))
	case *domain.StepReleased:
		return event.Reason
	case *domain.StepSkipped:
		return clean(event.Reason)
	}
	return ""
}

// broken says what went wrong with an attempt, and what comes next.
func broken(e domain.StepFailed) string {
	text := fmt.Sprintf("attempt %d: %s", e.Attempt, term.Shorten(clean(e.Failure.Message), maxShownData))
	if e.WillRetry {
		text += "; tries again in " + term.Span(e.Backoff.Std())
	}
	return text
}

// triesOf says which attempt it is, unless it is the only one.
func triesOf(step *domain.Step, attempt int) string {
	switch {
	case step.Retry != nil && step.Retry.MaxAttempts > 1 && step.Tries < step.Retry.MaxAttempts:
		return fmt.Sprintf("try %d of %d", step.Tries+1, step.Retry.MaxAttempts)
	case attempt > 1:
		return fmt.Sprintf("attempt %d", attempt)
	}
	return ""
}

func joinWords(words ...string) string {
	return strings.Join(nonEmpty(words), "  ")
}

func nonEmpty(words []string) []string {
	var rest []string
	for _, w := range words {
		if w != "" {
			rest = append(rest, w)
		}
	}
	return rest
}

// noticeWriter makes a notice of every line of a log.
type noticeWriter struct{ show display }

// Write shows the line.
func (w noticeWriter) Write(p []byte) (int, error) {
	w.show.notice(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// treeDisplay draws the session on a terminal, again and again in one place.
type treeDisplay struct {
	r      *runner
	screen *screen
	spin   int
	last   *board
	// stay ends the care for a stop by the shell.
	stay func()
}

func newTreeDisplay(r *runner) *treeDisplay {
	d := &treeDisplay{r: r, screen: newScreen(r.a.out, terminalSize)}
	d.stay = onSuspend(d.screen.suspend)
	return d
}

func (d *treeDisplay) commit(contract.CommitEntry, *domain.Session) {}

func (d *treeDisplay) hint(string) {}

func (d *treeDisplay) notice(text string) {
	d.screen.above(d.r.a.palette.Apply(term.Yellow, "reprise: "+term.Safe(text)))
}

func (d *treeDisplay) picture(b *board) {
	d.last = b
	d.spin++
	d.draw(d.spin)
}

func (d *treeDisplay) draw(spin int) {
	s := d.last.Session()
	if s.Version == 0 {
		return
	}
	f := frame{
		a: d.r.a, session: s, said: d.last.lastLines(), spin: spin,
	}
	if spin >= 0 {
		f.hints = d.r.hints(s)
	}
	f.width, f.height = d.screen.bounds()
	d.screen.draw(f.lines())
}

// close leaves the last picture where it is.
func (d *treeDisplay) close() {
	if d.last == nil && d.r.board != nil {
		d.last = d.r.board
	}
	if d.last != nil && d.screen.open {
		d.draw(-1)
	}
	d.screen.close()
	d.stay()
}
