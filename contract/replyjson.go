package contract

import (
	"encoding/json"
	"slices"

	"reprise/domain"
)

// replyBytes is about what an answer takes.
const replyBytes = 640

// EncodeReply writes an answer as domain.Marshal does. Answers are most of what
// an engine writes and a worker reads, so the usual ones are written and read
// here, at a fraction of the cost (ADR 0015); what is rare goes through
// encoding/json. The error is that of a payload that is not JSON.
func EncodeReply(r *Reply) ([]byte, error) {
	if r.DryRun {
		return domain.Marshal(r)
	}
	a := &domain.Appender{Buf: make([]byte, 0, replyBytes)}
	a.Raw("{")
	a.String("commandId", r.CommandID)
	a.String("session", r.Session)
	a.String("user", r.User)
	a.String("state", string(r.State))
	a.Uint("version", r.Version)
	a.Name("position")
	a.Raw("{")
	a.String("incarnation", r.Position.Incarnation)
	a.Uint("seq", r.Position.Seq)
	a.Raw("}")
	a.Name("events")
	domain.Array(a, r.Events, func(e EventSummary) { appendSummary(a, e) })
	a.Name("duplicate")
	if r.Duplicate {
		a.Raw("true")
	} else {
		a.Raw("false")
	}
	if len(r.Results) > 0 {
		a.Name("results")
		domain.Array(a, r.Results, func(one domain.Result) { appendResult(a, one) })
	}
	if r.Claimed != nil {
		a.Name("claimed")
		appendAssignment(a, r.Claimed)
	}
	a.Raw("}")
	return a.Buf, a.Err
}

func appendSummary(a *domain.Appender, e EventSummary) {
	a.Raw("{")
	a.StringOpt("session", e.Session)
	a.String("type", string(e.Type))
	a.StringOpt("chain", e.Chain)
	a.StringOpt("step", e.Step)
	a.PayloadOpt("data", e.Data)
	a.Raw("}")
}

func appendResult(a *domain.Appender, r domain.Result) {
	a.Raw("{")
	a.String("verb", string(r.Verb))
	a.StringOpt("code", string(r.Code))
	a.StringOpt("message", r.Message)
	a.Int("events", r.Events)
	a.Raw("}")
}

func appendAssignment(a *domain.Appender, t *Assignment) {
	a.Raw("{")
	a.String("chain", t.Chain)
	a.String("step", t.Step)
	a.String("action", t.Action)
	a.Int("attempt", t.Attempt)
	a.PayloadOpt("input", t.Input)
	if len(t.Outputs) > 0 {
		a.Name("outputs")
		appendOutputs(a, t.Outputs)
	}
	a.String("idempotencyKey", t.IdempotencyKey)
	a.String("lease", t.Lease.String())
	a.TimeOpt("deadline", t.Deadline)
	a.DurationOpt("timeout", t.Timeout)
	a.Raw("}")
}

func appendOutputs(a *domain.Appender, outputs map[string]StepOutput) {
	steps := make([]string, 0, len(outputs))
	for step := range outputs {
		steps = append(steps, step)
	}
	slices.Sort(steps)
	a.Raw("{")
	for _, step := range steps {
		a.Name(step) // ids are plain text
		a.Raw("{")
		a.PayloadOpt("output", outputs[step].Output)
		a.BoolOpt("skipped", outputs[step].Skipped)
		a.Raw("}")
	}
	a.Raw("}")
}

// Decode reads an answer of any kind, a Reply most quickly. Like encoding/json it
// passes fields over that it does not know, and returns its errors. It keeps
// nothing of body.
func Decode(body []byte, answer any) error {
	if r, ok := answer.(*Reply); ok {
		if read, plain := readReply(body); plain {
			*r = read
			return nil
		}
	}
	return json.Unmarshal(body, answer)
}

// readReply reads an answer that EncodeReply wrote without encoding/json.
func readReply(body []byte) (r Reply, ok bool) {
	p := domain.NewPlainReader(body)
	p.Object(func() {
		if p.Field("commandId") {
			r.CommandID = p.Text("")
		}
		if p.Field("session") {
			r.Session = p.Text("")
		}
		if p.Field("user") {
			r.User = p.Text("")
		}
		if p.Field("state") {
			r.State = domain.State(p.Text(string(domain.StateRunning)))
		}
		if p.Field("version") {
			r.Version = p.Uint()
		}
		if p.Field("position") {
			readPosition(p, &r.Position)
		}
		if p.Field("events") {
			r.Events = []EventSummary{}
			p.List(func() { r.Events = append(r.Events, readSummary(p)) })
		}
		if p.Field("duplicate") {
			r.Duplicate = p.Bool()
		}
		if p.Field("results") {
			r.Results = []domain.Result{}
			p.List(func() { r.Results = append(r.Results, readResult(p)) })
		}
		if p.Field("claimed") {
			r.Claimed = readAssignment(p)
		}
	})
	return r, p.Done()
}

func readPosition(p *domain.PlainReader, to *Position) {
	p.Object(func() {
		if p.Field("incarnation") {
			to.Incarnation = p.Text("")
		}
		if p.Field("seq") {
			to.Seq = p.Uint()
		}
	})
}

func readSummary(p *domain.PlainReader) (e EventSummary) {
	p.Object(func() {
		if p.Field("type") {
			e.Type = p.EventType()
		}
		if p.Field("chain") {
			e.Chain = p.Text("")
		}
		if p.Field("step") {
			e.Step = p.Text("")
		}
	})
	return e
}

func readResult(p *domain.PlainReader) (r domain.Result) {
	p.Object(func() {
		if p.Field("verb") {
			r.Verb = domain.Verb(p.Text(string(domain.VerbCreate)))
		}
		if p.Field("code") {
			r.Code = domain.Code(p.Text(""))
		}
		if p.Field("message") {
			r.Message = p.Text("")
		}
		if p.Field("events") {
			r.Events = p.Int()
		}
	})
	return r
}

func readAssignment(p *domain.PlainReader) *Assignment {
	t := new(Assignment)
	p.Object(func() {
		if p.Field("chain") {
			t.Chain = p.Text("")
		}
		if p.Field("step") {
			t.Step = p.Text("")
		}
		if p.Field("action") {
			t.Action = p.Text("")
		}
		if p.Field("attempt") {
			t.Attempt = p.Int()
		}
		if p.Field("input") {
			t.Input = p.Payload()
		}
		if p.Field("outputs") {
			t.Outputs = map[string]StepOutput{}
			p.Map(func(step string) { t.Outputs[step] = readOutput(p) })
		}
		if p.Field("idempotencyKey") {
			t.IdempotencyKey = p.Text("")
		}
		if p.Field("lease") {
			t.Lease = p.Duration()
		}
		if p.Field("deadline") {
			t.Deadline = p.Time()
		}
		if p.Field("timeout") {
			t.Timeout = p.Duration()
		}
	})
	return t
}

func readOutput(p *domain.PlainReader) (o StepOutput) {
	p.Object(func() {
		if p.Field("output") {
			o.Output = p.Payload()
		}
		if p.Field("skipped") {
			o.Skipped = p.Bool()
		}
	})
	return o
}
