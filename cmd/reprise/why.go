package main

import (
	"fmt"
	"slices"
	"strings"

	"reprise/actions"
	"reprise/contract"
	"reprise/domain"
	"reprise/internal/term"
)

// sight is a session with what no event says of it.
type sight struct {
	*domain.Session
	// unserved are actions of ready steps that no worker serves.
	unserved []string
	// running are the last signs of life of steps in flight.
	running []contract.RunningStep
}

func sightOf(reply *contract.GetReply) sight {
	return sight{reply.Session, reply.Unserved, reply.Running}
}

// said returns what a step in flight has said last; nil for nothing.
func (s sight) said(chain, step string) *contract.Progress {
	for _, r := range s.running {
		if r.Chain == chain && r.Step == step {
			return r.Progress
		}
	}
	return nil
}

// reasons say why a session that could go on doesn't, in one line each.
func (a *app) reasons(s sight) []string {
	switch s.State {
	case domain.StatePending:
		return []string{"not started: reprise session start " + s.ID}
	case domain.StatePaused:
		return []string{a.whyPaused(s.Session)}
	case domain.StateFailed:
		if s.Error != nil && s.Error.Step != "" {
			where := s.ID + " " + s.Error.Chain + " " + s.Error.Step
			return []string{"failed: reprise step retry " + where + ", or step skip " + where}
		}
	case domain.StateRunning:
		return a.whyRunning(s)
	case domain.StateNone, domain.StateCompleted, domain.StateCancelled:
	}
	return nil
}

func (a *app) whyPaused(s *domain.Session) string {
	text := fmt.Sprintf("paused by %s %s", clean(s.PausedBy), term.Ago(a.now(), s.PausedAt))
	if s.InFlight > 0 {
		text += fmt.Sprintf("; %d still in flight", s.InFlight)
	}
	return text + ": reprise session resume " + s.ID
}

// whyRunning says what a RUNNING session with nothing in flight waits for, and
// beside steps in flight what nobody will begin.
func (a *app) whyRunning(s sight) []string {
	if s.InFlight > 0 {
		return a.notServed(s)
	}
	var reasons []string
	for _, c := range s.Chains {
		if !c.Status.Unfinished() || len(missingChains(s.Session, c)) > 0 {
			continue
		}
		if c.Open && c.Done() {
			reasons = append(reasons, fmt.Sprintf("chain %s is open: add a step, or reprise chain close %s %s", c.ID, s.ID, c.ID))
		}
		for _, step := range c.Steps {
			if why := a.blockedStep(s, c, step); why != "" {
				reasons = append(reasons, place(c.ID, step.ID)+" "+why)
			}
		}
	}
	if len(reasons) == 0 && s.KeepOpen {
		reasons = append(reasons, "kept open: add a chain, or reprise session complete "+s.ID)
	}
	return reasons
}

// notServed names the actions that no worker serves.
func (a *app) notServed(s sight) []string {
	reasons := make([]string, 0, len(s.unserved))
	for _, action := range s.unserved {
		reasons = append(reasons, noWorker+action+startOne(action))
	}
	return reasons
}

// startOne says how a worker for an action is started, where this program has one.
func startOne(action string) string {
	if slices.Contains(actions.Names(), action) {
		return "; start one with: reprise worker --actions " + action
	}
	return "; start one"
}

// blockedStep says why the next step of a chain is not running; empty for one
// that merely waits for another step.
func (a *app) blockedStep(s sight, c *domain.Chain, step *domain.Step) string {
	if step.Status != domain.StepStatusPending || len(missingSteps(c, step)) > 0 {
		return ""
	}
	if step.Manual {
		return fmt.Sprintf("waits for a person: reprise step succeed %s %s %s", s.ID, c.ID, step.ID)
	}
	why := a.whyStep(s, c, step)
	if why == noWorker+step.Action {
		why = "waits: " + why + startOne(step.Action)
	}
	return why
}

// whyStep says what a PENDING step waits for.
func (a *app) whyStep(s sight, c *domain.Chain, step *domain.Step) string {
	if step.Status != domain.StepStatusPending || s.State == domain.StateCancelled {
		return ""
	}
	if len(missingChains(s.Session, c)) > 0 {
		return ""
	}
	missing := missingSteps(c, step)
	switch {
	case len(missing) > 0:
		return "waits for step " + strings.Join(missing, ", ")
	case c.Status == domain.ChainStatusFailed:
		return "its chain failed"
	case s.State != domain.StateRunning:
		return ""
	case step.Manual:
		return "waits for a person"
	case step.NotBefore.After(a.now()):
		return fmt.Sprintf("tries again %s, at %s", term.Ago(a.now(), step.NotBefore), step.NotBefore.UTC().Format("15:04:05 UTC"))
	}
	if slices.Contains(s.unserved, step.Action) {
		return noWorker + step.Action
	}
	return "waits for a worker for " + step.Action
}

// chainNote says what an unfinished chain waits for.
func chainNote(s *domain.Session, c *domain.Chain) string {
	if !c.Status.Unfinished() {
		return ""
	}
	missing := missingChains(s, c)
	if len(missing) == 0 {
		return ""
	}
	for _, id := range missing {
		if s.Chain(id).Status == domain.ChainStatusFailed {
			return "blocked: chain " + id + " failed"
		}
	}
	return "waits for chain " + strings.Join(missing, ", ")
}

func missingChains(s *domain.Session, c *domain.Chain) []string {
	var missing []string
	for _, id := range c.WaitsFor {
		if other := s.Chain(id); other != nil && other.Status != domain.ChainStatusCompleted {
			missing = append(missing, id)
		}
	}
	return missing
}

func missingSteps(c *domain.Chain, step *domain.Step) []string {
	var missing []string
	for _, id := range step.WaitsFor {
		if other := c.Step(id); other != nil && !other.Status.Done() {
			missing = append(missing, id)
		}
	}
	return missing
}
