package features

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cucumber/godog"

	"reprise/contract"
	"reprise/domain"
)

// backoff is the pause before the second try of a step; the pause before the
// third is twice as long.
const backoff = 100 * time.Millisecond

// execution is what a scenario knows of workers that run on their own.
type execution struct {
	*world

	crew *crew
}

func (w *world) execution(sc *godog.ScenarioContext) {
	x := &execution{world: w, crew: newCrew(fmt.Sprintf("work-%d", w.number))}
	x.givenCrew(sc)
	x.whenCarriedOut(sc)
	x.thenCarriedOut(sc)
	x.thenTold(sc)
	sc.After(func(ctx context.Context, _ *godog.Scenario, _ error) (context.Context, error) {
		return ctx, x.crew.dismiss()
	})
}

func (x *execution) givenCrew(sc *godog.ScenarioContext) {
	sc.Given(`^(\w+) has a running session "([^"]*)" for workers on duty:$`, x.hasForWorkers)
	sc.Given(`^worker (\w+) is on duty$`, func(worker string) error {
		return x.crew.hire(x.svc, x.user(worker), usualLease)
	})
	sc.Given(`^worker (\w+) is on duty and at "([^"]*)" of (\w+)'s session "([^"]*)"$`, func(worker, step, user, session string) error {
		return x.isOnDutyAt(worker, usualLease, step, user, session)
	})
	sc.Given(`^worker (\w+), who may be silent for six seconds, is on duty and at "([^"]*)" of (\w+)'s session "([^"]*)"$`, func(worker, step, user, session string) error {
		return x.isOnDutyAt(worker, shortLease, step, user, session)
	})
	sc.Given(`^worker (\w+) has carried out (\w+)'s session "([^"]*)" until it was ([A-Z]+)$`, func(worker, user, session, state string) error {
		if err := x.crew.hire(x.svc, x.user(worker), usualLease); err != nil {
			return err
		}
		return eventually(func() error { return x.isState(user, session, state) })
	})
	sc.Given(`^(\w+) has paused session "([^"]*)" and worker \w+ has come to the end of "([^"]*)"$`, x.pausedUntilQuiet)
}

func (x *execution) whenCarriedOut(sc *godog.ScenarioContext) {
	sc.When(`^worker \w+ comes to the end of "([^"]*)" of (\w+)'s session "([^"]*)"$`, x.comesToEnd)
	sc.When(`^worker (\w+) falls silent$`, func(worker string) error { return x.crew.silence(x.user(worker)) })
	sc.When(`^worker (\w+) comes on duty$`, func(worker string) error {
		return x.crew.hire(x.svc, x.user(worker), usualLease)
	})
	sc.When(`^(\w+) pauses session "([^"]*)" and interrupts what is in flight$`, func(user, session string) error {
		return x.happened(x.command(user, session, domain.VerbPause, object{"mode": domain.PauseInterrupt}))
	})
}

func (x *execution) thenCarriedOut(sc *godog.ScenarioContext) {
	sc.Then(`^worker (\w+) is at "([^"]*)" of (\w+)'s session "([^"]*)"$`, func(worker, step, user, session string) error {
		return eventually(func() error { return x.isAt(worker, step, user, session) })
	})
	sc.Then(`^nobody begins "([^"]*)" of (\w+)'s session "([^"]*)"$`, x.nobodyBegins)
	sc.Then(`^the workers complete (\w+)'s session "([^"]*)", beginning "([^"]*)" in this order$`, x.complete)
	sc.Then(`^"([^"]*)" of (\w+)'s session "([^"]*)" went through "([^"]*)"$`, x.wentThrough)
	sc.Then(`^"([^"]*)" of (\w+)'s session "([^"]*)" comes to go through "([^"]*)"$`, func(step, user, session, list string) error {
		return eventually(func() error { return x.wentThrough(step, user, session, list) })
	})
	sc.Then(`^(\w+)'s session "([^"]*)" was RUNNING from the retry until it became ([A-Z]+)$`, x.runningMeanwhile)
	sc.Then(`^the tries of "([^"]*)" of (\w+)'s session "([^"]*)" are further and further apart$`, x.furtherApart)
}

func (x *execution) thenTold(sc *godog.ScenarioContext) {
	sc.Then(`^the worker at "([^"]*)" of \w+'s session "([^"]*)" is told to stop because "([^"]*)"$`, x.toldToStop)
	sc.Then(`^the worker at "([^"]*)" of \w+'s session "([^"]*)" hears that the session is ([A-Z]+)$`, x.hears)
	sc.Then(`^the worker of "([^"]*)" of \w+'s session "([^"]*)" was told that "([^"]*)" was skipped$`, func(step, session, before string) error {
		a, err := x.crew.latest(stepKey(session, step))
		if err == nil && !a.Skipped(before) {
			err = fmt.Errorf("it was told %+v", a.Outputs)
		}
		return err
	})
	sc.Then(`^the worker of "([^"]*)" of \w+'s session "([^"]*)" was handed the output (\{.*\}) of "([^"]*)"$`, func(step, session, output, before string) error {
		a, err := x.crew.latest(stepKey(session, step))
		if err != nil {
			return err
		}
		return sameJSON(a.Outputs[before].Output, []byte(output))
	})
	sc.Then(`^the stack of "([^"]*)" of (\w+)'s session "([^"]*)" shows where it panicked$`, x.showsPanic)
}

// hasForWorkers creates and starts a session. The columns are step, what it
// does, how many tries it has, its time limit, and what its chain waits for.
func (x *execution) hasForWorkers(user, session string, table *godog.Table) error {
	p := plan{}
	for _, row := range table.Rows[1:] {
		cells := map[string]string{}
		for i, cell := range row.Cells {
			cells[table.Rows[0].Cells[i].Value] = cell.Value
		}
		if err := x.readStep(p, session, cells); err != nil {
			return err
		}
	}
	return x.lead(user, session, "running", p)
}

// readStep adds a step to the plan.
func (x *execution) readStep(p plan, session string, cells map[string]string) (err error) {
	chain, id := splitStep(cells["step"])
	step := object{"id": id, "action": x.crew.action}
	if limit := cells["time limit"]; limit != "" {
		step["timeout"] = limit
	}
	if tries := cells["tries"]; tries != "" {
		n := 0
		_, err = fmt.Sscan(tries, &n)
		step["retry"] = object{"maxAttempts": n, "backoff": backoff.String(), "factor": 2}
	}
	x.addStep(p, chain, names(cells["waits for"]), step)
	how, wrong := readConduct(cells["does"])
	x.crew.expect(stepKey(session, cells["step"]), how)
	return errors.Join(err, wrong)
}

// addStep adds a step to its chain, and the chain if it is new.
func (x *execution) addStep(p plan, chain string, waits []string, step object) {
	chains, _ := p["chains"].([]object)
	i := slices.IndexFunc(chains, func(c object) bool { return c["id"] == chain })
	if i < 0 {
		i = len(chains)
		chains = append(chains, object{"id": chain, "steps": []object{}, "waitsFor": waits})
	}
	steps, _ := chains[i]["steps"].([]object)
	chains[i]["steps"] = append(steps, step)
	p["chains"] = chains
}

// isAt looks whether a worker is at a step, and the service knows it.
func (x *execution) isAt(worker, step, user, session string) error {
	a, err := x.crew.latest(stepKey(session, step))
	if err != nil {
		return err
	}
	if a.over || a.worker != x.user(worker) {
		return fmt.Errorf("attempt %d is %s's, over: %v", a.Attempt, a.worker, a.over)
	}
	st, err := x.step(step, user, session)
	if err != nil {
		return err
	}
	if st.Status != domain.StepStatusRunning || st.Attempt != a.Attempt || st.Worker != a.worker {
		return fmt.Errorf("it is %s in attempt %d of %q", st.Status, st.Attempt, st.Worker)
	}
	return nil
}

func (x *execution) isOnDutyAt(worker string, lease time.Duration, step, user, session string) error {
	if err := x.crew.hire(x.svc, x.user(worker), lease); err != nil {
		return err
	}
	return eventually(func() error { return x.isAt(worker, step, user, session) })
}

func (x *execution) pausedUntilQuiet(user, session, step string) error {
	if err := x.do(user, session, domain.VerbPause, nil); err != nil {
		return err
	}
	return x.comesToEnd(step, user, session)
}

// comesToEnd lets a step go and waits until its result is known.
func (x *execution) comesToEnd(step, user, session string) error {
	x.crew.let(stepKey(session, step))
	return eventually(func() error {
		st, err := x.step(step, user, session)
		if err == nil && !slices.Contains([]domain.StepStatus{domain.StepStatusSuccess, domain.StepStatusFailed}, st.Status) {
			err = fmt.Errorf("it is %s", st.Status)
		}
		return err
	})
}

func (x *execution) complete(user, session, list string) error {
	if err := eventually(func() error { return x.isState(user, session, "COMPLETED") }); err != nil {
		return err
	}
	if got := strings.Join(x.crew.order(session), ", "); got != list {
		return fmt.Errorf("they began %q", got)
	}
	return nil
}

// nobodyBegins has the workers carry out a session that was started later: what
// they would have begun before is begun by then.
func (x *execution) nobodyBegins(step, user, session string) error {
	const later = "later"
	p := plan{}
	x.addStep(p, "proof", nil, object{"id": "only", "action": x.crew.action})
	if err := x.lead(user, later, "running", p); err != nil {
		return err
	}
	if err := eventually(func() error { return x.isState(user, later, "COMPLETED") }); err != nil {
		return err
	}
	if n := len(x.crew.stints(stepKey(session, step))); n != 0 {
		return fmt.Errorf("it was begun %d times", n)
	}
	return x.inAttempt(step, user, session, 0)
}

// stepEvents lists the events of one step with the entries they are in.
func (x *execution) stepEvents(step, user, session string) ([]domain.EventType, []contract.CommitEntry, error) {
	entries, err := x.history(user, session)
	if err != nil {
		return nil, nil, err
	}
	chain, id := splitStep(step)
	var types []domain.EventType
	var in []contract.CommitEntry
	for _, entry := range entries {
		for _, e := range entry.Events {
			if e.Chain == chain && e.Step == id && strings.HasPrefix(string(e.Type), "step.") {
				types, in = append(types, e.Type), append(in, entry)
			}
		}
	}
	return types, in, nil
}

func (x *execution) wentThrough(step, user, session, list string) error {
	types, _, err := x.stepEvents(step, user, session)
	if err != nil {
		return err
	}
	var got []string
	for _, t := range types {
		got = append(got, strings.TrimPrefix(string(t), "step."))
	}
	if strings.Join(got, ", ") != list {
		return fmt.Errorf("it went through %v", got)
	}
	return nil
}

// runningMeanwhile waits for the end, and looks at every entry of the history
// since the last retry.
func (x *execution) runningMeanwhile(user, session, end string) error {
	if err := eventually(func() error { return x.isState(user, session, end) }); err != nil {
		return err
	}
	entries, err := x.history(user, session)
	if err != nil {
		return err
	}
	retried := -1
	for i, e := range entries {
		if e.Cause == domain.VerbStepRetry {
			retried = i
		}
	}
	if retried < 0 {
		return errors.New("nothing was retried")
	}
	last := len(entries) - 1
	for _, e := range entries[retried:last] {
		if e.State != domain.StateRunning {
			return fmt.Errorf("it was %s after %s", e.State, typesOf(e.Events))
		}
	}
	return nil
}

// furtherApart looks at the pauses between a failure and the next try.
func (x *execution) furtherApart(step, user, session string) error {
	types, in, err := x.stepEvents(step, user, session)
	if err != nil {
		return err
	}
	least, pauses := backoff, 0
	for i := 1; i < len(types); i++ {
		if types[i] != domain.TypeStepStarted || types[i-1] != domain.TypeStepFailed {
			continue
		}
		if pause := in[i].Time.Sub(in[i-1].Time); pause < least {
			return fmt.Errorf("pause %d was %s, want %s at least", pauses+1, pause, least)
		}
		least, pauses = 2*least, pauses+1
	}
	if pauses < 2 {
		return fmt.Errorf("there were %d pauses", pauses)
	}
	return nil
}

func (x *execution) toldToStop(step, session, why string) error {
	return eventually(func() error {
		a, err := x.crew.latest(stepKey(session, step))
		if err != nil {
			return err
		}
		if a.cause == nil {
			return errors.New("it was told nothing")
		}
		if !strings.Contains(a.cause.Error(), why) {
			return fmt.Errorf("it was told something else: %w", a.cause)
		}
		return nil
	})
}

func (x *execution) hears(step, session, state string) error {
	return eventually(func() error {
		a, err := x.crew.latest(stepKey(session, step))
		if err == nil && string(a.State()) != state {
			err = fmt.Errorf("it has heard of %s", a.State())
		}
		return err
	})
}

func (x *execution) showsPanic(step, user, session string) error {
	st, err := x.step(step, user, session)
	if err != nil {
		return err
	}
	if st.Error == nil || st.Error.Code != "panic" || !strings.Contains(st.Error.Stack, "crew_test.go") {
		return fmt.Errorf("the error is %+v", st.Error)
	}
	return nil
}
