package features

import (
	"fmt"

	"github.com/cucumber/godog"

	"reprise/contract"
)

// waiting are the steps about what sessions wait for.
func (w *world) waiting(sc *godog.ScenarioContext) {
	sc.When(`^(\w+) lists (?:her|his) sessions that wait for "([^"]*)"$`, func(user, kinds string) error {
		return w.lists(user, object{"waiting": names(kinds)})
	})
	sc.When(`^(\w+) asks for (?:her|his) sessions that wait for "([^"]*)"$`, func(user, kinds string) error {
		return w.happened(w.query(user, contract.QueryList, object{"waiting": names(kinds)}, nil))
	})
	sc.Then(`^(\w+)'s list of sessions that wait for "([^"]*)" comes to name "([^"]*)"$`, func(user, kinds, list string) error {
		return eventually(func() error {
			if err := w.lists(user, object{"waiting": names(kinds)}); err != nil {
				return err
			}
			return w.listNames(list)
		})
	})
	sc.Then(`^(\w+)'s session "([^"]*)" waits for "(\w+)" and nothing else$`, func(user, session, kind string) error {
		return eventually(func() error { return w.waitsFor(user, session, kind) })
	})
	sc.Then(`^step "([^"]*)" of (\w+)'s session "([^"]*)" is seen in the hands of (\w+) with the output (\{.*\})$`, func(step, user, session, worker, output string) error {
		return eventually(func() error { return w.puts(step, user, session, worker, output) })
	})
}

func (w *world) waitsFor(user, session, kind string) error {
	var reply contract.GetReply
	if err := w.demand(user, contract.QueryGet, contract.GetRequest{Session: session}, &reply); err != nil {
		return err
	}
	if len(reply.Waiting) != 1 || string(reply.Waiting[0]) != kind {
		return fmt.Errorf("it waits for %v", reply.Waiting)
	}
	return nil
}

func (w *world) puts(step, user, session, worker, output string) error {
	var reply contract.GetReply
	if err := w.demand(user, contract.QueryGet, contract.GetRequest{Session: session}, &reply); err != nil {
		return err
	}
	chain, id := splitStep(step)
	for _, r := range reply.Running {
		if r.Chain == chain && r.Step == id && r.Worker == w.user(worker) && r.Progress != nil {
			return sameJSON(r.Progress.Output, []byte(output))
		}
	}
	return fmt.Errorf("in flight are %+v", reply.Running)
}
