package contract

import (
	"encoding/json"
	"time"

	"reprise/domain"
)

// Reply is the answer to an accepted command.
type Reply struct {
	CommandID string       `json:"commandId"`
	Session   string       `json:"session"`
	User      string       `json:"user"`
	State     domain.State `json:"state"`
	// Version is that of the session after the command.
	Version  uint64         `json:"version"`
	Position Position       `json:"position"`
	Events   []EventSummary `json:"events"`
	// Duplicate says that the answer repeats that of an earlier command with
	// the same id, or that the session existed with the same definition.
	Duplicate bool `json:"duplicate"`
	// DryRun says that nothing was appended; Data of the events is filled then.
	DryRun bool `json:"dryRun,omitempty"`
	// Results has an entry for each command of a batch.
	Results []domain.Result `json:"results,omitempty"`
	// Claimed is the step a worker got, by claim or claimNext.
	Claimed *Assignment `json:"claimed,omitempty"`
}

// EventSummary names one event of a commit.
type EventSummary struct {
	// Session is set where the event is another session's: in the dry run of a
	// move, for what the target would get.
	Session string           `json:"session,omitempty"`
	Type    domain.EventType `json:"type"`
	Chain   string           `json:"chain,omitempty"`
	Step    string           `json:"step,omitempty"`
	// Data is the whole event, in the answer to a dry run and in histories.
	Data json.RawMessage `json:"data,omitempty"`
}

// Assignment is what a worker gets when it claims a step.
type Assignment struct {
	Chain   string          `json:"chain"`
	Step    string          `json:"step"`
	Action  string          `json:"action"`
	Attempt int             `json:"attempt"`
	Input   json.RawMessage `json:"input,omitempty"`
	// Outputs are those of the steps this one waited for, by step id.
	Outputs map[string]StepOutput `json:"outputs,omitempty"`
	// IdempotencyKey is session/chain/step/attempt.
	IdempotencyKey string          `json:"idempotencyKey"`
	Lease          domain.Duration `json:"lease"`
	Deadline       time.Time       `json:"deadline,omitzero"`
	// Timeout is what is left until the deadline.
	Timeout domain.Duration `json:"timeout,omitempty"`
}

// StepOutput is the result of a step that another one waited for.
type StepOutput struct {
	Output  json.RawMessage `json:"output,omitempty"`
	Skipped bool            `json:"skipped,omitempty"`
}

// Error is the body of a rejection.
type Error struct {
	Code    domain.Code  `json:"code"`
	Message string       `json:"message"`
	State   domain.State `json:"state,omitempty"`
	Field   string       `json:"field,omitempty"`
	// CommandID is set where it is known, so that the caller may ask again.
	CommandID string `json:"commandId,omitempty"`
	// Version is the session's, for a version conflict.
	Version uint64 `json:"version,omitempty"`
	// RetryAfter is a hint for busy and unavailable.
	RetryAfter domain.Duration `json:"retryAfter,omitempty"`
}

// The names of the queries.
const (
	QueryGet     = "get"
	QueryList    = "list"
	QueryCount   = "count"
	QueryHistory = "history"
	QueryAt      = "at"
)

// GetRequest asks for one session.
type GetRequest struct {
	Session string `json:"session"`
}

// GetReply is a session as it is now, with all payloads filled in.
type GetReply struct {
	Session *domain.Session `json:"session"`
	// Waiting is what it waits for, as in a Row; Unserved are all actions of ready
	// steps that no worker serves. They and Running are no part of the answer to
	// QueryAt.
	Waiting  []Waiting `json:"waiting,omitempty"`
	Unserved []string  `json:"unserved,omitempty"`
	// Running are the steps in flight, at most MaxRunning of them.
	Running  []RunningStep `json:"running,omitempty"`
	Position Position      `json:"position"`
}

// MaxRunning is how many steps in flight a GetReply describes.
const MaxRunning = 256

// Filter selects sessions of one user. Conditions of different kinds are joined
// by and, values of one kind by or.
type Filter struct {
	States     []domain.State       `json:"states,omitempty"`
	ChainState []domain.ChainStatus `json:"chainStates,omitempty"`
	StepState  []domain.StepStatus  `json:"stepStates,omitempty"`
	// Waiting selects sessions that wait for one of these.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Metadata keys have to be declared to the engine.
	Metadata      map[string]string `json:"metadata,omitempty"`
	CreatedAfter  time.Time         `json:"createdAfter,omitzero"`
	CreatedBefore time.Time         `json:"createdBefore,omitzero"`
	UpdatedAfter  time.Time         `json:"updatedAfter,omitzero"`
	UpdatedBefore time.Time         `json:"updatedBefore,omitzero"`
}

// ListRequest asks for one page of sessions.
type ListRequest struct {
	Filter
	// Sort is "created" (the default), "-created", "updated" or "-updated".
	Sort string `json:"sort,omitempty"`
	// Limit is the page size: 1 to MaxPage, DefaultPage if 0.
	Limit int `json:"limit,omitempty"`
	// Page is the token of the reply before.
	Page string `json:"page,omitempty"`
}

// The sizes of a page.
const (
	DefaultPage = 50
	MaxPage     = 1000
)

// Row is one session of a list.
type Row struct {
	ID        string       `json:"id"`
	User      string       `json:"user"`
	State     domain.State `json:"state"`
	Version   uint64       `json:"version"`
	CreatedAt time.Time    `json:"createdAt"`
	UpdatedAt time.Time    `json:"updatedAt"`
	Chains    int          `json:"chains"`
	Steps     int          `json:"steps"`
	StepsDone int          `json:"stepsDone"`
	InFlight  int          `json:"inFlight"`
	Priority  int          `json:"priority,omitempty"`
	Held      bool         `json:"held,omitempty"`
	// Waiting is what the session waits for, in the order of Waitings; empty if
	// it is over, or only waits for what is in flight.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Unserved are actions of ready steps that no worker serves, at most
	// MaxUnserved.
	Unserved []string          `json:"unserved,omitempty"`
	Error    string            `json:"error,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// MaxUnserved is how many actions without a worker a row names.
const MaxUnserved = 4

// ListReply is one page.
type ListReply struct {
	Sessions []Row `json:"sessions"`
	// Next is the token of the next page; empty on the last.
	Next     string   `json:"next,omitempty"`
	Position Position `json:"position"`
}

// CountRequest asks how many sessions there are.
type CountRequest struct{ Filter }

// CountReply is the number of sessions by state.
type CountReply struct {
	Total    int                  `json:"total"`
	States   map[domain.State]int `json:"states"`
	Position Position             `json:"position"`
}

// HistoryRequest asks for the commits of one session, oldest first.
type HistoryRequest struct {
	Session string `json:"session"`
	// FromVersion is the version to begin with; 0 means the first.
	FromVersion uint64 `json:"fromVersion,omitempty"`
	// Limit is the number of commits: 1 to MaxPage, DefaultPage if 0.
	Limit int `json:"limit,omitempty"`
	// Types keeps commits that hold one of these event types; empty keeps all.
	Types []domain.EventType `json:"types,omitempty"`
}

// HistoryReply is a page of commits.
type HistoryReply struct {
	Session string        `json:"session"`
	Commits []CommitEntry `json:"commits"`
	// Next is the FromVersion of the next page; 0 on the last.
	Next     uint64   `json:"next,omitempty"`
	Position Position `json:"position"`
}

// CommitEntry is one commit of a history.
type CommitEntry struct {
	Seq     uint64         `json:"seq"`
	Version uint64         `json:"version"`
	Commit  string         `json:"commit"`
	Time    time.Time      `json:"time"`
	Actor   string         `json:"actor"`
	Cause   domain.Verb    `json:"cause"`
	State   domain.State   `json:"state"`
	Hash    string         `json:"hash"`
	Prev    string         `json:"prev,omitempty"`
	Events  []EventSummary `json:"events"`
}

// AtRequest asks for a session as it was: at a version, a stream sequence or a
// time. Exactly one of them is set.
type AtRequest struct {
	Session string    `json:"session"`
	Version uint64    `json:"version,omitempty"`
	Seq     uint64    `json:"seq,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}
