package domain

// Event writes the data of an event of a usual kind as Marshal does. Of any other
// it writes nothing and returns false.
func (a *Appender) Event(e Event) bool {
	switch e := e.(type) {
	case *SessionCreated:
		object(a, e, a.sessionCreated)
	case *SessionStarted, *SessionCompleted:
		a.Raw("{}")
	case *SessionPaused:
		object(a, e, a.sessionPaused)
	case *SessionResumed:
		object(a, e, a.sessionResumed)
	case *MetadataSet:
		object(a, e, a.metadataSet)
	case *ChainStarted:
		a.onlyChain(e.Chain)
	case *ChainCompleted:
		a.onlyChain(e.Chain)
	case *StepStarted:
		object(a, e, a.stepStarted)
	case *StepSucceeded:
		object(a, e, a.stepSucceeded)
	default:
		return false
	}
	return true
}

func (a *Appender) sessionCreated(e *SessionCreated) {
	if len(e.Chains) > 0 {
		a.Name("chains")
		Array(a, e.Chains, a.chainDef)
	}
	a.MapOpt("metadata", e.Metadata)
	a.BoolOpt("keepOpen", e.KeepOpen)
	a.StringOpt("onFailure", string(e.OnFailure))
	a.DurationOpt("timeout", e.Timeout)
	a.IntOpt("priority", e.Priority)
	a.String("digest", e.Digest)
}

func (a *Appender) chainDef(c ChainDef) {
	object(a, &c, func(c *ChainDef) {
		a.StringOpt("id", c.ID)
		a.StringOpt("title", c.Title)
		a.BoolOpt("open", c.Open)
		TextsOpt(a, "waitsFor", c.WaitsFor)
		if len(c.Steps) > 0 {
			a.Name("steps")
			Array(a, c.Steps, a.stepDef)
		}
	})
}

func (a *Appender) stepDef(st StepDef) {
	object(a, &st, func(st *StepDef) {
		a.StringOpt("id", st.ID)
		a.StringOpt("title", st.Title)
		a.StringOpt("action", st.Action)
		a.BoolOpt("manual", st.Manual)
		a.PayloadOpt("input", st.Input)
		if st.WaitsFor != nil {
			a.Name("waitsFor")
			Texts(a, *st.WaitsFor)
		}
		a.DurationOpt("timeout", st.Timeout)
		objectOpt(a, "retry", st.Retry, a.retry)
	})
}

func (a *Appender) sessionPaused(e *SessionPaused) {
	a.StringOpt("mode", string(e.Mode))
	a.StringOpt("reason", e.Reason)
}

func (a *Appender) sessionResumed(e *SessionResumed) { a.String("from", string(e.From)) }

func (a *Appender) metadataSet(e *MetadataSet) {
	a.MapOpt("set", e.Set)
	TextsOpt(a, "removed", e.Removed)
}

// onlyChain writes an object of one field.
func (a *Appender) onlyChain(chain string) {
	a.Raw("{")
	a.String("chain", chain)
	a.Raw("}")
}

func (a *Appender) stepStarted(e *StepStarted) {
	a.String("chain", e.Chain)
	a.String("step", e.Step)
	a.Int("attempt", e.Attempt)
	a.String("worker", e.Worker)
	a.DurationOpt("lease", e.Lease)
	a.TimeOpt("deadline", e.Deadline)
}

func (a *Appender) stepSucceeded(e *StepSucceeded) {
	a.String("chain", e.Chain)
	a.String("step", e.Step)
	a.Int("attempt", e.Attempt)
	a.StringOpt("worker", e.Worker)
	a.PayloadOpt("output", e.Output)
}
