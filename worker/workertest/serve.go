package workertest

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// VerbServe is the verb of a worker's question for a consumer.
const VerbServe domain.Verb = "serve"

// Fault is what goes wrong with requests of one verb.
type Fault struct {
	Verb domain.Verb
	// Times is how often; 0 means from now on.
	Times int
	// Lose drops the request before anything happens; LoseAnswer applies it and
	// drops the answer.
	Lose, LoseAnswer bool
	// Code refuses the request; RetryAfter goes with it.
	Code       domain.Code
	RetryAfter time.Duration
	// Garbage answers with something that is no JSON.
	Garbage bool
}

// Inject adds a fault; the first that fits a request is used.
func (e *Engine) Inject(f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = append(e.faults, f)
}

// Mend removes all faults.
func (e *Engine) Mend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = nil
}

// fault takes the fault for a verb; the zero value if there is none.
func (e *Engine) fault(verb domain.Verb) Fault {
	for i, f := range e.faults {
		if f.Verb != verb {
			continue
		}
		switch f.Times {
		case 0:
		case 1:
			e.faults = append(e.faults[:i:i], e.faults[i+1:]...)
		default:
			e.faults[i].Times--
		}
		return f
	}
	return Fault{}
}

// handle answers one request.
func (e *Engine) handle(msg *nats.Msg) {
	call, ok := e.parse(msg)
	if !ok {
		e.t.Errorf("a request on %s", msg.Subject)
		return
	}
	e.mu.Lock()
	f := e.fault(call.Verb)
	var answer *nats.Msg
	switch {
	case f.Lose:
		call.Code = "lost"
	case f.Garbage:
		answer = &nats.Msg{Data: []byte("garbage")}
	case f.Code != "":
		answer = refuse(&domain.Rejection{Code: f.Code, Message: "the test says so"}, f.RetryAfter)
		call.Code = f.Code
	default:
		answer = e.answer(&call)
	}
	e.calls = append(e.calls, call)
	e.changed.Broadcast()
	e.mu.Unlock()
	if answer != nil && !f.LoseAnswer {
		_ = msg.RespondMsg(answer)
	}
}

// parse reads <prefix>.wrk.<worker>.<action>[.<user>.<session>].<verb>.
func (e *Engine) parse(msg *nats.Msg) (Call, bool) {
	t := strings.Split(msg.Subject, ".")
	c := Call{Command: msg.Header.Get(contract.HeaderCommandID), Body: msg.Data}
	switch len(t) {
	case 5:
		c.Worker, c.Ref.Action = t[2], t[3]
	case 7:
		user, err := contract.ParseUserToken(t[4])
		if err != nil || c.Command == "" {
			return c, false
		}
		c.Worker, c.Ref.Action, c.Ref.User, c.Ref.Session = t[2], t[3], user, t[5]
	default:
		return c, false
	}
	c.Verb = domain.Verb(t[len(t)-1])
	return c, true
}

// answer decides a request, or repeats the answer to its command id.
func (e *Engine) answer(call *Call) *nats.Msg {
	if call.Verb == VerbServe {
		return e.serve(call.Ref.Action)
	}
	if old := e.answers[call.Command]; old != nil {
		call.Duplicate = true
		return &nats.Msg{Data: old.Data, Header: old.Header}
	}
	answer, err := e.command(call)
	if rejected, ok := errors.AsType[*domain.Rejection](err); ok {
		call.Code = rejected.Code
		return refuse(rejected, 0)
	}
	if call.Verb != domain.VerbHeartbeat {
		e.answers[call.Command] = answer
	}
	return answer
}

func (e *Engine) command(call *Call) (*nats.Msg, error) {
	c, err := domain.DecodeCommand(call.Verb, call.Body)
	if err != nil {
		return nil, err
	}
	e.identify(call, c)
	d, err := e.decide(call.Ref.User, call.Ref.Session, c, call.Command)
	if err != nil {
		return nil, err
	}
	reply := contract.Reply{
		CommandID: call.Command, Session: call.Ref.Session, User: call.Ref.User,
		State: d.Next.State, Version: d.Next.Version, Claimed: e.assignment(d),
	}
	return &nats.Msg{Data: must(domain.Marshal(reply))}, nil
}

// identify writes the tokens of the subject into the command, and what the test
// wants to know of it into the call.
func (e *Engine) identify(call *Call, c domain.Command) {
	switch c := c.(type) {
	case *domain.Claim:
		c.Worker, c.Action = call.Worker, call.Ref.Action
		call.Ref.Chain, call.Ref.Step = c.Chain, c.Step
	case *domain.Heartbeat:
		c.Worker, c.Action = call.Worker, call.Ref.Action
		call.Ref.Chain, call.Ref.Step = c.Chain, c.Step
		if len(c.Progress) > 0 {
			var p contract.Progress
			_ = json.Unmarshal(c.Progress, &p)
			e.progress[call.Ref.Session+"/"+c.Chain+"/"+c.Step] = p
		}
	case *domain.Succeed:
		c.Worker, c.Action = call.Worker, call.Ref.Action
		call.Ref.Chain, call.Ref.Step = c.Chain, c.Step
	case *domain.Fail:
		c.Worker, c.Action = call.Worker, call.Ref.Action
		call.Ref.Chain, call.Ref.Step = c.Chain, c.Step
	case *domain.Release:
		c.Worker, c.Action = call.Worker, call.Ref.Action
		call.Ref.Chain, call.Ref.Step = c.Chain, c.Step
	}
}

// assignment is what a worker got by a decision; nil if nothing.
func (e *Engine) assignment(d domain.Decision) *contract.Assignment {
	if d.Claimed == nil {
		return nil
	}
	chain := d.Next.Chain(d.Claimed.Chain)
	st := chain.Step(d.Claimed.Step)
	a := &contract.Assignment{
		Chain: chain.ID, Step: st.ID, Action: st.Action, Attempt: st.Attempt, Input: st.Input, Lease: st.Lease,
		IdempotencyKey: strings.Join([]string{d.Next.ID, chain.ID, st.ID, strconv.Itoa(st.Attempt)}, "/"),
		Deadline:       st.Deadline, Timeout: st.Timeout, Outputs: map[string]contract.StepOutput{},
	}
	for _, id := range st.WaitsFor {
		w := chain.Step(id)
		a.Outputs[id] = contract.StepOutput{Output: w.Output, Skipped: w.Status == domain.StepStatusSkipped}
	}
	return a
}

// serve makes the consumer of an action.
func (e *Engine) serve(action string) *nats.Msg {
	_, err := e.js.CreateOrUpdateConsumer(context.Background(), e.names.WorkStream(), jetstream.ConsumerConfig{
		Durable: action, AckPolicy: jetstream.AckExplicitPolicy, AckWait: e.AckWait,
		FilterSubject: e.names.Prefix() + ".work." + action + ".>", MemoryStorage: true,
	})
	if err != nil {
		return refuse(&domain.Rejection{Code: domain.CodeUnavailable, Message: err.Error()}, 0)
	}
	return &nats.Msg{Data: must(domain.Marshal(contract.ServeReply{Stream: e.names.WorkStream(), Consumer: action}))}
}

func refuse(r *domain.Rejection, after time.Duration) *nats.Msg {
	return &nats.Msg{
		Header: nats.Header{contract.HeaderError: {r.Message}, contract.HeaderErrorCode: {strconv.Itoa(contract.Status(r.Code))}},
		Data:   must(domain.Marshal(contract.Error{Code: r.Code, Message: r.Message, State: r.State, RetryAfter: domain.Duration(after)})),
	}
}

func must(raw []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return raw
}
