package domain

// events makes an empty event of every type, to decode into.
var events = map[EventType]func() Event{
	TypeSessionCreated:   func() Event { return new(SessionCreated) },
	TypeSessionStarted:   func() Event { return new(SessionStarted) },
	TypeSessionPaused:    func() Event { return new(SessionPaused) },
	TypeSessionQuiesced:  func() Event { return new(SessionQuiesced) },
	TypeSessionResumed:   func() Event { return new(SessionResumed) },
	TypeSessionCompleted: func() Event { return new(SessionCompleted) },
	TypeSessionFailed:    func() Event { return new(SessionFailed) },
	TypeSessionCancelled: func() Event { return new(SessionCancelled) },
	TypeSessionForked:    func() Event { return new(SessionForked) },
	TypeSessionHeld:      func() Event { return new(SessionHeld) },
	TypeSessionUnheld:    func() Event { return new(SessionUnheld) },
	TypeSessionDeleted:   func() Event { return new(SessionDeleted) },
	TypeSessionPurged:    func() Event { return new(SessionPurged) },
	TypeSessionImported:  func() Event { return new(SessionImported) },
	TypeMetadataSet:      func() Event { return new(MetadataSet) },
	TypeChainAdded:       func() Event { return new(ChainAdded) },
	TypeChainClosed:      func() Event { return new(ChainClosed) },
	TypeChainStarted:     func() Event { return new(ChainStarted) },
	TypeChainCompleted:   func() Event { return new(ChainCompleted) },
	TypeChainFailed:      func() Event { return new(ChainFailed) },
	TypeChainCancelled:   func() Event { return new(ChainCancelled) },
	TypeChainRemoved:     func() Event { return new(ChainRemoved) },
	TypeChainMoved:       func() Event { return new(ChainMoved) },
	TypeChainMovedOut:    func() Event { return new(ChainMovedOut) },
	TypeChainMovedIn:     func() Event { return new(ChainMovedIn) },
	TypeStepAdded:        func() Event { return new(StepAdded) },
	TypeStepStarted:      func() Event { return new(StepStarted) },
	TypeStepSucceeded:    func() Event { return new(StepSucceeded) },
	TypeStepFailed:       func() Event { return new(StepFailed) },
	TypeStepTimedOut:     func() Event { return new(StepTimedOut) },
	TypeStepRetried:      func() Event { return new(StepRetried) },
	TypeStepSkipped:      func() Event { return new(StepSkipped) },
	TypeStepCancelled:    func() Event { return new(StepCancelled) },
	TypeStepReleased:     func() Event { return new(StepReleased) },
}

// NewEvent returns a pointer to an empty event of that type, to decode into,
// or nil if there is no such type.
func NewEvent(t EventType) Event {
	if empty, ok := events[t]; ok {
		return empty()
	}
	return nil
}

// EventTypes lists the wire names of all events in the order of the reference.
func EventTypes() []EventType {
	return []EventType{
		TypeSessionCreated,
		TypeSessionStarted,
		TypeSessionPaused,
		TypeSessionQuiesced,
		TypeSessionResumed,
		TypeSessionCompleted,
		TypeSessionFailed,
		TypeSessionCancelled,
		TypeSessionForked,
		TypeSessionHeld,
		TypeSessionUnheld,
		TypeSessionDeleted,
		TypeSessionPurged,
		TypeSessionImported,
		TypeMetadataSet,
		TypeChainAdded,
		TypeChainClosed,
		TypeChainStarted,
		TypeChainCompleted,
		TypeChainFailed,
		TypeChainCancelled,
		TypeChainRemoved,
		TypeChainMoved,
		TypeChainMovedOut,
		TypeChainMovedIn,
		TypeStepAdded,
		TypeStepStarted,
		TypeStepSucceeded,
		TypeStepFailed,
		TypeStepTimedOut,
		TypeStepRetried,
		TypeStepSkipped,
		TypeStepCancelled,
		TypeStepReleased,
	}
}

// Type returns TypeSessionCreated.
func (*SessionCreated) Type() EventType { return TypeSessionCreated }

// About returns what the event is about.
func (*SessionCreated) About() (chain, step string) { return "", "" }

// Type returns TypeSessionStarted.
func (*SessionStarted) Type() EventType { return TypeSessionStarted }

// About returns what the event is about.
func (*SessionStarted) About() (chain, step string) { return "", "" }

// Type returns TypeSessionPaused.
func (*SessionPaused) Type() EventType { return TypeSessionPaused }

// About returns what the event is about.
func (*SessionPaused) About() (chain, step string) { return "", "" }

// Type returns TypeSessionQuiesced.
func (*SessionQuiesced) Type() EventType { return TypeSessionQuiesced }

// About returns what the event is about.
func (*SessionQuiesced) About() (chain, step string) { return "", "" }

// Type returns TypeSessionResumed.
func (*SessionResumed) Type() EventType { return TypeSessionResumed }

// About returns what the event is about.
func (*SessionResumed) About() (chain, step string) { return "", "" }

// Type returns TypeSessionCompleted.
func (*SessionCompleted) Type() EventType { return TypeSessionCompleted }

// About returns what the event is about.
func (*SessionCompleted) About() (chain, step string) { return "", "" }

// Type returns TypeSessionFailed.
func (*SessionFailed) Type() EventType { return TypeSessionFailed }

// About returns what the event is about.
func (*SessionFailed) About() (chain, step string) { return "", "" }

// Type returns TypeSessionCancelled.
func (*SessionCancelled) Type() EventType { return TypeSessionCancelled }

// About returns what the event is about.
func (*SessionCancelled) About() (chain, step string) { return "", "" }

// Type returns TypeSessionForked.
func (*SessionForked) Type() EventType { return TypeSessionForked }

// About returns what the event is about.
func (*SessionForked) About() (chain, step string) { return "", "" }

// Type returns TypeSessionHeld.
func (*SessionHeld) Type() EventType { return TypeSessionHeld }

// About returns what the event is about.
func (*SessionHeld) About() (chain, step string) { return "", "" }

// Type returns TypeSessionUnheld.
func (*SessionUnheld) Type() EventType { return TypeSessionUnheld }

// About returns what the event is about.
func (*SessionUnheld) About() (chain, step string) { return "", "" }

// Type returns TypeSessionDeleted.
func (*SessionDeleted) Type() EventType { return TypeSessionDeleted }

// About returns what the event is about.
func (*SessionDeleted) About() (chain, step string) { return "", "" }

// Type returns TypeSessionPurged.
func (*SessionPurged) Type() EventType { return TypeSessionPurged }

// About returns what the event is about.
func (*SessionPurged) About() (chain, step string) { return "", "" }

// Type returns TypeSessionImported.
func (*SessionImported) Type() EventType { return TypeSessionImported }

// About returns what the event is about.
func (*SessionImported) About() (chain, step string) { return "", "" }

// Type returns TypeMetadataSet.
func (*MetadataSet) Type() EventType { return TypeMetadataSet }

// About returns what the event is about.
func (*MetadataSet) About() (chain, step string) { return "", "" }

// Type returns TypeChainAdded.
func (*ChainAdded) Type() EventType { return TypeChainAdded }

// About returns what the event is about.
func (e *ChainAdded) About() (chain, step string) { return e.Chain.ID, "" }

// Type returns TypeChainClosed.
func (*ChainClosed) Type() EventType { return TypeChainClosed }

// About returns what the event is about.
func (e *ChainClosed) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainStarted.
func (*ChainStarted) Type() EventType { return TypeChainStarted }

// About returns what the event is about.
func (e *ChainStarted) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainCompleted.
func (*ChainCompleted) Type() EventType { return TypeChainCompleted }

// About returns what the event is about.
func (e *ChainCompleted) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainFailed.
func (*ChainFailed) Type() EventType { return TypeChainFailed }

// About returns what the event is about.
func (e *ChainFailed) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainCancelled.
func (*ChainCancelled) Type() EventType { return TypeChainCancelled }

// About returns what the event is about.
func (e *ChainCancelled) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainRemoved.
func (*ChainRemoved) Type() EventType { return TypeChainRemoved }

// About returns what the event is about.
func (e *ChainRemoved) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainMoved.
func (*ChainMoved) Type() EventType { return TypeChainMoved }

// About returns what the event is about.
func (e *ChainMoved) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainMovedOut.
func (*ChainMovedOut) Type() EventType { return TypeChainMovedOut }

// About returns what the event is about.
func (e *ChainMovedOut) About() (chain, step string) { return e.Chain, "" }

// Type returns TypeChainMovedIn.
func (*ChainMovedIn) Type() EventType { return TypeChainMovedIn }

// About returns what the event is about.
func (e *ChainMovedIn) About() (chain, step string) { return e.Chain.ID, "" }

// Type returns TypeStepAdded.
func (*StepAdded) Type() EventType { return TypeStepAdded }

// About returns what the event is about.
func (e *StepAdded) About() (chain, step string) { return e.Chain, e.Step.ID }

// Type returns TypeStepStarted.
func (*StepStarted) Type() EventType { return TypeStepStarted }

// About returns what the event is about.
func (e *StepStarted) About() (chain, step string) { return e.Chain, e.Step }

// Type returns TypeStepSucceeded.
func (*StepSucceeded) Type() EventType { return TypeStepSucceeded }

// About returns what the event is about.
func (e *StepSucceeded) About() (chain, step string) { return e.Chain, e.Step }

// Type returns TypeStepFailed.
func (*StepFailed) Type() EventType { return TypeStepFailed }

// About returns what the event is about.
func (e *StepFailed) About() (chain, step string) { return e.Chain, e.Step }

// Type returns TypeStepTimedOut.
func (*StepTimedOut) Type() EventType { return TypeStepTimedOut }

// About returns what the event is about.
func (e *StepTimedOut) About() (chain, step string) { return e.Chain, e.Step }

// Type returns TypeStepRetried.
func (*StepRetried) Type() EventType { return TypeStepRetried }

// About returns what the event is about.
func (e *StepRetried) About() (chain, step string) { return e.Chain, e.Step }

// Type returns TypeStepSkipped.
func (*StepSkipped) Type() EventType { return TypeStepSkipped }

// About returns what the event is about.
func (e *StepSkipped) About() (chain, step string) { return e.Chain, e.Step }

// Type returns TypeStepCancelled.
func (*StepCancelled) Type() EventType { return TypeStepCancelled }

// About returns what the event is about.
func (e *StepCancelled) About() (chain, step string) { return e.Chain, e.Step }

// Type returns TypeStepReleased.
func (*StepReleased) Type() EventType { return TypeStepReleased }

// About returns what the event is about.
func (e *StepReleased) About() (chain, step string) { return e.Chain, e.Step }
