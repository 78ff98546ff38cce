package domain

import (
	"encoding/json"
	"time"
)

// Event is one thing that happened to a session. The Go types are free to be
// renamed; Type is the stable name on the wire.
type Event interface {
	// Type returns the stable wire name, such as "step.succeeded".
	Type() EventType
	// About returns the ids of the chain and step the event is about; both are
	// empty for an event about the session.
	About() (chain, step string)
}

// EventType is the stable wire name of an event.
type EventType string

// The wire names of all events.
const (
	TypeSessionCreated   EventType = "session.created"
	TypeSessionStarted   EventType = "session.started"
	TypeSessionPaused    EventType = "session.paused"
	TypeSessionQuiesced  EventType = "session.quiesced"
	TypeSessionResumed   EventType = "session.resumed"
	TypeSessionCompleted EventType = "session.completed"
	TypeSessionFailed    EventType = "session.failed"
	TypeSessionCancelled EventType = "session.cancelled"
	TypeSessionForked    EventType = "session.forked"
	TypeSessionHeld      EventType = "session.held"
	TypeSessionUnheld    EventType = "session.unheld"
	TypeSessionDeleted   EventType = "session.deleted"
	TypeSessionPurged    EventType = "session.purged"
	TypeSessionImported  EventType = "session.imported"
	TypeMetadataSet      EventType = "metadata.set"
	TypeChainAdded       EventType = "chain.added"
	TypeChainClosed      EventType = "chain.closed"
	TypeChainStarted     EventType = "chain.started"
	TypeChainCompleted   EventType = "chain.completed"
	TypeChainFailed      EventType = "chain.failed"
	TypeChainCancelled   EventType = "chain.cancelled"
	TypeChainRemoved     EventType = "chain.removed"
	TypeChainMoved       EventType = "chain.moved"
	TypeChainMovedOut    EventType = "chain.moved.out"
	TypeChainMovedIn     EventType = "chain.moved.in"
	TypeStepAdded        EventType = "step.added"
	TypeStepStarted      EventType = "step.started"
	TypeStepSucceeded    EventType = "step.succeeded"
	TypeStepFailed       EventType = "step.failed"
	TypeStepTimedOut     EventType = "step.timedout"
	TypeStepRetried      EventType = "step.retried"
	TypeStepSkipped      EventType = "step.skipped"
	TypeStepCancelled    EventType = "step.cancelled"
	TypeStepReleased     EventType = "step.released"
)

// Recorded is an event with what its commit says about it.
type Recorded struct {
	Event Event
	// Version is the version of the session after the event.
	Version uint64
	// Time is the time of the commit.
	Time time.Time
	// Actor is who sent the command.
	Actor string
}

// SessionCreated begins a session. Its definition is normalised: every id and
// every wait is written out.
type SessionCreated struct {
	Definition
	// Digest is the SHA-256 of the normalised definition, in hex.
	Digest string `json:"digest"`
}

// SessionStarted moves a PENDING session to RUNNING.
type SessionStarted struct{}

// SessionPaused moves a RUNNING session to PAUSED, or interrupts what is still
// in flight of a PAUSED one.
type SessionPaused struct {
	Mode   PauseMode `json:"mode,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// SessionQuiesced says that nothing of a PAUSED session is in flight any more.
type SessionQuiesced struct{}

// SessionResumed moves a session to RUNNING: a PAUSED one by resume, a FAILED
// one because a retry, a skip or a removal gave it something to do again.
type SessionResumed struct {
	From State `json:"from"`
}

// SessionCompleted ends a session whose chains are all COMPLETED.
type SessionCompleted struct{}

// SessionFailed ends a session with the failure that decided the outcome.
type SessionFailed struct {
	Failure Failure `json:"failure"`
}

// SessionCancelled ends a session by command.
type SessionCancelled struct {
	Reason string `json:"reason,omitempty"`
}

// SessionForked begins a session as a copy of another one at some version.
// Steps that were done keep their results; all others are PENDING.
type SessionForked struct {
	Parent Parent  `json:"parent"`
	Plan   Session `json:"plan"`
	Reason string  `json:"reason,omitempty"`
}

// SessionHeld puts the session on hold.
type SessionHeld struct {
	Reason string `json:"reason,omitempty"`
}

// SessionUnheld releases the hold.
type SessionUnheld struct {
	Reason string `json:"reason,omitempty"`
}

// SessionDeleted says that the session was deleted by command; the tombstone
// follows in the same commit.
type SessionDeleted struct {
	Reason string `json:"reason,omitempty"`
	Force  bool   `json:"force,omitempty"`
}

// SessionPurged is the tombstone: the last event of a session.
type SessionPurged struct {
	Tombstone Tombstone `json:"tombstone"`
}

// SessionImported begins a session with the state of an exported one.
type SessionImported struct {
	Plan   Session `json:"plan"`
	Source Parent  `json:"source"`
	// Head is the hash of the source's last commit, in hex.
	Head string `json:"head"`
}

// MetadataSet changes metadata: Set entries are written, Removed keys dropped.
type MetadataSet struct {
	Set     map[string]string `json:"set,omitempty"`
	Removed []string          `json:"removed,omitempty"`
}

// ChainAdded adds a chain at a position (its index among the chains).
type ChainAdded struct {
	Chain    ChainDef `json:"chain"`
	Position int      `json:"position"`
}

// ChainClosed says that no more steps will be added to the chain.
type ChainClosed struct {
	Chain string `json:"chain"`
}

// ChainStarted moves a chain to RUNNING: at the first claim of one of its
// steps, or again because a failed step of it was retried or skipped.
type ChainStarted struct {
	Chain string `json:"chain"`
}

// ChainCompleted ends a chain whose steps are all SUCCESS or SKIPPED.
type ChainCompleted struct {
	Chain string `json:"chain"`
}

// ChainFailed ends a chain because of a step that failed for good.
type ChainFailed struct {
	Chain string `json:"chain"`
	Step  string `json:"step"`
}

// ChainCancelled ends an unfinished chain of a cancelled session.
type ChainCancelled struct {
	Chain string `json:"chain"`
}

// ChainRemoved removes a chain with all its steps.
type ChainRemoved struct {
	Chain  string `json:"chain"`
	Reason string `json:"reason,omitempty"`
}

// ChainMoved gives a chain another position within its session.
type ChainMoved struct {
	Chain    string `json:"chain"`
	Position int    `json:"position"`
}

// ChainMovedOut takes a chain away from its session.
type ChainMovedOut struct {
	Chain string `json:"chain"`
	// To is the session that holds the chain now.
	To string `json:"to"`
}

// ChainMovedIn puts a chain of another session, with its results, into this one.
type ChainMovedIn struct {
	Chain    Chain  `json:"chain"`
	Position int    `json:"position"`
	From     string `json:"from"`
}

// StepAdded adds a step at the end of an open chain.
type StepAdded struct {
	Chain string  `json:"chain"`
	Step  StepDef `json:"step"`
}

// StepStarted says that a worker claimed the step as this attempt.
type StepStarted struct {
	Chain   string `json:"chain"`
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`
	Worker  string `json:"worker"`
	// Lease is how long the worker may stay silent.
	Lease Duration `json:"lease,omitempty"`
	// Deadline is when the attempt times out; zero if the step has no timeout.
	Deadline time.Time `json:"deadline,omitzero"`
}

// StepSucceeded ends a step with its output.
type StepSucceeded struct {
	Chain   string          `json:"chain"`
	Step    string          `json:"step"`
	Attempt int             `json:"attempt"`
	Worker  string          `json:"worker,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
}

// StepFailed ends an attempt that failed. With WillRetry the step is PENDING
// again and due after Backoff; without it the step is FAILED.
type StepFailed struct {
	Chain     string   `json:"chain"`
	Step      string   `json:"step"`
	Attempt   int      `json:"attempt"`
	Worker    string   `json:"worker,omitempty"`
	Failure   Failure  `json:"failure"`
	WillRetry bool     `json:"willRetry,omitempty"`
	Backoff   Duration `json:"backoff,omitempty"`
	// Output is what the attempt had put out so far, if anything.
	Output json.RawMessage `json:"output,omitempty"`
}

// StepTimedOut is StepFailed for an attempt that ran past its deadline or
// lease; without WillRetry the step is TIMEOUT.
type StepTimedOut struct {
	Chain     string          `json:"chain"`
	Step      string          `json:"step"`
	Attempt   int             `json:"attempt"`
	Worker    string          `json:"worker,omitempty"`
	Failure   Failure         `json:"failure"`
	WillRetry bool            `json:"willRetry,omitempty"`
	Backoff   Duration        `json:"backoff,omitempty"`
	Output    json.RawMessage `json:"output,omitempty"`
}

// StepRetried makes a FAILED or TIMEOUT step PENDING and due at once.
type StepRetried struct {
	Chain  string `json:"chain"`
	Step   string `json:"step"`
	Reason string `json:"reason,omitempty"`
	// Input replaces the step's input if it is present.
	Input json.RawMessage `json:"input,omitempty"`
}

// StepSkipped makes a step SKIPPED; Output stands in for its result.
type StepSkipped struct {
	Chain  string          `json:"chain"`
	Step   string          `json:"step"`
	Reason string          `json:"reason,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
}

// StepCancelled ends a step of a cancelled session.
type StepCancelled struct {
	Chain string `json:"chain"`
	Step  string `json:"step"`
}

// StepReleased gives a claimed step back: it is PENDING again and the attempt
// doesn't count against its retry policy.
type StepReleased struct {
	Chain   string `json:"chain"`
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`
	// Reason is "released" by the worker or "interrupted" by a pause.
	Reason string `json:"reason"`
}
