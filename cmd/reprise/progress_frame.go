package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"reprise/domain"
	"reprise/internal/term"
)

// spinner turns while something runs. Each picture is one column wide.
var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

const (
	// timeWidth is the column of durations, as wide as "59m59s".
	timeWidth = 6
	// nameShare bounds the column of names: one part in nameShare of the width.
	nameShare = 2
	// barWidth is that of the bar in the headline.
	barWidth = 20
	// separator stands between two remarks on a row.
	separator = " · "
)

// frame is one picture of a session.
type frame struct {
	a       *app
	session *domain.Session
	// said are the last lines of attempts in this process.
	said map[domain.StepRef]string
	// hints say what the session waits for.
	hints []string
	// spin turns the spinner; below 0 it is the last picture.
	spin          int
	width, height int
}

// row is a line of the tree.
type row struct {
	branch, symbol, name string
	bold                 bool
	took                 string
	text                 string
	style                term.Style
}

// lines draws the picture within width and height.
func (f *frame) lines() []string {
	head := []string{f.headline(), ""}
	var foot []string
	for _, hint := range f.hints {
		if len(foot) == 0 {
			foot = append(foot, "")
		}
		foot = append(foot, f.a.palette.Apply(term.Yellow, fit("→ "+clean(hint), f.width)))
	}
	room := max(f.height-1-len(head)-len(foot), 1)
	tree := f.tree(room)
	nameWidth := 0
	for _, r := range tree {
		nameWidth = max(nameWidth, cells(r.branch)+2+cells(r.name))
	}
	nameWidth = min(nameWidth, f.width/nameShare)
	lines := head
	for _, r := range tree {
		lines = append(lines, f.line(r, nameWidth))
	}
	return append(lines, foot...)
}

// headline has state, id, time and how much is done.
func (f *frame) headline() string {
	s, p := f.session, f.a.palette
	done, all := doneSteps(s)
	text := fmt.Sprintf("%d of %s", done, plural(all, "step"))
	symbol := f.symbol(string(s.State), s.State == domain.StateRunning)
	if pausing := s.State == domain.StatePaused && s.InFlight > 0; pausing {
		text = fmt.Sprintf("%s, %d in flight", text, s.InFlight)
	}
	took := ""
	if !s.StartedAt.IsZero() {
		took = elapsed(s.StartedAt, s.EndedAt, f.a.now())
	}
	plain := 2 + cells(s.ID) + 2 + len(s.State) + 2 + cells(took) + 2 + barWidth + 2 + cells(text)
	line := symbol + " " + p.Apply(term.Bold, fit(s.ID, f.width-4-len(s.State))) + "  " + term.Word(p, s.State)
	switch {
	case plain <= f.width:
		return line + "  " + p.Apply(term.Dim, took) + "  " + f.bar(done, all) + "  " + p.Apply(term.Dim, text)
	case plain-barWidth-2 <= f.width:
		return line + "  " + p.Apply(term.Dim, took+"  "+text)
	}
	return line
}

// bar shows a share.
func (f *frame) bar(done, all int) string {
	full := 0
	if all > 0 {
		full = done * barWidth / all
	}
	return f.a.palette.Apply(term.Green, strings.Repeat("━", full)) + f.a.palette.Apply(term.Dim, strings.Repeat("─", barWidth-full))
}

// symbol is that of a state, or a spinner while it runs.
func (f *frame) symbol(state string, turning bool) string {
	if turning && f.spin >= 0 {
		return f.a.palette.Apply(term.Blue, spinner[f.spin%len(spinner)])
	}
	return term.Symbol(f.a.palette, state)
}

// tree makes the rows; what doesn't fit is folded: first chains that are done,
// then those that haven't begun, then the rest from its end.
func (f *frame) tree(room int) []row {
	s := f.session
	folded := make([]bool, len(s.Chains))
	count := len(s.Chains) + s.StepCount()
	for _, status := range []domain.ChainStatus{domain.ChainStatusCompleted, domain.ChainStatusPending} {
		for i, c := range s.Chains {
			if count > room && c.Status == status && len(c.Steps) > 0 {
				folded[i], count = true, count-len(c.Steps)
			}
		}
	}
	var rows []row
	for i, c := range s.Chains {
		rows = append(rows, f.chain(c, folded[i]))
		if folded[i] {
			continue
		}
		for j, st := range c.Steps {
			branch := "├─ "
			if j == len(c.Steps)-1 {
				branch = "└─ "
			}
			rows = append(rows, f.step(c, st, branch))
		}
	}
	if len(rows) > room {
		hidden := len(rows) - room + 1
		rows = append(rows[:room-1], row{symbol: " ", name: fmt.Sprintf("… %d more lines", hidden), style: term.Dim})
	}
	return rows
}

func (f *frame) chain(c *domain.Chain, folded bool) row {
	r := row{symbol: f.symbol(string(c.Status), c.Status == domain.ChainStatusRunning && c.Running() > 0), name: c.ID, bold: true, style: term.Dim}
	r.took = elapsed(c.StartedAt, c.EndedAt, f.a.now())
	parts := []string{clean(c.Title)}
	if folded {
		parts = append(parts, plural(len(c.Steps), "step"))
	}
	if c.Open {
		parts = append(parts, "open")
	}
	parts = append(parts, chainNote(f.session, c))
	r.text = strings.Join(nonEmpty(parts), separator)
	return r
}

func (f *frame) step(c *domain.Chain, st *domain.Step, branch string) row {
	running := st.Status == domain.StepStatusRunning
	r := row{branch: branch, symbol: f.symbol(string(st.Status), running), name: st.ID, style: term.Dim}
	if st.Status != domain.StepStatusPending {
		r.took = elapsed(st.StartedAt, st.EndedAt, f.a.now())
	}
	parts := []string{f.tries(st)}
	switch {
	case running:
		parts = append(parts, f.doing(c, st))
		r.style = term.Plain
	case st.Status == domain.StepStatusSkipped:
		parts = append(parts, "skipped", clean(st.Title))
	case st.Status.Broken() && st.Error != nil:
		parts = append(parts, clean(st.Error.Message))
		r.style = term.Red
	case st.Status == domain.StepStatusPending && st.Error != nil:
		parts = append(parts, f.waits(c, st), clean(st.Error.Message))
		r.style = term.Yellow
	case st.Status == domain.StepStatusPending:
		parts = append(parts, clean(st.Title), f.waits(c, st))
	default:
		parts = append(parts, clean(st.Title))
	}
	r.text = strings.Join(nonEmpty(parts), separator)
	return r
}

// waits says what a PENDING step waits for, where that is not another step.
func (f *frame) waits(c *domain.Chain, st *domain.Step) string {
	switch {
	case len(missingSteps(c, st)) > 0:
		return ""
	case f.session.State == domain.StateRunning && st.NotBefore.After(f.a.now()):
		return "tries again " + soon(st.NotBefore.Sub(f.a.now()))
	}
	return f.a.whyStep(sight{Session: f.session}, c, st)
}

// tries says which attempt it is, unless the first one is all there is to say.
func (f *frame) tries(st *domain.Step) string {
	switch st.Status {
	case domain.StepStatusRunning:
		if st.Attempt > 1 {
			return triesOf(st, st.Attempt)
		}
	case domain.StepStatusSuccess, domain.StepStatusFailed, domain.StepStatusTimeout:
		if st.Attempt > 1 {
			return fmt.Sprintf("attempt %d", st.Attempt)
		}
	case domain.StepStatusPending, domain.StepStatusSkipped, domain.StepStatusCancelled:
	}
	return ""
}

// doing is the last line of a step that runs here, else its title, or who runs it.
func (f *frame) doing(c *domain.Chain, st *domain.Step) string {
	if line := f.said[domain.StepRef{Chain: c.ID, Step: st.ID}]; line != "" {
		return strings.TrimSpace(clean(line))
	}
	if st.Title != "" {
		return clean(st.Title)
	}
	if !strings.HasPrefix(st.Worker, runWorker) {
		return clean("worker " + st.Worker)
	}
	return ""
}

// line lays one row out.
func (f *frame) line(r row, nameWidth int) string {
	p := f.a.palette
	name := fit(r.name, max(nameWidth-cells(r.branch)-2, 1))
	plain := cells(r.branch) + 2 + cells(name)
	styled := name
	if r.bold {
		styled = p.Apply(term.Bold, name)
	}
	line := p.Apply(term.Dim, r.branch) + r.symbol + " " + styled
	rest := f.width - nameWidth - 2 - timeWidth - 2
	if r.took == "" && r.text == "" || rest < 1 {
		return line
	}
	line += strings.Repeat(" ", max(nameWidth-plain, 0)) + "  " + p.Apply(term.Dim, strings.Repeat(" ", max(0, timeWidth-cells(r.took)))+r.took)
	if r.text != "" {
		line += "  " + p.Apply(r.style, fit(r.text, rest))
	}
	return line
}

// doneSteps counts the steps that are SUCCESS or SKIPPED, and all.
func doneSteps(s *domain.Session) (done, all int) {
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			all++
			if st.Status.Done() {
				done++
			}
		}
	}
	return done, all
}

// unmarshal reads the data of an event.
func unmarshal(data json.RawMessage, event domain.Event) error { return json.Unmarshal(data, event) }

// soon is a time that is left, in words.
func soon(left time.Duration) string {
	if left < time.Second {
		return "now"
	}
	return "in " + term.Span(left.Round(time.Second))
}
