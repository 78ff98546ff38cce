package main

import (
	"fmt"
	"strings"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

// maxTreeError is how much of a step's error stands beside it.
const maxTreeError = 80

// writeTree draws chains and steps: status, name, what it is, attempts and
// duration, and what it waits for.
func (a *app) writeTree(b *strings.Builder, s sight) error {
	if len(s.Chains) == 0 {
		return nil
	}
	b.WriteByte('\n')
	table := term.NewTable(a.palette)
	for _, c := range s.Chains {
		table.Row(a.chainRow(s.Session, c)...)
		for i, step := range c.Steps {
			branch := "├─ "
			if i == len(c.Steps)-1 {
				branch = "└─ "
			}
			table.Row(a.stepRow(s, c, step, branch)...)
		}
	}
	return table.Write(b)
}

func (a *app) chainRow(s *domain.Session, c *domain.Chain) []string {
	name := term.Symbol(a.palette, c.Status) + " " + a.palette.Apply(term.Bold, c.ID)
	title := clean(c.Title)
	if c.Open {
		title = strings.TrimSpace(title + " (open)")
	}
	return []string{name, title, term.Word(a.palette, c.Status), elapsed(c.StartedAt, c.EndedAt, a.now()), a.note(chainNote(s, c))}
}

func (a *app) stepRow(s sight, c *domain.Chain, step *domain.Step, branch string) []string {
	name := a.palette.Apply(term.Dim, branch) + term.Symbol(a.palette, step.Status) + " " + step.ID
	what := step.Action
	if step.Manual {
		what = "manual"
	}
	if step.Title != "" {
		what += "  " + a.palette.Apply(term.Dim, clean(step.Title))
	}
	time := elapsed(step.StartedAt, step.EndedAt, a.now())
	if step.Attempt > 1 {
		time = strings.TrimSpace(time + fmt.Sprintf(" (attempt %d)", step.Attempt))
	}
	return []string{name, what, term.Word(a.palette, step.Status), time, a.note(a.stepNote(s, c, step))}
}

func (a *app) note(text string) string { return a.palette.Apply(term.Dim, text) }

// elapsed is how long something took, or has taken so far.
func elapsed(start, end, now time.Time) string {
	switch {
	case start.IsZero():
		return ""
	case end.IsZero() || end.Before(start):
		return term.Span(max(now.Sub(start), 0))
	}
	return term.Span(end.Sub(start))
}

// stepNote is what there is to say about one step: how far it is, its error, or
// what it waits for.
func (a *app) stepNote(s sight, c *domain.Chain, step *domain.Step) string {
	switch {
	case step.Status == domain.StepStatusRunning:
		return inHand(step, s.said(c.ID, step.ID))
	case step.Error != nil && step.Status != domain.StepStatusSuccess:
		note := term.Shorten(clean(step.Error.Message), maxTreeError)
		if why := a.whyStep(s, c, step); why != "" {
			note += "; " + why
		}
		return note
	case step.Status == domain.StepStatusPending:
		return a.whyStep(s, c, step)
	}
	return ""
}

// inHand says who is at a step, and what was heard of it last.
func inHand(step *domain.Step, said *contract.Progress) string {
	note := clean("worker " + step.Worker)
	if said == nil {
		return note
	}
	if said.Percent > 0 {
		note += fmt.Sprintf(", %d%%", said.Percent)
	}
	line := said.Line
	if line == "" && len(said.Output) > 0 {
		line = shortJSON(said.Output)
	}
	if line = clean(line); line != "" {
		note += ": " + term.Shorten(line, maxTreeError)
	}
	return note
}
