package features

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cucumber/godog"

	"reprise/contract"
	"reprise/domain"
)

func (w *world) whenTogether(sc *godog.ScenarioContext) {
	sc.When(`^(\w+) sets (\d+) different labels of session "([^"]*)" at once$`, func(user string, n int, session string) error {
		return w.atOnce(n, func(i int) (answer, error) {
			return w.command(user, session, domain.VerbMetadataSet, object{"set": object{label(i): "set"}})
		})
	})
	sc.When(`^(\w+) sets the same label of session "([^"]*)" (\d+) times at once with command id "([^"]*)"$`, func(user, session string, n int, id string) error {
		return w.atOnce(n, func(int) (answer, error) {
			return w.command(user, session, domain.VerbMetadataSet, object{"set": object{"owner": "blue"}}, commandID(id))
		})
	})
	sc.When(`^(\d+) workers start step "([^"]*)" of (\w+)'s session "([^"]*)" at once$`, func(n int, step, user, session string) error {
		return w.atOnce(n, func(i int) (answer, error) {
			return w.claim(fmt.Sprintf("worker-%d", i), "work", step, user, session)
		})
	})
	sc.When(`^(\w+) pauses and cancels session "([^"]*)" at the same time$`, func(user, session string) error {
		return w.atOnce(2, func(i int) (answer, error) {
			return w.command(user, session, []domain.Verb{domain.VerbPause, domain.VerbCancel}[i], nil)
		})
	})
	sc.When(`^(\w+) cancels session "([^"]*)" while worker (\w+) finishes step "([^"]*)"$`, func(user, session, worker, step string) error {
		return w.atOnce(2, func(i int) (answer, error) {
			if i == 0 {
				return w.command(user, session, domain.VerbCancel, nil)
			}
			return w.finish(worker, step, user, session, nil)
		})
	})
	sc.When(`^(\d+) clients of (\w+) pause and resume session "([^"]*)" at once$`, w.tugOfWar)
	sc.When(`^both are sent pauses and resumptions of (\w+)'s new running session "([^"]*)" at once$`, func(user, session string) error {
		if err := w.lead(user, session, "running", usual()); err != nil {
			return err
		}
		return w.tugOfWar(30, user, session)
	})
	sc.When(`^(\w+) moves chain "([^"]*)" of session "([^"]*)" to "([^"]*)" and to "([^"]*)" at the same time$`, func(user, chain, from, one, two string) error {
		return w.atOnce(2, func(i int) (answer, error) {
			return w.command(user, from, domain.VerbChainMove, object{"chain": chain, "to": []string{one, two}[i]})
		})
	})
	sc.When(`^workers carry out the whole of (\w+)'s session "([^"]*)" while others keep reading it$`, w.carriedOutWatched)
	sc.When(`^(\w+) sends every command and query to session "([^"]*)" and to an id that nobody has$`, w.probes)
}

func label(i int) string { return fmt.Sprintf("label-%d", i) }

// atOnce does n things at the same time and keeps all answers.
func (w *world) atOnce(n int, do func(i int) (answer, error)) (err error) {
	if _, err = w.conn(); err != nil {
		return err
	}
	w.all, err = together(n, do)
	return err
}

// tugOfWar lets half of the clients pause a session and the others resume it.
func (w *world) tugOfWar(n int, user, session string) error {
	return w.atOnce(n, func(i int) (answer, error) {
		verb := domain.VerbPause
		if i%2 == 1 {
			verb = domain.VerbResume
		}
		return w.command(user, session, verb, nil)
	})
}

// carriedOutWatched finishes all steps, one worker beside another, while
// somebody reads the session all the time.
func (w *world) carriedOutWatched(user, session string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var readers sync.WaitGroup
	var readErr error
	readers.Go(func() { readErr = w.keepReading(ctx, user, session) })
	_, err := w.carryOut("amber", user, session)
	stop()
	readers.Wait()
	if err == nil {
		err = readErr
	}
	return err
}

// keepReading collects the states of a session until ctx ends.
func (w *world) keepReading(ctx context.Context, user, session string) error {
	for ctx.Err() == nil {
		s, err := w.get(user, session)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.states = append(w.states, s)
		w.mu.Unlock()
	}
	return nil
}

// probe is a request that somebody tries on a session of another user.
type probe struct {
	subject string
	body    object
}

// probesOf lists every request that a user may make about a session, as it is
// made about the one with that id.
func (w *world) probesOf(user, session string) []probe {
	var all []probe
	for _, verb := range domain.UserVerbs() {
		if verb != domain.VerbCreate {
			all = append(all, probe{w.names.Command(w.user(user), session, verb), probeBody(verb)})
		}
	}
	for _, verb := range domain.WorkerVerbs() {
		all = append(all, probe{w.names.Worker("amber", "work", w.user(user), session, verb), probeBody(verb)})
	}
	for _, name := range []string{contract.QueryGet, contract.QueryHistory, contract.QueryAt} {
		body := object{"session": session}
		if name == contract.QueryAt {
			body["version"] = 1
		}
		all = append(all, probe{w.names.Query(w.user(user), name), body})
	}
	return all
}

// probeBody is a body that the command would accept for a session of ours.
func probeBody(verb domain.Verb) object {
	step := aboutStep("build/compile", "", nil)
	switch verb {
	case domain.VerbStepRetry, domain.VerbStepSkip, domain.VerbStepSucceed, domain.VerbClaim:
		return step
	case domain.VerbStepFail:
		step["error"] = object{"message": "no"}
		return step
	case domain.VerbFail:
		step["attempt"], step["error"] = 1, object{"message": "no"}
		return step
	case domain.VerbSucceed, domain.VerbHeartbeat, domain.VerbRelease:
		step["attempt"] = 1
		return step
	case domain.VerbMetadataSet:
		return object{"set": object{"a": "b"}}
	case domain.VerbChainAdd:
		return chainOf("extra", "one")
	case domain.VerbChainClose, domain.VerbChainRemove:
		return object{"chain": "build"}
	case domain.VerbChainMove:
		return object{"chain": "build", "position": 0}
	case domain.VerbStepAdd:
		return object{"chain": "build", "step": object{"action": "work"}}
	case domain.VerbBatch:
		return object{"commands": []object{{"verb": "pause"}}}
	default:
		return nil
	}
}

// probes asks the same of a session of somebody else and of an id that nobody
// has, and keeps both answers, with the ids made alike.
func (w *world) probes(user, session string) error {
	nobody := strings.Repeat("x", len(session))
	theirs, none := w.probesOf(user, session), w.probesOf(user, nobody)
	for i := range theirs {
		for _, p := range []probe{theirs[i], none[i]} {
			a, err := w.ask(p.subject, p.body, commandID(fmt.Sprintf("probe-%d", i)))
			if err != nil {
				return err
			}
			w.all = append(w.all, a)
		}
	}
	for i := range w.all {
		w.all[i].msg.Data = []byte(strings.ReplaceAll(string(w.all[i].msg.Data), session, nobody))
		for _, values := range w.all[i].msg.Header {
			for j := range values {
				values[j] = strings.ReplaceAll(values[j], session, nobody)
			}
		}
	}
	return nil
}

func (w *world) whenQueueing(sc *godog.ScenarioContext) {
	sc.When(`^(\w+) queues for session "([^"]*)": (.+)$`, func(user, session, list string) error {
		for _, verb := range names(list) {
			if err := w.queue(user, session, domain.Verb(verb)); err != nil {
				return err
			}
		}
		return nil
	})
	sc.When(`^(\w+) queues "(\w+)" for session "([^"]*)" (\d+) times with command id "([^"]*)", then "(\w+)"$`, func(user, verb, session string, n int, id, then string) error {
		for range n {
			if err := w.queue(user, session, domain.Verb(verb), commandID(id)); err != nil {
				return err
			}
		}
		return w.queue(user, session, domain.Verb(then))
	})
}

// queue hands a command over to be carried out later.
func (w *world) queue(user, session string, verb domain.Verb, settings ...setting) error {
	a, err := w.ask(w.names.Queue(w.user(user), session, verb), nil, settings...)
	if err != nil {
		return err
	}
	var ack struct {
		Stream string
		Seq    uint64
		Error  any
	}
	if err := json.Unmarshal(a.msg.Data, &ack); err != nil || ack.Error != nil || ack.Seq == 0 {
		return fmt.Errorf("the queue did not take %s: %s", verb, a.msg.Data)
	}
	return nil
}

// sameSet reports whether two lists hold the same, in any order.
func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
