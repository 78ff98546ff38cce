package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

func (w *world) thenAnswers(sc *godog.ScenarioContext) {
	sc.Then(`^it is accepted$`, w.accepted)
	sc.Then(`^it is accepted as a repeat$`, w.acceptedAgain)
	sc.Then(`^it is accepted as a repeat with the first answer$`, w.acceptedAsFirst)
	sc.Then(`^it is accepted except for "(\w+)" as "(\w+)"$`, w.acceptedExcept)
	sc.Then(`^it is refused as "(\w+)"$`, func(code string) error { return w.refused(code, "") })
	sc.Then(`^it is refused as "(\w+)" because "(.*)"$`, w.refused)
	sc.Then(`^all (\d+) are accepted$`, w.allAccepted)
	sc.Then(`^1 of them is accepted and the others are refused as "(\w+)"$`, w.oneAccepted)
	sc.Then(`^exactly one of the two is accepted$`, func() error { return w.oneAccepted("") })
	sc.Then(`^the answers are the same but for the id$`, w.answersAlike)
	sc.Then(`^it would bring "([^"]*)"$`, w.wouldBring)
	sc.Then(`^(\w+) is told of "([^"]*)"$`, w.isTold)
	sc.Then(`^the refused "(\w+)" is kept for (\w+) with "(\w+)" and "([^"]*)"$`, w.refusedKept)
	sc.Then(`^(\w+) can start session "([^"]*)"$`, func(user, session string) error {
		return w.do(user, session, domain.VerbStart, nil)
	})
}

// accepted looks at the answer, and at what every answer must say.
func (w *world) accepted() error {
	if err := w.last.err(); err != nil {
		return err
	}
	r := w.last.reply
	switch {
	case r.CommandID == "", r.Session == "", r.User == "", r.Version == 0, !r.State.Valid() && !purged(r):
		return fmt.Errorf("the answer is incomplete: %s", w.last.msg.Data)
	case r.Position.Incarnation == "", r.Position.Seq == 0:
		return fmt.Errorf("the answer has no position: %s", w.last.msg.Data)
	}
	return nil
}

func purged(r contract.Reply) bool {
	return slices.ContainsFunc(r.Events, func(e contract.EventSummary) bool { return e.Type == domain.TypeSessionPurged })
}

func (w *world) acceptedAgain() error {
	if err := w.accepted(); err != nil {
		return err
	}
	if !w.last.reply.Duplicate {
		return fmt.Errorf("the answer doesn't say that it is a repeat: %s", w.last.msg.Data)
	}
	return nil
}

// acceptedAsFirst compares the answer with the one that the command got first.
func (w *world) acceptedAsFirst() error {
	if err := w.acceptedAgain(); err != nil {
		return err
	}
	again := w.last.reply
	again.Duplicate = false
	if first := w.first[again.CommandID]; !reflect.DeepEqual(first, again) {
		return fmt.Errorf("the first answer was\n%+v\nand the repeat is\n%+v", first, again)
	}
	return nil
}

func (w *world) acceptedExcept(verb, code string) error {
	if err := w.accepted(); err != nil {
		return err
	}
	for _, r := range w.last.reply.Results {
		want := domain.Code("")
		if string(r.Verb) == verb {
			want = domain.Code(code)
		}
		if r.Code != want || (r.Message == "") != (want == "") {
			return fmt.Errorf("%s got %q: %s", r.Verb, r.Code, r.Message)
		}
	}
	return nil
}

// refused looks at code and sentence.
func (w *world) refused(code, sentence string) error {
	got := w.last.refusal
	switch {
	case got == nil:
		return fmt.Errorf("it was accepted: %s", w.last.msg.Data)
	case string(got.Code) != code:
		return fmt.Errorf("it was refused as %q: %s", got.Code, got.Message)
	case got.Message == "" || !strings.Contains(got.Message, sentence):
		return fmt.Errorf("the sentence is %q", got.Message)
	}
	return nil
}

func (w *world) allAccepted(n int) error {
	if len(w.all) != n {
		return fmt.Errorf("there are %d answers", len(w.all))
	}
	for _, a := range w.all {
		if err := a.err(); err != nil {
			return err
		}
	}
	return nil
}

// oneAccepted looks at the answers to things done at once; the code of the
// others counts if it is given.
func (w *world) oneAccepted(code string) error {
	accepted := 0
	for _, a := range w.all {
		switch {
		case a.refusal == nil:
			accepted++
		case code != "" && string(a.refusal.Code) != code:
			return a.err()
		}
	}
	if accepted != 1 {
		return fmt.Errorf("%d were accepted", accepted)
	}
	return nil
}

// answersAlike compares answers two by two: headers and every byte of the body.
func (w *world) answersAlike() error {
	if len(w.all) < 2 {
		return errors.New("nothing was asked")
	}
	for i := 0; i+1 < len(w.all); i += 2 {
		a, b := w.all[i], w.all[i+1]
		if a.refusal == nil || a.refusal.Code != domain.CodeNotFound {
			return fmt.Errorf("request %d was answered with %s", i/2, a.msg.Data)
		}
		if string(a.msg.Data) != string(b.msg.Data) || !reflect.DeepEqual(a.msg.Header, b.msg.Header) {
			return fmt.Errorf("request %d: the answers are\n%v %s\n%v %s", i/2, a.msg.Header, a.msg.Data, b.msg.Header, b.msg.Data)
		}
	}
	return nil
}

func (w *world) wouldBring(list string) error {
	if err := w.last.err(); err != nil {
		return err
	}
	if got := typesOf(w.last.reply.Events); !w.last.reply.DryRun || got != list {
		return fmt.Errorf("it would bring %q: %s", got, w.last.msg.Data)
	}
	for _, e := range w.last.reply.Events {
		if !json.Valid(e.Data) {
			return fmt.Errorf("the event %s is not told whole", e.Type)
		}
	}
	return nil
}

func typesOf(events []contract.EventSummary) string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = string(e.Type)
	}
	return strings.Join(all, ", ")
}

// isTold reads what the watcher got until it holds everything.
func (w *world) isTold(_, list string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var got []string
	for strings.Join(got, ", ") != list {
		msg, err := w.watch.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("told of %v: %w", got, err)
		}
		var commit struct {
			Events []struct{ Type string } `json:"events"`
		}
		if err := json.Unmarshal(msg.Data, &commit); err != nil {
			return err
		}
		for _, e := range commit.Events {
			got = append(got, e.Type)
		}
	}
	return nil
}

// refusedKept looks for the queued command that was refused.
func (w *world) refusedKept(verb, user, code, sentence string) error {
	nc, err := w.conn()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	subject := w.names.Dead(w.user(user), "release", domain.Verb(verb))
	return eventually(func() error {
		stream, err := js.Stream(ctx, w.names.DeadStream())
		if err != nil {
			return err
		}
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return err
		}
		return readDead(msg.Header, code, sentence)
	})
}

func readDead(h nats.Header, code, sentence string) error {
	if h.Get(contract.HeaderCode) != code || !strings.Contains(h.Get(contract.HeaderReason), sentence) {
		return fmt.Errorf("it is kept with %v", h)
	}
	return nil
}
