package features

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cucumber/godog"

	"reprise/contract"
	"reprise/domain"
)

func (w *world) thenSessions(sc *godog.ScenarioContext) {
	sc.Then(`^(\w+)'s session "([^"]*)" is ([A-Z]+)$`, w.isState)
	sc.Then(`^(\w+)'s session "([^"]*)" becomes ([A-Z]+)$`, func(user, session, state string) error {
		return eventually(func() error { return w.isState(user, session, state) })
	})
	sc.Then(`^(\w+)'s session "([^"]*)" is ([A-Z]+) or ([A-Z]+)$`, w.isEither)
	sc.Then(`^(\w+)'s session "([^"]*)" is COMPLETED or CANCELLED accordingly$`, w.isAccordingly)
	sc.Then(`^(\w+)'s session "([^"]*)" is gone$`, w.isGone)
	sc.Then(`^(\w+)'s session "([^"]*)" has not changed$`, w.unchanged)
	sc.Then(`^neither (\w+)'s session "([^"]*)" nor "([^"]*)" has changed$`, func(user, one, two string) error {
		return errors.Join(w.unchanged(user, one), w.unchanged(user, two))
	})
	sc.Then(`^(\w+)'s session "([^"]*)" has label "([^"]*)" = "([^"]*)"$`, w.hasLabel)
	sc.Then(`^(\w+)'s session "([^"]*)" has all (\d+) labels$`, w.hasAllLabels)
	sc.Then(`^(\w+)'s session "([^"]*)" has (\d+) steps?$`, w.hasSteps)
	sc.Then(`^(\w+)'s session "([^"]*)" has (\d+) steps? in flight$`, w.hasInFlight)
	sc.Then(`^(\w+)'s session "([^"]*)" was paused by (\w+)$`, w.wasPausedBy)
	sc.Then(`^(\w+)'s session "([^"]*)" looks like this:$`, w.looksLike)
	sc.Then(`^(\w+)'s session "([^"]*)" has no chain "([^"]*)"$`, w.hasNoChain)
	sc.Then(`^the chains of (\w+)'s session "([^"]*)" are "([^"]*)"$`, w.chainsAre)
	sc.Then(`^chain "([^"]*)" is in exactly one of (\w+)'s sessions (.+)$`, w.chainInOne)
	sc.Then(`^the new session is PENDING and belongs to (\w+)$`, func(user string) error {
		return w.isState(user, w.made, "PENDING")
	})
	sc.Then(`^chain "([^"]*)" of (\w+)'s session "([^"]*)" is ([A-Z]+)$`, w.chainIs)
	sc.Then(`^step "([^"]*)" of (\w+)'s session "([^"]*)" is ([A-Z]+)$`, w.stepIs)
	sc.Then(`^every step of (\w+)'s session "([^"]*)" is ([A-Z]+)$`, func(user, session, status string) error {
		s, err := w.get(user, session)
		if err != nil {
			return err
		}
		return everyStep(s, status)
	})
	sc.Then(`^it was ([A-Z]+) with every step ([A-Z]+)$`, func(state, status string) error {
		if string(w.past.State) != state {
			return fmt.Errorf("it was %s", w.past.State)
		}
		return everyStep(w.past, status)
	})
	sc.Then(`^in every state that was read the chains agree with their steps and the session with its chains$`, w.statesAgree)
}

func everyStep(s *domain.Session, status string) error {
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if string(st.Status) != status {
				return fmt.Errorf("step %s/%s is %s", c.ID, st.ID, st.Status)
			}
		}
	}
	return nil
}

func (w *world) isState(user, session, state string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	if s.ID != session || s.User != w.user(user) || string(s.State) != state {
		return fmt.Errorf("session %q of %q is %s", s.ID, s.User, s.State)
	}
	return nil
}

func (w *world) isEither(user, session, one, two string) error {
	if w.isState(user, session, one) == nil {
		return nil
	}
	return w.isState(user, session, two)
}

// isAccordingly is for a cancellation and a result at once: the session is what
// the one that was accepted made it.
func (w *world) isAccordingly(user, session string) error {
	if w.all[0].refusal == nil {
		return w.isState(user, session, "CANCELLED")
	}
	return w.isState(user, session, "COMPLETED")
}

func (w *world) isGone(user, session string) error {
	a, err := w.query(user, contract.QueryGet, contract.GetRequest{Session: session}, &contract.GetReply{})
	if err != nil {
		return err
	}
	if a.refusal == nil || a.refusal.Code != domain.CodeGone {
		return fmt.Errorf("it was answered with %s", a.msg.Data)
	}
	return nil
}

func (w *world) unchanged(user, session string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	before, known := w.seen[sessionKey{user, session}]
	if !known || s.Version != before {
		return fmt.Errorf("it was at version %d and is at %d", before, s.Version)
	}
	return nil
}

func (w *world) hasLabel(user, session, key, value string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	if got := s.Metadata[key]; got != value {
		return fmt.Errorf("the label is %q", got)
	}
	return nil
}

func (w *world) hasAllLabels(user, session string, n int) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	for i := range n {
		if s.Metadata[label(i)] != "set" {
			return fmt.Errorf("%s is missing; there are %d", label(i), len(s.Metadata))
		}
	}
	return nil
}

func (w *world) hasSteps(user, session string, n int) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	if s.StepCount() != n {
		return fmt.Errorf("it has %d steps", s.StepCount())
	}
	return nil
}

func (w *world) hasInFlight(user, session string, n int) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	if s.InFlight != n {
		return fmt.Errorf("%d are in flight", s.InFlight)
	}
	return nil
}

func (w *world) wasPausedBy(user, session, by string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	if s.PausedBy != w.user(by) || s.PausedAt.IsZero() {
		return fmt.Errorf("it was paused by %q at %s", s.PausedBy, s.PausedAt)
	}
	return nil
}

// looksLike compares chains and steps with a table.
func (w *world) looksLike(user, session string, table *godog.Table) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	for _, row := range table.Rows {
		kind, name, _ := strings.Cut(row.Cells[0].Value, " ")
		check := stepOf
		if kind == "chain" {
			check = chainOfSession
		}
		if err := check(s, name, row.Cells[1].Value); err != nil {
			return err
		}
	}
	return nil
}

func chainOfSession(s *domain.Session, name, status string) error {
	c := s.Chain(name)
	if c == nil {
		return fmt.Errorf("there is no chain %q", name)
	}
	if string(c.Status) != status {
		return fmt.Errorf("chain %q is %s", name, c.Status)
	}
	return nil
}

func stepOf(s *domain.Session, name, status string) error {
	st := s.Step(splitStep(name))
	if st == nil {
		return fmt.Errorf("there is no step %q", name)
	}
	if string(st.Status) != status {
		return fmt.Errorf("step %q is %s", name, st.Status)
	}
	return nil
}

func (w *world) chainIs(chain, user, session, status string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	return chainOfSession(s, chain, status)
}

func (w *world) stepIs(step, user, session, status string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	return stepOf(s, step, status)
}

func (w *world) hasNoChain(user, session, chain string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	if s.Chain(chain) != nil {
		return errors.New("it has")
	}
	return nil
}

func (w *world) chainsAre(user, session, list string) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	var got []string
	for _, c := range s.Chains {
		got = append(got, c.ID)
	}
	if strings.Join(got, ", ") != list {
		return fmt.Errorf("they are %v", got)
	}
	return nil
}

func (w *world) chainInOne(chain, user, sessions string) error {
	var holders []string
	for _, session := range names(sessions) {
		s, err := w.get(user, session)
		if err != nil {
			return err
		}
		if s.Chain(chain) != nil {
			holders = append(holders, session)
		}
	}
	if len(holders) != 1 {
		return fmt.Errorf("it is in %v", holders)
	}
	return nil
}

// statesAgree checks that no state that was read shows half of a change.
func (w *world) statesAgree() error {
	if len(w.states) == 0 {
		return errors.New("nothing was read")
	}
	for _, s := range w.states {
		done := true
		for _, c := range s.Chains {
			if completed := c.Status == domain.ChainStatusCompleted; completed != c.Done() {
				return disagree(s, "chain %q is %s", c.ID, c.Status)
			}
			done = done && c.Status == domain.ChainStatusCompleted
		}
		if completed := s.State == domain.StateCompleted; completed != done {
			return disagree(s, "the session is %s", s.State)
		}
	}
	return nil
}

func disagree(s *domain.Session, format string, args ...any) error {
	raw, err := json.Marshal(s)
	return errors.Join(fmt.Errorf("at version %d %s: %s", s.Version, fmt.Sprintf(format, args...), raw), err)
}
