package domain

// AppendJSON appends the session as Marshal writes it and returns the extended
// buffer, as append does. It fails where Marshal fails: for a payload that is
// not JSON, and for a time beyond the year 9999. It is several times cheaper.
func (s *Session) AppendJSON(buf []byte) ([]byte, error) {
	a := Appender{Buf: buf}
	a.session(s)
	return a.Buf, a.Err
}

func (a *Appender) session(s *Session) {
	a.Raw("{")
	a.String("id", s.ID)
	a.String("user", s.User)
	a.String("state", string(s.State))
	a.Name("chains")
	Array(a, s.Chains, a.chain)
	a.MapOpt("metadata", s.Metadata)
	objectOpt(a, "error", s.Error, a.failure)
	a.BoolOpt("keepOpen", s.KeepOpen)
	a.String("onFailure", string(s.OnFailure))
	a.DurationOpt("timeout", s.Timeout)
	a.IntOpt("priority", s.Priority)
	objectOpt(a, "hold", s.Hold, a.hold)
	objectOpt(a, "parent", s.Parent, a.parent)
	a.Int("inFlight", s.InFlight)
	a.Time("createdAt", s.CreatedAt)
	a.Time("updatedAt", s.UpdatedAt)
	a.TimeOpt("startedAt", s.StartedAt)
	a.TimeOpt("pausedAt", s.PausedAt)
	a.StringOpt("pausedBy", s.PausedBy)
	a.TimeOpt("endedAt", s.EndedAt)
	a.TimeOpt("deadline", s.Deadline)
	a.DurationOpt("remaining", s.Remaining)
	a.String("definition", s.Definition)
	a.UintOpt("queueSeq", s.QueueSeq)
	a.Uint("version", s.Version)
	a.Uint("commits", s.Commits)
	objectOpt(a, "gone", s.Gone, a.tombstone)
	if len(s.Recent) > 0 {
		a.Name("recent")
		Array(a, s.Recent, a.applied)
	}
	a.Raw("}")
}

func (a *Appender) chain(c *Chain) {
	object(a, c, func(c *Chain) {
		a.String("id", c.ID)
		a.StringOpt("title", c.Title)
		a.String("status", string(c.Status))
		a.BoolOpt("open", c.Open)
		TextsOpt(a, "waitsFor", c.WaitsFor)
		a.Name("steps")
		Array(a, c.Steps, a.step)
		a.TimeOpt("startedAt", c.StartedAt)
		a.TimeOpt("endedAt", c.EndedAt)
	})
}

func (a *Appender) step(st *Step) { object(a, st, a.stepFields) }

func (a *Appender) stepFields(st *Step) {
	a.String("id", st.ID)
	a.StringOpt("title", st.Title)
	a.StringOpt("action", st.Action)
	a.BoolOpt("manual", st.Manual)
	a.Name("waitsFor")
	Texts(a, st.WaitsFor)
	a.DurationOpt("timeout", st.Timeout)
	objectOpt(a, "retry", st.Retry, a.retry)
	a.String("status", string(st.Status))
	a.IntOpt("attempt", st.Attempt)
	a.IntOpt("tries", st.Tries)
	a.StringOpt("worker", st.Worker)
	a.PayloadOpt("input", st.Input)
	objectOpt(a, "inputRef", st.InputRef, a.ref)
	a.PayloadOpt("output", st.Output)
	objectOpt(a, "outputRef", st.OutputRef, a.ref)
	objectOpt(a, "error", st.Error, a.failure)
	a.TimeOpt("notBefore", st.NotBefore)
	a.TimeOpt("deadline", st.Deadline)
	a.DurationOpt("lease", st.Lease)
	a.TimeOpt("readyAt", st.ReadyAt)
	a.TimeOpt("startedAt", st.StartedAt)
	a.TimeOpt("endedAt", st.EndedAt)
}

func (a *Appender) retry(r *RetryPolicy) {
	a.Int("maxAttempts", r.MaxAttempts)
	a.DurationOpt("backoff", r.Backoff)
	a.DurationOpt("maxBackoff", r.MaxBackoff)
	a.FloatOpt("factor", r.Factor)
}

func (a *Appender) failure(f *Failure) {
	a.StringOpt("code", f.Code)
	a.String("message", f.Message)
	a.StringOpt("stack", f.Stack)
	objectOpt(a, "stackRef", f.StackRef, a.ref)
	a.StringOpt("chain", f.Chain)
	a.StringOpt("step", f.Step)
	a.IntOpt("attempt", f.Attempt)
	a.StringOpt("worker", f.Worker)
	a.TimeOpt("time", f.Time)
}

func (a *Appender) ref(r *Ref) {
	a.Uint("version", r.Version)
	a.Int("size", r.Size)
	a.String("sha256", r.SHA256)
}

func (a *Appender) hold(h *Hold) {
	a.StringOpt("reason", h.Reason)
	a.String("by", h.By)
	a.Time("since", h.Since)
}

func (a *Appender) parent(p *Parent) {
	a.String("session", p.Session)
	a.Uint("version", p.Version)
}

func (a *Appender) applied(p Applied) {
	a.Raw("{")
	a.String("id", p.ID)
	a.String("digest", p.Digest)
	a.Uint("version", p.Version)
	a.Time("time", p.Time)
	a.Raw("}")
}

func (a *Appender) tombstone(t *Tombstone) {
	a.String("by", t.By)
	a.StringOpt("reason", t.Reason)
	a.StringOpt("policy", t.Policy)
	a.String("state", string(t.State))
	a.Time("time", t.Time)
	a.Time("firstTime", t.FirstTime)
	a.Time("lastTime", t.LastTime)
	a.Uint("version", t.Version)
	a.Uint("commits", t.Commits)
	a.StringOpt("head", t.Head)
	a.StringOpt("archive", t.Archive)
}
