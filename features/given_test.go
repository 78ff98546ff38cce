package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

const states = `(pending|running|paused|completed|failed|cancelled|deleted)`

func (w *world) givenSessions(sc *godog.ScenarioContext) {
	sc.Given(`^"([^"]*)" is a user called (\w+)$`, func(full, name string) { w.aliases[name] = full })
	sc.Step(`^(\w+) has no session "([^"]*)"$`, w.hasNone)
	sc.Given(`^(\w+) has an? `+states+` session "([^"]*)"$`, func(user, state, session string) error {
		return w.lead(user, session, state, usual())
	})
	sc.Given(`^(\w+) has an? `+states+` session "([^"]*)" with chains:$`, w.hasWithChains)
	sc.Given(`^(\w+) has a running session "([^"]*)" that is kept open$`, func(user, session string) error {
		return w.lead(user, session, "running", usual().with("keepOpen", true))
	})
	sc.Given(`^(\w+) has a running session "([^"]*)" that goes on after failures, with chains:$`, w.hasPersistent)
	sc.Given(`^(\w+) has a running session "([^"]*)" whose steps may be tried (\d+) times$`, w.hasRetrying)
	sc.Given(`^(\w+) has a running session "([^"]*)" with an open chain "([^"]*)"$`, func(user, session, chain string) error {
		open := object{"id": chain, "open": true}
		return w.lead(user, session, "running", newPlan(chainOf("build", "compile", "test"), open))
	})
	sc.Given(`^(\w+) has a running session "([^"]*)" in which worker (\w+) has finished step "([^"]*)", with chains:$`, w.hasPartlyDone)
	sc.Given(`^(\w+) has running sessions "([^"]*)" and "([^"]*)"$`, func(user, one, two string) error {
		if err := w.lead(user, one, "running", usual()); err != nil {
			return err
		}
		return w.lead(user, two, "running", usual())
	})
	sc.Given(`^(\w+) has these sessions:$`, w.hasThese)
	sc.Given(`^operator (\w+) has put (\w+)'s session "([^"]*)" on hold$`, w.hasPutOnHold)
	sc.Given(`^(\w+) watches session "([^"]*)"$`, w.watches)
}

func (w *world) givenWork(sc *godog.ScenarioContext) {
	sc.Given(`^(\w+) has (started|paused|cancelled) session "([^"]*)"$`, func(user, verb, session string) error {
		return w.do(user, session, pastVerb(verb), nil)
	})
	sc.Given(`^(\w+) has (started|deleted) session "([^"]*)" with command id "([^"]*)"$`, func(user, verb, session, id string) error {
		return w.do(user, session, pastVerb(verb), nil, commandID(id))
	})
	sc.Given(`^(\w+) has deleted session "([^"]*)"( by force)?$`, func(user, session, force string) error {
		return w.do(user, session, domain.VerbDelete, object{"force": force != ""})
	})
	sc.Given(`^(\w+) has paused session "([^"]*)" and interrupted what was in flight$`, func(user, session string) error {
		return w.do(user, session, domain.VerbPause, object{"mode": domain.PauseInterrupt})
	})
	sc.Given(`^(\w+) has paused and resumed session "([^"]*)"$`, func(user, session string) error {
		if err := w.do(user, session, domain.VerbPause, nil); err != nil {
			return err
		}
		return w.do(user, session, domain.VerbResume, nil)
	})
	sc.Given(`^(\w+) has paused session "([^"]*)" and (\w+) has (finished|failed) its step$`, w.pausedMeanwhile)
	sc.Given(`^(\w+) has (retried|skipped) step "([^"]*)" of session "([^"]*)"$`, w.hasMended)
	sc.Given(`^(\w+) has retried step "([^"]*)" of session "([^"]*)" with input (\{.*\})$`, func(user, step, session, input string) error {
		return w.do(user, session, domain.VerbStepRetry, aboutStep(step, "input", json.RawMessage(input)))
	})
	sc.Given(`^(\w+) has skipped step "([^"]*)" of session "([^"]*)" with output (\{.*\})$`, func(user, step, session, output string) error {
		return w.do(user, session, domain.VerbStepSkip, aboutStep(step, "output", json.RawMessage(output)))
	})
	sc.Given(`^worker (\w+) is working on step "([^"]*)" of (\w+)'s session "([^"]*)"$`, w.isWorking)
	sc.Given(`^worker (\w+) is working on step "([^"]*)" of (\w+)'s running session "([^"]*)"$`, func(worker, step, user, session string) error {
		return errors.Join(w.lead(user, session, "running", usual()), w.isWorking(worker, step, user, session))
	})
	sc.Given(`^worker (\w+) has finished step "([^"]*)" of (\w+)'s (running )?session "([^"]*)"$`, func(worker, step, user, fresh, session string) error {
		return w.hasFinished(worker, step, user, fresh, session, nil)
	})
	sc.Given(`^worker (\w+) has finished step "([^"]*)" of (\w+)'s (running )?session "([^"]*)" with output (\{.*\})$`, func(worker, step, user, fresh, session, output string) error {
		return w.hasFinished(worker, step, user, fresh, session, object{"output": json.RawMessage(output)})
	})
	sc.Given(`^worker (\w+) has failed step "([^"]*)" of (\w+)'s session "([^"]*)" with "([^"]*)"$`, w.hasFailed)
	sc.Given(`^worker (\w+) has failed step "([^"]*)" of (\w+)'s session "([^"]*)" with "([^"]*)" while (\w+) was at "([^"]*)"$`, func(worker, step, user, session, message, other, elsewhere string) error {
		return errors.Join(w.isWorking(other, elsewhere, user, session), w.hasFailed(worker, step, user, session, message))
	})
	sc.Given(`^worker (\w+) has given back step "([^"]*)" of (\w+)'s session "([^"]*)"$`, w.hasGivenBack)
}

func (w *world) givenServices(sc *godog.ScenarioContext) {
	sc.Given(`^\w+ uses a service of (?:her|his) own$`, w.ownService)
	sc.Given(`^a second service shares its storage$`, func() error { return w.svc.startEngine() })
}

// pastVerb is the command of a participle.
func pastVerb(participle string) domain.Verb {
	return map[string]domain.Verb{
		"started": domain.VerbStart, "paused": domain.VerbPause, "cancelled": domain.VerbCancel,
		"deleted": domain.VerbDelete, "retried": domain.VerbStepRetry, "skipped": domain.VerbStepSkip,
	}[participle]
}

// aboutStep is the body of a command about a step, and one more field.
func aboutStep(name, key string, value any) object {
	chain, step := splitStep(name)
	body := object{"chain": chain, "step": step}
	if key != "" {
		body[key] = value
	}
	return body
}

func (w *world) hasNone(user, session string) error {
	a, err := w.query(user, contract.QueryGet, contract.GetRequest{Session: session}, &contract.GetReply{})
	if err != nil || a.refusal != nil && a.refusal.Code == domain.CodeNotFound {
		return err
	}
	return fmt.Errorf("%s has a session %q: %s", user, session, a.msg.Data)
}

func (w *world) hasWithChains(user, state, session string, table *godog.Table) error {
	p, err := readPlan(table)
	if err != nil {
		return err
	}
	return w.lead(user, session, state, p)
}

func (w *world) hasPersistent(user, session string, table *godog.Table) error {
	p, err := readPlan(table)
	if err != nil {
		return err
	}
	return w.lead(user, session, "running", p.with("onFailure", domain.FailContinue))
}

func (w *world) hasRetrying(user, session string, tries int) error {
	policy := object{"maxAttempts": tries, "backoff": "1ms", "maxBackoff": "1ms"}
	return w.lead(user, session, "running", usual().eachStep(func(s object) { s["retry"] = policy }))
}

func (w *world) hasThese(user string, table *godog.Table) error {
	for _, row := range table.Rows[1:] {
		if err := w.lead(user, row.Cells[0].Value, row.Cells[1].Value, usual()); err != nil {
			return err
		}
	}
	return nil
}

// lead creates a session and leads it to a state the way its users would.
func (w *world) lead(user, session, state string, p plan) error {
	if err := w.do(user, session, domain.VerbCreate, p); err != nil {
		return err
	}
	if state == "pending" {
		return nil
	}
	if state == "deleted" {
		return w.do(user, session, domain.VerbDelete, nil)
	}
	if err := w.do(user, session, domain.VerbStart, nil); err != nil {
		return err
	}
	switch state {
	case "paused":
		return w.do(user, session, domain.VerbPause, nil)
	case "cancelled":
		return w.do(user, session, domain.VerbCancel, nil)
	case "completed":
		a, err := w.carryOut("amber", user, session)
		return w.did(user, session, a, err)
	case "failed":
		a, err := w.fail("amber", "build/compile", user, session, object{"message": "disk full"})
		return w.did(user, session, a, err)
	}
	return nil
}

func (w *world) hasPutOnHold(operator, user, session string) error {
	subject := w.names.AdminCommand(operator, w.user(user), session, domain.VerbHold)
	a, err := w.ordered(subject, object{"reason": "evidence"})
	return w.did(user, session, a, err)
}

func (w *world) watches(user, session string) error {
	nc, err := w.conn()
	if err != nil {
		return err
	}
	if w.watch, err = nc.SubscribeSync(w.names.Live(w.user(user), session)); err != nil {
		return err
	}
	return flush(nc)
}

// flush returns when the server knows of everything sent so far.
func flush(nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

func (w *world) pausedMeanwhile(user, session, worker, how string) error {
	if err := w.do(user, session, domain.VerbPause, nil); err != nil {
		return err
	}
	if how == "failed" {
		a, err := w.fail(worker, "build/compile", user, session, object{"message": "disk full"})
		return w.did(user, session, a, err)
	}
	a, err := w.finish(worker, "build/compile", user, session, nil)
	return w.did(user, session, a, err)
}

func (w *world) hasMended(user, verb, step, session string) error {
	return w.do(user, session, pastVerb(verb), aboutStep(step, "", nil))
}

// hasFinished finishes a step; of a session of its own if that is to be fresh.
func (w *world) hasFinished(worker, step, user, fresh, session string, extra object) error {
	if fresh != "" {
		if err := w.lead(user, session, "running", usual()); err != nil {
			return err
		}
	}
	a, err := w.finish(worker, step, user, session, extra)
	return w.did(user, session, a, err)
}

func (w *world) hasFailed(worker, step, user, session, message string) error {
	a, err := w.fail(worker, step, user, session, object{"message": message})
	return w.did(user, session, a, err)
}

func (w *world) hasPartlyDone(user, session, worker, step string, table *godog.Table) error {
	if err := w.hasWithChains(user, "running", session, table); err != nil {
		return err
	}
	return w.hasFinished(worker, step, user, "", session, nil)
}

func (w *world) isWorking(worker, step, user, session string) error {
	a, err := w.claim(worker, "work", step, user, session)
	return w.did(user, session, a, err)
}

func (w *world) hasGivenBack(worker, step, user, session string) error {
	if err := w.isWorking(worker, step, user, session); err != nil {
		return err
	}
	chain, id := splitStep(step)
	k := attemptKey{worker, user, session, chain, id}
	a, err := w.labour(worker, "work", user, session, domain.VerbRelease, aboutStep(step, "attempt", w.attempt(k)))
	return w.did(user, session, a, err)
}

func (w *world) ownService() error {
	svc, err := startService(w.svc.storage, w.newDir())
	if err != nil {
		return err
	}
	w.hangUp()
	w.svc, w.own = svc, true
	return nil
}
