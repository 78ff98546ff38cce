package features

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/cucumber/godog"

	"reprise/contract"
	"reprise/domain"
)

func (w *world) whenWorking(sc *godog.ScenarioContext) {
	sc.When(`^worker (\w+) starts step "([^"]*)" of (\w+)'s session "([^"]*)"$`, func(worker, step, user, session string) error {
		return w.happened(w.claim(worker, "work", step, user, session))
	})
	sc.When(`^worker (\w+), who only paints, starts step "([^"]*)" of (\w+)'s session "([^"]*)"$`, func(worker, step, user, session string) error {
		return w.happened(w.claim(worker, "paint", step, user, session))
	})
	sc.When(`^worker (\w+) finishes step "([^"]*)" of (\w+)'s session "([^"]*)"$`, func(worker, step, user, session string) error {
		return w.happened(w.finish(worker, step, user, session, nil))
	})
	sc.When(`^worker (\w+) finishes step "([^"]*)" of (\w+)'s session "([^"]*)" and asks for the next$`, func(worker, step, user, session string) error {
		return w.happened(w.finish(worker, step, user, session, object{"claimNext": true}))
	})
	sc.When(`^worker (\w+) finishes step "([^"]*)" of (\w+)'s session "([^"]*)" with (\d+) KB of output$`, w.finishesLarge)
	sc.When(`^worker (\w+) finishes (\w+)'s step "([^"]*)" of (\w+)'s session "([^"]*)"$`, w.finishesForeign)
	sc.When(`^worker (\w+) fails step "([^"]*)" of (\w+)'s session "([^"]*)" with "([^"]*)"$`, func(worker, step, user, session, message string) error {
		return w.happened(w.fail(worker, step, user, session, object{"message": message}))
	})
	sc.When(`^worker (\w+) fails step "([^"]*)" of (\w+)'s session "([^"]*)" for good with "([^"]*)"$`, func(worker, step, user, session, message string) error {
		return w.happened(w.fail(worker, step, user, session, object{"message": message, "retryable": false}))
	})
	sc.When(`^worker (\w+) fails step "([^"]*)" of (\w+)'s session "([^"]*)" with code "([^"]*)", message "([^"]*)" and a stack trace of (\d+) lines$`, w.failsWithStack)
}

// claim asks for a step and notes the attempt.
func (w *world) claim(worker, action, step, user, session string) (answer, error) {
	a, err := w.labour(worker, action, user, session, domain.VerbClaim, aboutStep(step, "", nil))
	if err == nil && a.refusal == nil {
		err = w.note(worker, user, session, a.reply.Claimed)
	}
	return a, err
}

func (w *world) note(worker, user, session string, got *contract.Assignment) error {
	if got == nil {
		return errors.New("the claim was accepted without an assignment")
	}
	w.setAttempt(attemptKey{worker, user, session, got.Chain, got.Step}, got.Attempt)
	return nil
}

// report ends a worker's attempt at a step. A worker who has none begins one,
// as soon as the step is due.
func (w *world) report(worker, step, user, session string, verb domain.Verb, extra object) (answer, error) {
	chain, id := splitStep(step)
	k := attemptKey{worker, user, session, chain, id}
	if w.attempt(k) == 0 {
		a, err := w.claimWhenDue(worker, step, user, session)
		if err != nil || a.refusal != nil {
			return a, err
		}
	}
	body := aboutStep(step, "attempt", w.attempt(k))
	maps.Copy(body, extra)
	a, err := w.labour(worker, "work", user, session, verb, body)
	if err == nil && a.refusal == nil {
		w.setAttempt(k, 0)
	}
	return a, err
}

// claimWhenDue waits for the pause between two tries to pass.
func (w *world) claimWhenDue(worker, step, user, session string) (a answer, err error) {
	waited := eventually(func() error {
		a, err = w.claim(worker, "work", step, user, session)
		if err == nil && a.refusal != nil && strings.Contains(a.refusal.Message, "it is due at") {
			return a.err()
		}
		return nil
	})
	return a, errors.Join(err, waited)
}

func (w *world) finish(worker, step, user, session string, extra object) (answer, error) {
	return w.report(worker, step, user, session, domain.VerbSucceed, extra)
}

func (w *world) fail(worker, step, user, session string, failure object) (answer, error) {
	return w.report(worker, step, user, session, domain.VerbFail, object{"error": failure})
}

// carryOut finishes whatever is ready until nothing is.
func (w *world) carryOut(worker, user, session string) (last answer, err error) {
	for {
		s, err := w.get(user, session)
		if err != nil {
			return last, err
		}
		ready := s.Ready()
		if len(ready) == 0 {
			return last, nil
		}
		for _, r := range ready {
			last, err = w.finish(worker, r.Chain+"/"+r.Step, user, session, nil)
			if err != nil || last.refusal != nil {
				return last, errors.Join(err, last.err())
			}
		}
	}
}

func (w *world) finishesLarge(worker, step, user, session string, kilobytes int) error {
	text := strings.Repeat("0123456789abcde\n", kilobytes*64)
	var err error
	if w.payload, err = json.Marshal(object{"log": text}); err != nil {
		return err
	}
	return w.happened(w.finish(worker, step, user, session, object{"output": w.payload}))
}

// finishesForeign reports the result of another worker's attempt.
func (w *world) finishesForeign(worker, other, step, user, session string) error {
	chain, id := splitStep(step)
	attempt := w.attempt(attemptKey{other, user, session, chain, id})
	return w.happened(w.labour(worker, "work", user, session, domain.VerbSucceed, aboutStep(step, "attempt", attempt)))
}

func (w *world) failsWithStack(worker, step, user, session, code, message string, lines int) error {
	stack := strings.Builder{}
	for i := range lines {
		fmt.Fprintf(&stack, "main.go:%d\tcompile <pkg %d> & \"link\"\n", i+1, i)
	}
	w.failure = domain.ReportError{Code: code, Message: message, Stack: stack.String()}
	return w.happened(w.fail(worker, step, user, session, object{
		"code": code, "message": message, "stack": w.failure.Stack,
	}))
}
