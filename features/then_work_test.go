package features

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/cucumber/godog"

	"reprise/contract"
	"reprise/domain"
)

func (w *world) thenWork(sc *godog.ScenarioContext) {
	sc.Then(`^worker (\w+) can start step "([^"]*)" of (\w+)'s session "([^"]*)"$`, w.isWorking)
	sc.Then(`^worker (\w+) can't start step "([^"]*)" of (\w+)'s session "([^"]*)" any more$`, w.cannotStart)
	sc.Then(`^step "([^"]*)" of (\w+)'s session "([^"]*)" is in its attempt (\d+)$`, w.inAttempt)
	sc.Then(`^step "([^"]*)" of (\w+)'s session "([^"]*)" has input (\{.*\})$`, func(step, user, session, input string) error {
		st, err := w.step(step, user, session)
		if err != nil {
			return err
		}
		return sameJSON(st.Input, []byte(input))
	})
	sc.Then(`^step "([^"]*)" of (\w+)'s session "([^"]*)" has output (\{.*\})$`, func(step, user, session, output string) error {
		st, err := w.step(step, user, session)
		if err != nil {
			return err
		}
		return sameJSON(st.Output, []byte(output))
	})
	sc.Then(`^step "([^"]*)" of (\w+)'s session "([^"]*)" has that output$`, func(step, user, session string) error {
		st, err := w.step(step, user, session)
		if err != nil {
			return err
		}
		return sameJSON(st.Output, w.payload)
	})
	sc.Then(`^(\w+) is handed the output (\{.*\}) of step "([^"]*)"$`, func(_, output, step string) error {
		got, err := w.handed()
		if err != nil {
			return err
		}
		return sameJSON(got.Outputs[step].Output, []byte(output))
	})
	sc.Then(`^(\w+) is handed the input (\{.*\})$`, func(_, input string) error {
		got, err := w.handed()
		if err != nil {
			return err
		}
		return sameJSON(got.Input, []byte(input))
	})
	sc.Then(`^(\w+) is told that step "([^"]*)" was skipped$`, func(_, step string) error {
		got, err := w.handed()
		if err == nil && !got.Outputs[step].Skipped {
			err = fmt.Errorf("the assignment says %+v", got.Outputs[step])
		}
		return err
	})
}

func (w *world) thenErrors(sc *godog.ScenarioContext) {
	sc.Then(`^the error of (\w+)'s session "([^"]*)" says "([^"]*)"$`, func(user, session, message string) error {
		s, err := w.get(user, session)
		if err != nil {
			return err
		}
		return says(s.Error, message)
	})
	sc.Then(`^the error of step "([^"]*)" of (\w+)'s session "([^"]*)" says "([^"]*)"$`, func(step, user, session, message string) error {
		st, err := w.step(step, user, session)
		if err != nil {
			return err
		}
		return says(st.Error, message)
	})
	sc.Then(`^the error of step "([^"]*)" of (\w+)'s session "([^"]*)" has that code, message and stack trace$`, w.errorWhole)
	sc.Then(`^the error of (\w+)'s session "([^"]*)" names step "([^"]*)", worker (\w+) and attempt (\d+)$`, w.errorNames)
}

func (w *world) step(name, user, session string) (*domain.Step, error) {
	s, err := w.get(user, session)
	if err != nil {
		return nil, err
	}
	st := s.Step(splitStep(name))
	if st == nil {
		return nil, fmt.Errorf("there is no step %q", name)
	}
	return st, nil
}

// handed is what the last claim brought.
func (w *world) handed() (*contract.Assignment, error) {
	if err := w.last.err(); err != nil {
		return nil, err
	}
	if w.last.reply.Claimed == nil {
		return nil, errors.New("nothing was handed out")
	}
	return w.last.reply.Claimed, nil
}

func (w *world) cannotStart(worker, step, user, session string) error {
	a, err := w.claim(worker, "work", step, user, session)
	if err != nil {
		return err
	}
	if a.refusal == nil {
		return errors.New("it was started")
	}
	return nil
}

func (w *world) inAttempt(step, user, session string, n int) error {
	st, err := w.step(step, user, session)
	if err != nil {
		return err
	}
	if st.Attempt != n {
		return fmt.Errorf("it is in attempt %d", st.Attempt)
	}
	return nil
}

// sameJSON compares two JSON texts but for white space.
func sameJSON(got, want []byte) error {
	var a, b bytes.Buffer
	if err := json.Compact(&a, got); err != nil {
		return fmt.Errorf("%.200q is not JSON: %w", got, err)
	}
	if err := json.Compact(&b, want); err != nil {
		return err
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		return fmt.Errorf("it is %.200s", got)
	}
	return nil
}

func says(f *domain.Failure, message string) error {
	if f == nil {
		return errors.New("there is no error")
	}
	if !strings.Contains(f.Message, message) {
		return fmt.Errorf("it says %q", f.Message)
	}
	return nil
}

func (w *world) errorWhole(step, user, session string) error {
	st, err := w.step(step, user, session)
	if err != nil {
		return err
	}
	if st.Error == nil {
		return errors.New("there is no error")
	}
	got := domain.ReportError{Code: st.Error.Code, Message: st.Error.Message, Stack: st.Error.Stack}
	if !reflect.DeepEqual(got, w.failure) {
		return fmt.Errorf("it is %.300v", got)
	}
	return nil
}

func (w *world) errorNames(user, session, step, worker string, attempt int) error {
	s, err := w.get(user, session)
	if err != nil {
		return err
	}
	chain, id := splitStep(step)
	if f := s.Error; f == nil || f.Chain != chain || f.Step != id || f.Worker != worker || f.Attempt != attempt || f.Time.IsZero() {
		return fmt.Errorf("it is %+v", s.Error)
	}
	return nil
}
