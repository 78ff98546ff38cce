package domain

// ReadEvent reads the data of an event that is written as Marshal writes it and
// of a usual kind. It returns nil for anything else, also for what is legal but
// rare; encoding/json has to read that. It keeps nothing of data.
func ReadEvent(t EventType, data []byte) Event {
	read, ok := eventReaders[t]
	if !ok {
		return nil
	}
	r := eventReader{rest: data}
	e := read(&r)
	if r.failed || len(r.rest) > 0 {
		return nil
	}
	return e
}

// eventReaders has the kinds of events that make up almost all of a stream.
var eventReaders = map[EventType]func(*eventReader) Event{
	TypeSessionCreated: readSessionCreated,
	TypeSessionPaused:  readSessionPaused,
	TypeSessionResumed: readSessionResumed,
	TypeSessionFailed:  readSessionFailed,
	TypeMetadataSet:    readMetadataSet,
	TypeChainStarted:   readChainStarted,
	TypeChainCompleted: readChainCompleted,
	TypeChainFailed:    readChainFailed,
	TypeChainCancelled: readChainCancelled,
	TypeStepStarted:    readStepStarted,
	TypeStepSucceeded:  readStepSucceeded,
	TypeStepFailed:     readStepFailed,
	TypeStepSkipped:    readStepSkipped,
	TypeStepCancelled:  readStepCancelled,
	TypeStepReleased:   readStepReleased,
}

func readSessionCreated(r *eventReader) Event {
	e := new(SessionCreated)
	r.object(func() {
		if r.field("chains") {
			e.Chains = []ChainDef{}
			r.list(func() { e.Chains = append(e.Chains, r.chainDef()) })
		}
		if r.field("metadata") {
			e.Metadata = r.textMap()
		}
		if r.field("keepOpen") {
			e.KeepOpen = r.true()
		}
		if r.field("onFailure") {
			e.OnFailure = OnFailure(r.textOr(string(FailStop)))
		}
		if r.field("timeout") {
			e.Timeout = r.duration()
		}
		if r.field("priority") {
			e.Priority = r.int()
		}
		if r.field("digest") {
			e.Digest = r.text()
		}
	})
	return e
}

func (r *eventReader) chainDef() ChainDef {
	var c ChainDef
	r.object(func() {
		if r.field("id") {
			c.ID = r.text()
		}
		if r.field("title") {
			c.Title = r.text()
		}
		if r.field("open") {
			c.Open = r.true()
		}
		if r.field("waitsFor") {
			c.WaitsFor = r.texts()
		}
		if r.field("steps") {
			c.Steps = []StepDef{}
			r.list(func() { c.Steps = append(c.Steps, r.stepDef()) })
		}
	})
	return c
}

func (r *eventReader) stepDef() StepDef {
	var st StepDef
	r.object(func() {
		if r.field("id") {
			st.ID = r.text()
		}
		if r.field("title") {
			st.Title = r.text()
		}
		if r.field("action") {
			st.Action = r.text()
		}
		if r.field("manual") {
			st.Manual = r.true()
		}
		if r.field("input") {
			st.Input = r.payload()
		}
		if r.field("waitsFor") {
			waits := r.texts()
			st.WaitsFor = &waits
		}
		if r.field("timeout") {
			st.Timeout = r.duration()
		}
		if r.field("retry") {
			st.Retry = r.retry()
		}
	})
	return st
}

func (r *eventReader) retry() *RetryPolicy {
	p := new(RetryPolicy)
	r.object(func() {
		if r.field("maxAttempts") {
			p.MaxAttempts = r.int()
		}
		if r.field("backoff") {
			p.Backoff = r.duration()
		}
		if r.field("maxBackoff") {
			p.MaxBackoff = r.duration()
		}
		if r.field("factor") {
			p.Factor = float64(r.uint())
		}
	})
	return p
}

func readSessionPaused(r *eventReader) Event {
	e := new(SessionPaused)
	r.object(func() {
		if r.field("mode") {
			e.Mode = PauseMode(r.textOr(string(PauseDrain)))
		}
		if r.field("reason") {
			e.Reason = r.text()
		}
	})
	return e
}

func readSessionResumed(r *eventReader) Event {
	e := new(SessionResumed)
	r.object(func() {
		if r.field("from") {
			e.From = State(r.textOr(string(StatePaused)))
		}
	})
	return e
}

func readSessionFailed(r *eventReader) Event {
	e := new(SessionFailed)
	r.object(func() {
		if r.field("failure") {
			e.Failure = r.failure()
		}
	})
	return e
}

func readMetadataSet(r *eventReader) Event {
	e := new(MetadataSet)
	r.object(func() {
		if r.field("set") {
			e.Set = r.textMap()
		}
		if r.field("removed") {
			e.Removed = r.texts()
		}
	})
	return e
}

func readChainStarted(r *eventReader) Event { return &ChainStarted{Chain: r.onlyChain()} }

func readChainCompleted(r *eventReader) Event { return &ChainCompleted{Chain: r.onlyChain()} }

func readChainCancelled(r *eventReader) Event { return &ChainCancelled{Chain: r.onlyChain()} }

// onlyChain reads an object of one field.
func (r *eventReader) onlyChain() string {
	var chain string
	r.object(func() {
		if r.field("chain") {
			chain = r.text()
		}
	})
	return chain
}

// place reads the names of a chain and a step.
func (r *eventReader) place(chain, step *string) {
	if r.field("chain") {
		*chain = r.text()
	}
	if r.field("step") {
		*step = r.text()
	}
}

func readChainFailed(r *eventReader) Event {
	e := new(ChainFailed)
	r.object(func() { r.place(&e.Chain, &e.Step) })
	return e
}

func readStepCancelled(r *eventReader) Event {
	e := new(StepCancelled)
	r.object(func() { r.place(&e.Chain, &e.Step) })
	return e
}

func readStepStarted(r *eventReader) Event {
	e := new(StepStarted)
	r.object(func() {
		r.place(&e.Chain, &e.Step)
		if r.field("attempt") {
			e.Attempt = r.int()
		}
		if r.field("worker") {
			e.Worker = r.text()
		}
		if r.field("lease") {
			e.Lease = r.duration()
		}
		if r.field("deadline") {
			e.Deadline = r.time()
		}
	})
	return e
}

func readStepSucceeded(r *eventReader) Event {
	e := new(StepSucceeded)
	r.object(func() {
		r.place(&e.Chain, &e.Step)
		if r.field("attempt") {
			e.Attempt = r.int()
		}
		if r.field("worker") {
			e.Worker = r.text()
		}
		if r.field("output") {
			e.Output = r.payload()
		}
	})
	return e
}

func readStepFailed(r *eventReader) Event {
	e := new(StepFailed)
	r.object(func() {
		r.place(&e.Chain, &e.Step)
		if r.field("attempt") {
			e.Attempt = r.int()
		}
		if r.field("worker") {
			e.Worker = r.text()
		}
		if r.field("failure") {
			e.Failure = r.failure()
		}
		if r.field("willRetry") {
			e.WillRetry = r.true()
		}
		if r.field("backoff") {
			e.Backoff = r.duration()
		}
		if r.field("output") {
			e.Output = r.payload()
		}
	})
	return e
}

func (r *eventReader) failure() Failure {
	var f Failure
	r.object(func() {
		if r.field("code") {
			f.Code = r.text()
		}
		if r.field("message") {
			f.Message = r.text()
		}
		if r.field("stack") {
			f.Stack = r.text()
		}
		if r.field("stackRef") {
			f.StackRef = r.ref()
		}
		r.place(&f.Chain, &f.Step)
		if r.field("attempt") {
			f.Attempt = r.int()
		}
		if r.field("worker") {
			f.Worker = r.text()
		}
		if r.field("time") {
			f.Time = r.time()
		}
	})
	return f
}

func (r *eventReader) ref() *Ref {
	ref := new(Ref)
	r.object(func() {
		if r.field("version") {
			ref.Version = r.uint()
		}
		if r.field("size") {
			ref.Size = r.int()
		}
		if r.field("sha256") {
			ref.SHA256 = r.text()
		}
	})
	return ref
}

func readStepSkipped(r *eventReader) Event {
	e := new(StepSkipped)
	r.object(func() {
		r.place(&e.Chain, &e.Step)
		if r.field("reason") {
			e.Reason = r.text()
		}
		if r.field("output") {
			e.Output = r.payload()
		}
	})
	return e
}

func readStepReleased(r *eventReader) Event {
	e := new(StepReleased)
	r.object(func() {
		r.place(&e.Chain, &e.Step)
		if r.field("attempt") {
			e.Attempt = r.int()
		}
		if r.field("reason") {
			e.Reason = r.text()
		}
	})
	return e
}
