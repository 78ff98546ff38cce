package domain

import (
	"encoding/json"
	"time"
)

// OnFailure says what a session does at the first step that fails for good.
type OnFailure string

// The failure policies.
const (
	// FailStop fails the session at the first final failure (the default).
	FailStop OnFailure = "stop"
	// FailContinue lets chains that do not depend on the failed one go on.
	FailContinue OnFailure = "continue"
)

// Session is the aggregate: everything the rules need to know about one
// session. Its JSON is the view that clients read. It is immutable; see the
// package comment.
type Session struct {
	ID        string            `json:"id"`
	User      string            `json:"user"`
	State     State             `json:"state"`
	Chains    []*Chain          `json:"chains"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Error     *Failure          `json:"error,omitempty"`
	KeepOpen  bool              `json:"keepOpen,omitempty"`
	OnFailure OnFailure         `json:"onFailure"`
	Timeout   Duration          `json:"timeout,omitempty"`
	Priority  int               `json:"priority,omitempty"`
	Hold      *Hold             `json:"hold,omitempty"`
	Parent    *Parent           `json:"parent,omitempty"`
	// InFlight is the number of steps that are RUNNING.
	InFlight  int       `json:"inFlight"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	PausedAt  time.Time `json:"pausedAt,omitzero"`
	// PausedBy is the actor whose pause is in force.
	PausedBy string    `json:"pausedBy,omitempty"`
	EndedAt  time.Time `json:"endedAt,omitzero"`
	// Deadline is when the session times out; zero without a timeout and while
	// the session is not RUNNING.
	Deadline time.Time `json:"deadline,omitzero"`
	// Remaining is what is left of the timeout while the session is not RUNNING.
	Remaining Duration `json:"remaining,omitempty"`
	// Definition is the SHA-256 of the normalised definition, in hex.
	Definition string `json:"definition"`
	// QueueSeq is the sequence of the last queued command that was applied.
	QueueSeq uint64 `json:"queueSeq,omitempty"`
	// Version is the number of events; Commits the number of commits.
	Version uint64 `json:"version"`
	Commits uint64 `json:"commits"`
	// Gone is set once the session was deleted or purged; nothing else of the
	// session is left then but its id, user, state, times, counts and Recent.
	Gone *Tombstone `json:"gone,omitempty"`
	// Recent are the command ids that were applied last, oldest first. A view
	// keeps the last RecentMin. It must not be appended to: what follows it in
	// memory may be another state's.
	Recent []Applied `json:"recent,omitempty"`
	// places are those behind Recent; see remember.
	places *places
}

// Chain is an ordered group of steps.
type Chain struct {
	ID       string      `json:"id"`
	Title    string      `json:"title,omitempty"`
	Status   ChainStatus `json:"status"`
	Open     bool        `json:"open,omitempty"`
	WaitsFor []string    `json:"waitsFor,omitempty"`
	Steps    []*Step     `json:"steps"`
	// StartedAt is when its first step was claimed, EndedAt when it reached
	// COMPLETED, FAILED or CANCELLED last.
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
}

// Step is one piece of work.
type Step struct {
	ID     string `json:"id"`
	Title  string `json:"title,omitempty"`
	Action string `json:"action,omitempty"`
	Manual bool   `json:"manual,omitempty"`
	// WaitsFor are the ids of steps of the same chain, always written out.
	WaitsFor []string     `json:"waitsFor"`
	Timeout  Duration     `json:"timeout,omitempty"`
	Retry    *RetryPolicy `json:"retry,omitempty"`
	Status   StepStatus   `json:"status"`
	// Attempt rises at every claim and names it; Tries counts against the
	// retry policy.
	Attempt int    `json:"attempt,omitempty"`
	Tries   int    `json:"tries,omitempty"`
	Worker  string `json:"worker,omitempty"`
	// Input and Output are JSON; where one is too large for the state, the
	// reference beside it says where it is.
	Input     json.RawMessage `json:"input,omitempty"`
	InputRef  *Ref            `json:"inputRef,omitempty"`
	Output    json.RawMessage `json:"output,omitempty"`
	OutputRef *Ref            `json:"outputRef,omitempty"`
	Error     *Failure        `json:"error,omitempty"`
	// NotBefore is when a step that waits for its backoff is due; while the
	// session is PAUSED it counts from PausedAt.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Deadline is when the running attempt, or a ready manual step, times out.
	Deadline time.Time `json:"deadline,omitzero"`
	// Lease is the lease period of the running attempt.
	Lease Duration `json:"lease,omitempty"`
	// ReadyAt is set for manual steps with a timeout: when they became ready.
	ReadyAt   time.Time `json:"readyAt,omitzero"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
}

// RetryPolicy says how often and when a failed attempt is made again.
type RetryPolicy struct {
	// MaxAttempts is the number of tries in all, at least 1.
	MaxAttempts int `json:"maxAttempts"`
	// Backoff is the pause before the second try; it grows by Factor (at least
	// 1) with each further one, up to MaxBackoff.
	Backoff    Duration `json:"backoff,omitempty"`
	MaxBackoff Duration `json:"maxBackoff,omitempty"`
	Factor     float64  `json:"factor,omitempty"`
}

// Failure is the error of a step or a session, kept whole.
type Failure struct {
	// Code is a short stable name, such as "exit_status" or "timeout".
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	// Stack is the stack trace or the tail of the error output; where it is
	// too large for the state, StackRef says where it is.
	Stack    string    `json:"stack,omitempty"`
	StackRef *Ref      `json:"stackRef,omitempty"`
	Chain    string    `json:"chain,omitempty"`
	Step     string    `json:"step,omitempty"`
	Attempt  int       `json:"attempt,omitempty"`
	Worker   string    `json:"worker,omitempty"`
	Time     time.Time `json:"time,omitzero"`
}

// Ref says where a payload is that is too large for the state: in the event
// with this version of the session, under the chain and step it belongs to.
type Ref struct {
	Version uint64 `json:"version"`
	// Size is in bytes.
	Size int `json:"size"`
	// SHA256 is the digest of the payload in hex.
	SHA256 string `json:"sha256"`
}

// Hold says that the session may not be deleted or purged.
type Hold struct {
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
}

// Parent names the session a fork was made from, and the version it was cut at.
type Parent struct {
	Session string `json:"session"`
	Version uint64 `json:"version"`
}

// Tombstone is what remains of a session that was deleted or purged.
type Tombstone struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Policy string    `json:"policy,omitempty"`
	State  State     `json:"state"`
	Time   time.Time `json:"time"`
	// FirstTime and LastTime are those of the first commit and of the last one
	// before the tombstone.
	FirstTime time.Time `json:"firstTime"`
	LastTime  time.Time `json:"lastTime"`
	// Version and Commits are what the history held before the tombstone.
	Version uint64 `json:"version"`
	Commits uint64 `json:"commits"`
	// Head is the SHA-256 of the last commit before the tombstone, in hex: the
	// digest of the whole hash chain.
	Head string `json:"head,omitempty"`
	// Archive says where the history was archived, if it was.
	Archive string `json:"archive,omitempty"`
}

// New returns the session that does not exist yet: the state every history
// starts from.
func New(user, id string) *Session { return &Session{User: user, ID: id} }

// Exists reports whether the session was created and not deleted or purged.
func (s *Session) Exists() bool { return s.Version > 0 && s.Gone == nil }

// Chain returns the chain with that id, or nil. The result must not be changed.
func (s *Session) Chain(id string) *Chain {
	for _, c := range s.Chains {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// Step returns the step with that id in that chain, or nil. The result must
// not be changed.
func (s *Session) Step(chain, step string) *Step {
	if c := s.Chain(chain); c != nil {
		return c.Step(step)
	}
	return nil
}

// StepCount returns the number of steps over all chains.
func (s *Session) StepCount() int {
	n := 0
	for _, c := range s.Chains {
		n += len(c.Steps)
	}
	return n
}

// Step returns the step with that id, or nil. The result must not be changed.
func (c *Chain) Step(id string) *Step {
	for _, s := range c.Steps {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// Done reports whether every step of the chain is SUCCESS or SKIPPED.
func (c *Chain) Done() bool {
	for _, s := range c.Steps {
		if !s.Status.Done() {
			return false
		}
	}
	return true
}

// Broken reports whether a step of the chain is FAILED or TIMEOUT.
func (c *Chain) Broken() bool {
	for _, s := range c.Steps {
		if s.Status.Broken() {
			return true
		}
	}
	return false
}

// Running returns the number of steps in flight.
func (c *Chain) Running() int {
	n := 0
	for _, s := range c.Steps {
		if s.Status == StepStatusRunning {
			n++
		}
	}
	return n
}
