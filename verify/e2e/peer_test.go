package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// object is the body of a request.
type object = map[string]any

// peer is a plain NATS client of one user.
type peer struct {
	nc    *nats.Conn
	names contract.Names
	user  string
}

// dial connects a client; it is closed at the end of the test.
func dial(t *testing.T, url, user string, options ...nats.Option) *peer {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(lookAgain))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return &peer{nc: nc, names: contract.Default(), user: user}
}

// as is the same connection for another user.
func (p *peer) as(user string) *peer {
	other := *p
	other.user = user
	return &other
}

// answer is what came back.
type answer struct {
	msg     *nats.Msg
	reply   contract.Reply
	refusal *contract.Error
}

// headers makes the headers of a request from pairs.
func headers(pairs ...string) nats.Header {
	h := nats.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// ask sends a request; a string body goes out as it is.
func (p *peer) ask(subject string, body any, h nats.Header) (answer, error) {
	data, isText := []byte(nil), false
	if text, ok := body.(string); ok {
		data, isText = []byte(text), true
	}
	if body != nil && !isText {
		var err error
		if data, err = domain.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	msg, err := p.nc.RequestMsg(&nats.Msg{Subject: subject, Data: data, Header: h}, patience)
	// The servers of a cluster tell each other of a new engine a moment after it is
	// ready; what nobody heard changed nothing.
	for deadline := time.Now().Add(patience / 6); errors.Is(err, nats.ErrNoResponders) && time.Now().Before(deadline); {
		<-time.After(50 * time.Millisecond)
		msg, err = p.nc.RequestMsg(&nats.Msg{Subject: subject, Data: data, Header: h}, patience)
	}
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", subject, err)
	}
	return read(msg)
}

// patiently is ask for what a client sends again: what is refused with a hint to
// ask again, under the same command id.
func (p *peer) patiently(subject string, body any, h nats.Header) (answer, error) {
	if h.Get(contract.HeaderCommandID) == "" {
		h = maps.Clone(h)
		if h == nil {
			h = nats.Header{}
		}
		h.Set(contract.HeaderCommandID, rand.Text())
	}
	return p.settled(subject, body, h)
}

// settled asks until the answer is no hint to ask again, unless it has a code that
// is waited for.
func (p *peer) settled(subject string, body any, h nats.Header, codes ...domain.Code) (answer, error) {
	for deadline := time.Now().Add(patience); ; {
		a, err := p.ask(subject, body, h)
		if err != nil || a.refusal == nil || a.refusal.RetryAfter == 0 || slices.Contains(codes, a.refusal.Code) || time.Now().After(deadline) {
			return a, err
		}
		<-time.After(a.refusal.RetryAfter.Std())
	}
}

// read tells a refusal from a reply.
func read(msg *nats.Msg) (answer, error) {
	a := answer{msg: msg}
	if msg.Header.Get(contract.HeaderErrorCode) == "" {
		return a, nil
	}
	a.refusal = &contract.Error{}
	return a, json.Unmarshal(msg.Data, a.refusal)
}

// send sends a command.
func (p *peer) send(session string, verb domain.Verb, body any, h nats.Header) (answer, error) {
	a, err := p.ask(p.names.Command(p.user, session, verb), body, h)
	if err == nil && a.refusal == nil {
		err = json.Unmarshal(a.msg.Data, &a.reply)
	}
	return a, err
}

// do is send for a command that must be accepted.
func (p *peer) do(t *testing.T, session string, verb domain.Verb, body any, pairs ...string) contract.Reply {
	t.Helper()
	a, err := p.patiently(p.names.Command(p.user, session, verb), body, headers(pairs...))
	if err == nil && a.refusal == nil {
		err = json.Unmarshal(a.msg.Data, &a.reply)
	}
	if err != nil {
		t.Fatal(err)
	}
	if a.refusal != nil {
		t.Fatalf("%s %s was refused as %s: %s", verb, session, a.refusal.Code, a.refusal.Message)
	}
	return a.reply
}

// refused is send for a command that must be refused.
func (p *peer) refused(t *testing.T, session string, verb domain.Verb, body any, code domain.Code, pairs ...string) contract.Error {
	t.Helper()
	a, err := p.settled(p.names.Command(p.user, session, verb), body, headers(pairs...), code)
	if err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, a, code)
	return *a.refusal
}

// checkRefusal looks at code, number and sentence.
func checkRefusal(t *testing.T, a answer, code domain.Code) {
	t.Helper()
	if a.refusal == nil {
		t.Fatalf("%s: accepted: %s", a.msg.Subject, a.msg.Data)
	}
	number, sentence := a.msg.Header.Get(contract.HeaderErrorCode), a.msg.Header.Get(contract.HeaderError)
	if a.refusal.Code != code || number != fmt.Sprint(contract.Status(code)) || sentence == "" || a.refusal.Message == "" {
		t.Fatalf("want code %s; headers %v, body %s", code, a.msg.Header, a.msg.Data)
	}
}

// labour sends a worker's command about step "build/<step>".
func (p *peer) labour(worker, session, step string, verb domain.Verb, attempt int) (answer, error) {
	body := object{"chain": "build", "step": step}
	if attempt > 0 {
		body["attempt"] = attempt
	}
	a, err := p.patiently(p.names.Worker(worker, "work", p.user, session, verb), body, nil)
	if err == nil && a.refusal == nil {
		err = json.Unmarshal(a.msg.Data, &a.reply)
	}
	return a, err
}

// query asks for something that must be answered and reads it into v.
func (p *peer) query(t *testing.T, name string, body, v any, pairs ...string) {
	t.Helper()
	a, err := p.patiently(p.names.Query(p.user, name), body, headers(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	if a.refusal != nil {
		t.Fatalf("query %s was refused as %s: %s", name, a.refusal.Code, a.refusal.Message)
	}
	if err := json.Unmarshal(a.msg.Data, v); err != nil {
		t.Fatal(err)
	}
}

// get reads a session.
func (p *peer) get(t *testing.T, session string) *domain.Session {
	t.Helper()
	var reply contract.GetReply
	p.query(t, contract.QueryGet, object{"session": session}, &reply)
	return reply.Session
}

// stream gives access to what the server stores.
func (p *peer) stream(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(p.nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// views opens the bucket of views.
func (p *peer) views(t *testing.T) jetstream.KeyValue {
	t.Helper()
	kv, err := p.stream(t).KeyValue(bounded(t), p.names.SessionsBucket())
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// bounded is a context that ends with the test or after patience.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// plan is a session of one chain whose steps any worker may do.
func plan(steps ...string) object {
	defs := make([]object, len(steps))
	for i, step := range steps {
		defs[i] = object{"id": step, "action": "work"}
	}
	return object{"chains": []object{{"id": "build", "steps": defs}}}
}
