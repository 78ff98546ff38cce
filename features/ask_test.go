package features

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// object is the body of a request.
type object = map[string]any

// answer is what came back for a command or a query.
type answer struct {
	msg *nats.Msg
	// reply is set for an accepted command, refusal for a refused request.
	reply   contract.Reply
	refusal *contract.Error
}

// err is nil for an accepted request.
func (a answer) err() error {
	if a.refusal == nil {
		return nil
	}
	return fmt.Errorf("it was refused as %q: %s", a.refusal.Code, a.refusal.Message)
}

// setting adds a header to a request.
type setting func(nats.Header)

func header(key, value string) setting { return func(h nats.Header) { h.Set(key, value) } }

func commandID(id string) setting { return header(contract.HeaderCommandID, id) }

// encode writes the body of a request; text is sent as it is.
func encode(body any) ([]byte, error) {
	if text, ok := body.(string); ok {
		return []byte(text), nil
	}
	if body == nil {
		return nil, nil
	}
	return domain.Marshal(body)
}

// ask sends a request and reads whether it was refused.
func (w *world) ask(subject string, body any, settings ...setting) (answer, error) {
	nc, err := w.connFor(subject)
	if err != nil {
		return answer{}, err
	}
	data, err := encode(body)
	if err != nil {
		return answer{}, err
	}
	msg := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	for _, set := range settings {
		set(msg.Header)
	}
	reply, err := nc.RequestMsg(msg, patience)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", subject, err)
	}
	return readAnswer(reply)
}

func readAnswer(msg *nats.Msg) (answer, error) {
	a := answer{msg: msg}
	if msg.Header.Get(contract.HeaderErrorCode) == "" {
		return a, nil
	}
	a.refusal = &contract.Error{}
	if err := json.Unmarshal(msg.Data, a.refusal); err != nil {
		return a, fmt.Errorf("the refusal %q is not JSON: %w", msg.Data, err)
	}
	if text := msg.Header.Get(contract.HeaderError); text == "" || strings.ContainsAny(text, "\r\n") {
		return a, fmt.Errorf("the refusal's header says %q", text)
	}
	if got, want := msg.Header.Get(contract.HeaderErrorCode), fmt.Sprint(contract.Status(a.refusal.Code)); got != want {
		return a, fmt.Errorf("the refusal %q has number %s, want %s", a.refusal.Code, got, want)
	}
	return a, nil
}

// insist is ask for what clients ask again: a service that is busy, or isn't ready
// for it yet, says when.
func (w *world) insist(subject string, body any, settings ...setting) (answer, error) {
	a, err := w.ask(subject, body, settings...)
	for deadline := time.Now().Add(patience); err == nil && a.refusal != nil && a.refusal.RetryAfter > 0 && time.Now().Before(deadline); {
		<-time.After(a.refusal.RetryAfter.Std())
		a, err = w.ask(subject, body, settings...)
	}
	return a, err
}

// ordered sends any command, whoever sends it.
func (w *world) ordered(subject string, body any, settings ...setting) (answer, error) {
	a, err := w.insist(subject, body, append([]setting{commandID(rand.Text())}, settings...)...)
	if err != nil || a.refusal != nil {
		return a, err
	}
	if err := json.Unmarshal(a.msg.Data, &a.reply); err != nil {
		return a, fmt.Errorf("the answer %q is not JSON: %w", a.msg.Data, err)
	}
	if !a.reply.DryRun {
		w.saw(a.reply.Position)
	}
	return a, nil
}

// command sends a command of a user.
func (w *world) command(user, session string, verb domain.Verb, body any, settings ...setting) (answer, error) {
	return w.ordered(w.names.Command(w.user(user), session, verb), body, settings...)
}

// labour sends a worker's command; its action is "work" unless named.
func (w *world) labour(worker, action, user, session string, verb domain.Verb, body any) (answer, error) {
	if action == "" {
		action = "work"
	}
	return w.ordered(w.names.Worker(worker, action, w.user(user), session, verb), body)
}

// did is for a Given: the command must be accepted, and what it leads to is
// the state that the scenario begins with.
func (w *world) did(user, session string, a answer, err error) error {
	if err != nil {
		return err
	}
	if err := a.err(); err != nil {
		return err
	}
	w.seen[sessionKey{user, session}] = a.reply.Version
	w.first[a.reply.CommandID] = a.reply
	return nil
}

// do sends a command of a Given.
func (w *world) do(user, session string, verb domain.Verb, body any, settings ...setting) error {
	a, err := w.command(user, session, verb, body, settings...)
	return w.did(user, session, a, err)
}

// happened keeps the answer of a When.
func (w *world) happened(a answer, err error) error {
	w.last = a
	return err
}

// query asks for something and reads the reply into v, unless it is refused.
// The reply holds everything that the scenario has done so far.
func (w *world) query(user, name string, body, v any) (answer, error) {
	var settings []setting
	w.mu.Lock()
	if w.position.Seq > 0 {
		settings = append(settings, header(contract.HeaderMinPosition, w.position.String()))
	}
	w.mu.Unlock()
	a, err := w.insist(w.names.Query(w.user(user), name), body, settings...)
	if err != nil || a.refusal != nil {
		return a, err
	}
	return a, json.Unmarshal(a.msg.Data, v)
}

// demand is query for what must be answered.
func (w *world) demand(user, name string, body, v any) error {
	a, err := w.query(user, name, body, v)
	if err != nil {
		return err
	}
	return a.err()
}

// get reads a session.
func (w *world) get(user, session string) (*domain.Session, error) {
	var reply contract.GetReply
	if err := w.demand(user, contract.QueryGet, contract.GetRequest{Session: session}, &reply); err != nil {
		return nil, err
	}
	return reply.Session, nil
}

// history reads all commits of a session.
func (w *world) history(user, session string) ([]contract.CommitEntry, error) {
	var all []contract.CommitEntry
	request := contract.HistoryRequest{Session: session, Limit: 25}
	for {
		var page contract.HistoryReply
		if err := w.demand(user, contract.QueryHistory, request, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Commits...)
		if page.Next == 0 {
			return all, nil
		}
		request.FromVersion = page.Next
	}
}

// splitStep splits "build/compile".
func splitStep(name string) (chain, step string) {
	chain, step, _ = strings.Cut(name, "/")
	return chain, step
}

// names splits "one, two and three".
func names(text string) []string {
	text = strings.ReplaceAll(text, " and ", ",")
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.Trim(strings.TrimSpace(part), `"`); part != "" {
			all = append(all, part)
		}
	}
	return all
}
