package domain

import (
	"encoding/json"
	"time"
)

// Command asks for a change of one session.
type Command interface {
	// Verb returns the stable name of the command, such as "step.retry".
	Verb() Verb
}

// Verb is the stable name of a command: the end of its subject.
type Verb string

// The verbs that anybody who may command a session may use.
const (
	VerbCreate      Verb = "create"
	VerbStart       Verb = "start"
	VerbPause       Verb = "pause"
	VerbResume      Verb = "resume"
	VerbCancel      Verb = "cancel"
	VerbComplete    Verb = "complete"
	VerbDelete      Verb = "delete"
	VerbFork        Verb = "fork"
	VerbMetadataSet Verb = "metadata.set"
	VerbChainAdd    Verb = "chain.add"
	VerbChainClose  Verb = "chain.close"
	VerbChainRemove Verb = "chain.remove"
	VerbChainMove   Verb = "chain.move"
	VerbStepAdd     Verb = "step.add"
	VerbStepRetry   Verb = "step.retry"
	VerbStepSkip    Verb = "step.skip"
	VerbStepSucceed Verb = "step.succeed"
	VerbStepFail    Verb = "step.fail"
	VerbBatch       Verb = "batch"
)

// The verbs of operators.
const (
	VerbHold   Verb = "hold"
	VerbUnhold Verb = "unhold"
)

// The verbs of workers.
const (
	VerbClaim     Verb = "claim"
	VerbHeartbeat Verb = "heartbeat"
	VerbSucceed   Verb = "succeed"
	VerbFail      Verb = "fail"
	VerbRelease   Verb = "release"
)

// The verbs of the engine itself; they are on no subject.
const (
	VerbSessionTimeout Verb = "session.timeout"
	VerbStepTimeout    Verb = "step.timeout"
	VerbPurge          Verb = "purge"
)

// Env is what a decision needs to know of the world.
type Env struct {
	// Now is the time of the commit. Decide never lets a session's time run
	// backwards: an earlier Now counts as the session's UpdatedAt.
	Now time.Time
	// Jitter is in [0,1); it spreads backoffs.
	Jitter float64
	// Actor is the authenticated sender of the command.
	Actor string
	// CommandID names the command; default ids derive from it.
	CommandID string
	// Head is the hash of the session's last commit, in hex, for a tombstone.
	Head string
}

// PauseMode says what happens to attempts in flight when a session is paused.
type PauseMode string

// The pause modes.
const (
	// PauseDrain lets attempts in flight report (the default).
	PauseDrain PauseMode = "drain"
	// PauseInterrupt takes their leases away.
	PauseInterrupt PauseMode = "interrupt"
)

// BatchMode says what happens to a batch of which a command is rejected.
type BatchMode string

// The batch modes.
const (
	// BatchAll is all or nothing (the default).
	BatchAll BatchMode = "all"
	// BatchEach commits what is accepted and reports each command.
	BatchEach BatchMode = "each"
)

// Create makes the session from a definition.
type Create struct {
	Definition
}

// Start moves a PENDING session to RUNNING.
type Start struct{}

// Pause halts a RUNNING session.
type Pause struct {
	Mode   PauseMode `json:"mode,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Resume goes on with a PAUSED session.
type Resume struct{}

// Cancel ends a RUNNING or PAUSED session.
type Cancel struct {
	Reason string `json:"reason,omitempty"`
}

// Complete ends a RUNNING session that was kept open.
type Complete struct{}

// Delete removes a session for good; Force also a RUNNING one.
type Delete struct {
	Reason string `json:"reason,omitempty"`
	Force  bool   `json:"force,omitempty"`
}

// PutHold puts a session on hold: it is not deleted or purged until ReleaseHold.
type PutHold struct {
	Reason string `json:"reason,omitempty"`
}

// ReleaseHold releases a hold.
type ReleaseHold struct {
	Reason string `json:"reason,omitempty"`
}

// SetMetadata writes and removes metadata entries.
type SetMetadata struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// Fork makes a new session from another one. It is decided against the new
// session; the caller supplies Source, the parent's state at the cut, with all
// payloads filled in.
type Fork struct {
	// ID of the new session; defaults to one derived from the command.
	ID string `json:"id,omitempty"`
	// Version and Time say where to cut (the state after the last commit that
	// is not beyond); both zero mean now.
	Version  uint64            `json:"version,omitempty"`
	Time     time.Time         `json:"time,omitzero"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Reason   string            `json:"reason,omitempty"`

	Source *Session `json:"-"`
}

// AddChain adds a chain. Position defaults to the end.
type AddChain struct {
	ChainDef
	Position *int `json:"position,omitempty"`
}

// CloseChain says that no more steps will be added to an open chain.
type CloseChain struct {
	Chain string `json:"chain"`
}

// RemoveChain removes a chain with its steps.
type RemoveChain struct {
	Chain  string `json:"chain"`
	Reason string `json:"reason,omitempty"`
}

// MoveChain gives a chain another position, or another session of the same
// user if To is set; then DecideMove decides it.
type MoveChain struct {
	Chain    string `json:"chain"`
	Position *int   `json:"position,omitempty"`
	To       string `json:"to,omitempty"`
}

// AddStep adds a step at the end of an open chain.
type AddStep struct {
	Chain string  `json:"chain"`
	Step  StepDef `json:"step"`
}

// RetryStep makes a FAILED or TIMEOUT step due at once.
type RetryStep struct {
	Chain  string          `json:"chain"`
	Step   string          `json:"step"`
	Input  json.RawMessage `json:"input,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// SkipStep counts a step as done without running it.
type SkipStep struct {
	Chain  string          `json:"chain"`
	Step   string          `json:"step"`
	Output json.RawMessage `json:"output,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// SucceedManual completes a manual step.
type SucceedManual struct {
	Chain  string          `json:"chain"`
	Step   string          `json:"step"`
	Output json.RawMessage `json:"output,omitempty"`
}

// FailManual fails a manual step.
type FailManual struct {
	Chain string      `json:"chain"`
	Step  string      `json:"step"`
	Error ReportError `json:"error"`
}

// ReportError is the error a worker or a person reports.
type ReportError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"`
	// Retryable false ends the tries; left out it counts as true.
	Retryable *bool `json:"retryable,omitempty"`
}

// Batch carries several commands for one session in one commit.
type Batch struct {
	Mode     BatchMode
	Commands []Command
}

// Claim gives a ready step to a worker as a new attempt.
type Claim struct {
	Chain string `json:"chain"`
	Step  string `json:"step"`
	// Lease is how long the worker may stay silent; the engine bounds it.
	Lease Duration `json:"lease,omitempty"`

	Worker string `json:"-"`
	Action string `json:"-"`
}

// Heartbeat says that an attempt is alive. It appends nothing.
type Heartbeat struct {
	Chain   string `json:"chain"`
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`
	// Progress is kept with the lease, not in the events.
	Progress json.RawMessage `json:"progress,omitempty"`

	Worker string `json:"-"`
	Action string `json:"-"`
}

// Succeed ends an attempt with its output.
type Succeed struct {
	Chain   string          `json:"chain"`
	Step    string          `json:"step"`
	Attempt int             `json:"attempt"`
	Output  json.RawMessage `json:"output,omitempty"`
	// ClaimNext asks for the chain's next ready step in the same commit.
	ClaimNext bool `json:"claimNext,omitempty"`
	// Actions are those the worker serves beside the subject's own, for ClaimNext.
	Actions []string `json:"actions,omitempty"`
	// Lease is for the next step.
	Lease Duration `json:"lease,omitempty"`

	Worker string `json:"-"`
	Action string `json:"-"`
}

// Fail ends an attempt with an error.
type Fail struct {
	Chain   string          `json:"chain"`
	Step    string          `json:"step"`
	Attempt int             `json:"attempt"`
	Error   ReportError     `json:"error"`
	Output  json.RawMessage `json:"output,omitempty"`

	Worker string `json:"-"`
	Action string `json:"-"`
}

// Release gives a claimed step back without counting the attempt.
type Release struct {
	Chain   string `json:"chain"`
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`

	Worker string `json:"-"`
	Action string `json:"-"`
}

// TimeoutStep ends an attempt past its deadline, or past its lease when Lease
// is set. A manual step that is past its deadline is named by attempt 0.
type TimeoutStep struct {
	Chain   string
	Step    string
	Attempt int
	Lease   bool
	// Output is what the attempt had put out so far.
	Output json.RawMessage
}

// TimeoutSession fails a RUNNING session past its timeout.
type TimeoutSession struct{}

// Purge writes the tombstone of a session that cleanup found.
type Purge struct {
	Reason  string
	Policy  string
	Archive string
	// Cancel also takes a RUNNING session: it is cancelled first.
	Cancel bool
}
