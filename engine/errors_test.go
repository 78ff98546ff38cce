package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

func TestProblem(t *testing.T) {
	tests := []struct {
		err   error
		code  domain.Code
		says  string
		retry bool
	}{
		{domain.Reject(domain.CodeAlready, domain.StatePaused, "it is so"), domain.CodeAlready, "it is so", false},
		{fmt.Errorf("lane: %w", domain.Reject(domain.CodeBusy, "", "full")), domain.CodeBusy, "full", true},
		{fmt.Errorf("session s: %w", eventstore.ErrUnknownOutcome), domain.CodeUnknownOutcome, "cmd-1", true},
		{fmt.Errorf("session s: %w", eventstore.ErrTooLarge), domain.CodeInvalid, "larger", false},
		{eventstore.ErrUnavailable, domain.CodeUnavailable, "unavailable", true},
		{&eventstore.CommitError{Seq: 7, Detail: "torn"}, domain.CodeUnavailable, "sequence 7", false},
		{context.DeadlineExceeded, domain.CodeUnavailable, "nothing was changed", true},
		{errors.New("odd"), domain.CodeUnavailable, "odd", true},
	}
	for _, tt := range tests {
		e := problem(tt.err, "cmd-1")
		if e.Code != tt.code || !strings.Contains(e.Message, tt.says) || e.RetryAfter > 0 != tt.retry || e.CommandID != "cmd-1" {
			t.Errorf("%v: %+v", tt.err, e)
		}
	}
	if e := problem(eventstore.ErrUnknownOutcome, ""); strings.Contains(e.Message, contract.HeaderCommandID) {
		t.Errorf("a query is told to repeat a command: %s", e.Message)
	}
}

func TestSentence(t *testing.T) {
	if got := sentence("one\r\ntwo\x7f"); got != "one  two " {
		t.Errorf("%q", got)
	}
	if got := sentence(strings.Repeat("ö", maxSentence)); len(got) > maxSentence || !strings.HasPrefix(got, "öö") {
		t.Errorf("%d bytes", len(got))
	}
}

func TestPassing(t *testing.T) {
	tests := []struct {
		err  error
		want bool
	}{
		{errLate, false},
		{eventstore.ErrUnavailable, true},
		{eventstore.ErrUnknownOutcome, true},
		{&eventstore.CommitError{}, false},
		{domain.Reject(domain.CodeBusy, "", "full"), true},
		{domain.Reject(domain.CodeAlready, "", "so"), false},
	}
	for _, tt := range tests {
		if got := passing(tt.err); got != tt.want {
			t.Errorf("%v: %t", tt.err, got)
		}
	}
}

func TestForkAndMoveMeetFailures(t *testing.T) {
	b := newBench(t)
	b.running("s1", openPlan)
	b.running("s2", openPlan)
	b.do(b.ask("s1", domain.VerbChainAdd, `{"id":"m","steps":[{"manual":true}]}`))
	b.driver.SetFaults(eventstore.Faults{BeforeAppend: func(context.Context, []eventstore.Record) error {
		return eventstore.ErrUnavailable
	}})
	b.refuse(b.ask("s1", domain.VerbFork, ``), domain.CodeUnavailable)
	b.refuse(b.ask("s1", domain.VerbChainMove, `{"chain":"m","to":"s2"}`), domain.CodeUnavailable)
	b.driver.SetFaults(eventstore.Faults{})
	b.refuse(b.ask("s1", domain.VerbChainMove, `{"chain":"zz","to":"s2"}`), domain.CodeNotFound)
	move := b.ask("s1", domain.VerbChainMove, `{"chain":"m","to":"s2"}`)
	b.do(b.ask("s1", domain.VerbPause, ``, withID(move.ID)))
	b.refuse(move, domain.CodeIDReused)
	big := strings.Repeat("x", 4000)
	b.do(b.ask("s1", domain.VerbChainAdd, `{"id":"big","steps":[{"manual":true,"input":"`+big+`"}]}`))
	store, err := eventstore.Open(t.Context(), eventstore.Config{Driver: b.driver, MaxMessage: 2048})
	if err != nil {
		t.Fatal(err)
	}
	b.cmd = newCommander(commanderConfig{Store: store, Clock: b.clock})
	b.refuse(b.ask("s1", domain.VerbFork, ``), domain.CodeInvalid)
	b.refuse(b.ask("s1", domain.VerbChainMove, `{"chain":"big","to":"s2"}`), domain.CodeInvalid)
}

func TestQueuedCommandOfACorruptSessionIsBuried(t *testing.T) {
	o := newOffice(t)
	key := eventstore.Key{User: "ann", Session: "bad"}
	if _, err := o.driver.Append(t.Context(), []eventstore.Record{{Key: key, Guard: eventstore.ExpectNew(), Body: []byte(`{`)}}); err != nil {
		t.Fatal(err)
	}
	o.hold(o.engine())
	o.post("ann.bad.start", ``, nil)
	o.post("ann.good.create", openPlan, nil)
	o.empty()
	letters := o.letters()
	if len(letters) != 1 || letters[0].Header.Get(contract.HeaderCode) != string(domain.CodeUnavailable) {
		t.Errorf("dead letters: %v", letters)
	}
}
