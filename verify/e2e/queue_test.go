package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"reprise/contract"
	"reprise/domain"
)

// queueInOrder hands a session's whole life over and watches it being lived.
func queueInOrder(t *testing.T, p *peer) {
	p.queue(t, "s1", domain.VerbCreate, plan("compile"))
	p.queue(t, "s1", domain.VerbStart, nil)
	for i := range 20 {
		verb := []domain.Verb{domain.VerbPause, domain.VerbResume}[i%2]
		p.queue(t, "s1", verb, nil, contract.HeaderCommandID, fmt.Sprintf("turn-%d", i))
	}
	p.queue(t, "s1", domain.VerbCancel, nil)
	eventually(t, func() error { return p.isState("s1", domain.StateCancelled) })
	var page contract.HistoryReply
	p.query(t, contract.QueryHistory, object{"session": "s1"}, &page)
	if len(page.Commits) != 23 {
		t.Errorf("the history has %d commits", len(page.Commits))
	}
}

// isState reads a session, which need not exist yet.
func (p *peer) isState(session string, state domain.State) error {
	a, err := p.ask(p.names.Query(p.user, contract.QueryGet), object{"session": session}, nil)
	if err != nil {
		return err
	}
	var got contract.GetReply
	if a.refusal != nil {
		return fmt.Errorf("it was refused: %s", a.refusal.Message)
	}
	if err := json.Unmarshal(a.msg.Data, &got); err != nil {
		return err
	}
	if got.Session.State != state {
		return fmt.Errorf("it is %s", got.Session.State)
	}
	return nil
}

// deadLetters hands over what will be refused, and finds it with the reason.
func deadLetters(t *testing.T, p *peer) {
	p.do(t, "s1", domain.VerbCreate, plan("compile"))
	p.queue(t, "s1", domain.VerbResume, object{}, contract.HeaderCommandID, "early")
	p.queue(t, "s1", domain.VerbPause, `{"colour":1}`)
	p.queue(t, "nobody", domain.VerbStart, nil)
	for _, want := range []struct {
		session string
		verb    domain.Verb
		code    domain.Code
		body    string
	}{
		{"s1", domain.VerbResume, domain.CodeIllegalTransition, "{}"},
		{"s1", domain.VerbPause, domain.CodeInvalid, `{"colour":1}`},
		{"nobody", domain.VerbStart, domain.CodeNotFound, ""},
	} {
		eventually(t, func() error {
			stream, err := p.stream(t).Stream(bounded(t), p.names.DeadStream())
			if err != nil {
				return err
			}
			msg, err := stream.GetLastMsgForSubject(bounded(t), p.names.Dead(p.user, want.session, want.verb))
			if err != nil {
				return err
			}
			if msg.Header.Get(contract.HeaderCode) != string(want.code) || msg.Header.Get(contract.HeaderReason) == "" || string(msg.Data) != want.body {
				return fmt.Errorf("%s of %s lies there as %v %s", want.verb, want.session, msg.Header, msg.Data)
			}
			return nil
		})
	}
	p.do(t, "s1", domain.VerbStart, nil)
}
