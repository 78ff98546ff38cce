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

const verbs = `(starts|pauses|resumes|cancels|completes|deletes)`

// presentVerb is the command of "pauses", "pause" or "pausing".
func presentVerb(word string) domain.Verb {
	switch word {
	case "pausing":
		return domain.VerbPause
	case "retries":
		return domain.VerbStepRetry
	case "skips":
		return domain.VerbStepSkip
	}
	return domain.Verb(strings.TrimSuffix(word, "s"))
}

func (w *world) whenCreating(sc *godog.ScenarioContext) {
	sc.When(`^(\w+) creates session "([^"]*)"$`, func(user, session string) error {
		return w.happened(w.command(user, session, domain.VerbCreate, usual()))
	})
	sc.When(`^(\w+) creates session "([^"]*)" with chains:$`, func(user, session string, table *godog.Table) error {
		p, err := readPlan(table)
		if err != nil {
			return err
		}
		return w.happened(w.command(user, session, domain.VerbCreate, p))
	})
	sc.When(`^(\w+) creates a session without an id$`, func(user string) error {
		err := w.happened(w.command(user, "new", domain.VerbCreate, usual()))
		w.made = w.last.reply.Session
		return err
	})
	sc.When(`^(\w+) creates session "([^"]*)" with label "([^"]*)" = "([^"]*)" and input (\{.*\})$`, func(user, session, key, value, input string) error {
		p := usual().with("metadata", object{key: value}).eachStep(func(s object) { s["input"] = json.RawMessage(input) })
		return w.happened(w.command(user, session, domain.VerbCreate, p))
	})
	sc.When(`^(\w+) creates a session whose id is (.+)$`, func(user, what string) error {
		id, err := badID(what)
		if err != nil {
			return err
		}
		return w.happened(w.command(user, id, domain.VerbCreate, usual()))
	})
	sc.When(`^(\w+) creates session "([^"]*)" from a plan with (.+)$`, func(user, session, fault string) error {
		p, err := badPlan(fault)
		if err != nil {
			return err
		}
		return w.happened(w.command(user, session, domain.VerbCreate, p))
	})
}

func (w *world) whenCommanding(sc *godog.ScenarioContext) {
	sc.When(`^(\w+) `+verbs+` session "([^"]*)"$`, func(user, verb, session string) error {
		return w.happened(w.command(user, session, presentVerb(verb), nil))
	})
	sc.When(`^(\w+) (starts|pauses|deletes) session "([^"]*)" with command id "([^"]*)"$`, func(user, verb, session, id string) error {
		return w.happened(w.command(user, session, presentVerb(verb), nil, commandID(id)))
	})
	sc.When(`^(\w+) pauses session "([^"]*)" provided that it is at version (\d+)$`, func(user, session, version string) error {
		return w.happened(w.command(user, session, domain.VerbPause, nil, header(contract.HeaderExpectVersion, version)))
	})
	sc.When(`^(\w+) deletes session "([^"]*)" by force$`, func(user, session string) error {
		return w.happened(w.command(user, session, domain.VerbDelete, object{"force": true}))
	})
	sc.When(`^(\w+) forks session "([^"]*)" as "([^"]*)"$`, func(user, session, id string) error {
		return w.happened(w.command(user, session, domain.VerbFork, object{"id": id}))
	})
	sc.When(`^(\w+) tries what pausing session "([^"]*)" would do$`, func(user, session string) error {
		return w.happened(w.command(user, session, domain.VerbPause, nil, header(contract.HeaderDryRun, "true")))
	})
	sc.When(`^(\w+) sends as one batch(, each for itself,)? for session "([^"]*)":$`, w.sendsBatch)
	sc.When(`^(\w+) sends (.+) to session "([^"]*)"$`, w.sendsNonsense)
}

func (w *world) whenChanging(sc *godog.ScenarioContext) {
	sc.When(`^(\w+) (retries|skips) step "([^"]*)" of session "([^"]*)"$`, func(user, verb, step, session string) error {
		return w.happened(w.command(user, session, presentVerb(verb), aboutStep(step, "", nil)))
	})
	sc.When(`^(\w+) reports success of step "([^"]*)" of session "([^"]*)"$`, func(user, step, session string) error {
		return w.happened(w.command(user, session, domain.VerbStepSucceed, aboutStep(step, "", nil)))
	})
	sc.When(`^(\w+) reports failure of step "([^"]*)" of session "([^"]*)" with "([^"]*)"$`, func(user, step, session, message string) error {
		return w.happened(w.command(user, session, domain.VerbStepFail, aboutStep(step, "error", object{"message": message})))
	})
	sc.When(`^(\w+) sets label "([^"]*)" of session "([^"]*)" to "([^"]*)"$`, func(user, key, session, value string) error {
		return w.happened(w.command(user, session, domain.VerbMetadataSet, object{"set": object{key: value}}))
	})
	sc.When(`^(\w+) adds chain "([^"]*)" with steps "([^"]*)" to session "([^"]*)"$`, func(user, chain, steps, session string) error {
		return w.happened(w.command(user, session, domain.VerbChainAdd, chainOf(chain, names(steps)...)))
	})
	sc.When(`^(\w+) adds step "([^"]*)" to chain "([^"]*)" of session "([^"]*)"$`, func(user, step, chain, session string) error {
		body := object{"chain": chain, "step": object{"id": step, "action": "work"}}
		return w.happened(w.command(user, session, domain.VerbStepAdd, body))
	})
	sc.When(`^(\w+) (closes|removes) chain "([^"]*)" of session "([^"]*)"$`, func(user, verb, chain, session string) error {
		return w.happened(w.command(user, session, "chain."+presentVerb(verb), object{"chain": chain}))
	})
	sc.When(`^(\w+) moves chain "([^"]*)" of session "([^"]*)" to session "([^"]*)"$`, func(user, chain, from, to string) error {
		return w.happened(w.command(user, from, domain.VerbChainMove, object{"chain": chain, "to": to}))
	})
	sc.When(`^(\w+) moves chain "([^"]*)" of session "([^"]*)" to the front$`, func(user, chain, session string) error {
		return w.happened(w.command(user, session, domain.VerbChainMove, object{"chain": chain, "position": 0}))
	})
}

func (w *world) sendsBatch(user, each, session string, table *godog.Table) error {
	var commands []object
	for _, row := range table.Rows {
		commands = append(commands, object{"verb": row.Cells[0].Value})
	}
	body := object{"commands": commands}
	if each != "" {
		body["mode"] = domain.BatchEach
	}
	return w.happened(w.command(user, session, domain.VerbBatch, body))
}

// sendsNonsense sends a request that makes no sense.
func (w *world) sendsNonsense(user, what, session string) error {
	verb, body := domain.VerbPause, ""
	switch what {
	case "half a text":
		body = `{"reason":"so`
	case "an unknown field":
		body = `{"colour":"red"}`
	case "an unknown command":
		verb = "fly"
	case "a number for a name":
		body = `{"reason":5}`
	case "more than fits":
		body = `{"reason":"` + strings.Repeat("x", domain.MaxCommandBytes) + `"}`
	case "two commands in one text":
		body = `{} {}`
	default:
		return fmt.Errorf("nobody knows how to send %s", what)
	}
	return w.happened(w.command(user, session, verb, body))
}

func (w *world) whenReading(sc *godog.ScenarioContext) {
	sc.When(`^(\w+) reads session "([^"]*)"$`, func(user, session string) error {
		a, err := w.query(user, contract.QueryGet, contract.GetRequest{Session: session}, &contract.GetReply{})
		return w.happened(a, err)
	})
	sc.When(`^(\w+) reads session "([^"]*)" as it was when it had started$`, w.readsAtStart)
	sc.When(`^(\w+) lists (?:his|her) ([A-Z]+) sessions$`, func(user, state string) error {
		return w.lists(user, object{"states": []string{state}})
	})
	sc.When(`^(\w+) lists (?:his|her) sessions$`, func(user string) error { return w.lists(user, object{}) })
	sc.When(`^(\w+) lists (?:his|her) sessions (\d+) at a time$`, func(user string, limit int) error {
		return w.lists(user, object{"limit": limit})
	})
	sc.When(`^(\w+) lists (?:his|her) sessions with a FAILED step$`, func(user string) error {
		return w.lists(user, object{"stepStates": []string{"FAILED"}})
	})
	sc.When(`^(\w+) counts (?:his|her) sessions$`, func(user string) error {
		return w.demand(user, contract.QueryCount, object{}, &w.counts)
	})
}

// readsAtStart reads the session as it was at the time of its start, and at the
// version: both must be the same.
func (w *world) readsAtStart(user, session string) error {
	entries, err := w.history(user, session)
	if err != nil {
		return err
	}
	var byTime, byVersion contract.GetReply
	started := entries[1]
	if err := w.demand(user, contract.QueryAt, object{"session": session, "time": started.Time}, &byTime); err != nil {
		return err
	}
	if err := w.demand(user, contract.QueryAt, object{"session": session, "version": started.Version}, &byVersion); err != nil {
		return err
	}
	w.past = byTime.Session
	if byVersion.Session.Version != w.past.Version {
		return fmt.Errorf("by time it was at version %d, by version at %d", w.past.Version, byVersion.Session.Version)
	}
	return nil
}

// lists reads a list page by page.
func (w *world) lists(user string, request object) error {
	w.list, w.pages = nil, 0
	for {
		var page contract.ListReply
		if err := w.demand(user, contract.QueryList, request, &page); err != nil {
			return err
		}
		w.pages++
		for _, row := range page.Sessions {
			if row.User != w.user(user) {
				return fmt.Errorf("the list of %s holds a session of %s", w.user(user), row.User)
			}
			w.list = append(w.list, row.ID)
		}
		if page.Next == "" {
			return nil
		}
		if w.pages > 100 {
			return errors.New("the list has no end")
		}
		request["page"] = page.Next
	}
}

func (w *world) whenRestarting(sc *godog.ScenarioContext) {
	sc.When(`^the service is restarted$`, func() error { return w.restart(false) })
	sc.When(`^the service is restarted without its views$`, func() error { return w.restart(true) })
	sc.When(`^the service is restarted and (\w+) starts session "([^"]*)" with command id "([^"]*)" again$`, func(user, session, id string) error {
		if err := w.restart(false); err != nil {
			return err
		}
		return w.happened(w.command(user, session, domain.VerbStart, nil, commandID(id)))
	})
}

// restart restarts the scenario's own service.
func (w *world) restart(withoutViews bool) error {
	if !w.own {
		return errors.New("this scenario shares its service with others")
	}
	if err := w.keepViews(); err != nil {
		return err
	}
	w.hangUp()
	if withoutViews {
		return w.svc.restart(dropViews)
	}
	return w.svc.restart(nil)
}
