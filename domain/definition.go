package domain

import "encoding/json"

// Definition is what a session is created from: its plan and its settings.
type Definition struct {
	Chains    []ChainDef        `json:"chains,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	KeepOpen  bool              `json:"keepOpen,omitempty"`
	OnFailure OnFailure         `json:"onFailure,omitempty"`
	Timeout   Duration          `json:"timeout,omitempty"`
	Priority  int               `json:"priority,omitempty"`
}

// ChainDef is the plan of a chain.
type ChainDef struct {
	// ID defaults to one derived from the command; in a plan to "1", "2", ...
	ID    string `json:"id,omitempty"`
	Title string `json:"title,omitempty"`
	// Open chains accept more steps until they are closed.
	Open     bool      `json:"open,omitempty"`
	WaitsFor []string  `json:"waitsFor,omitempty"`
	Steps    []StepDef `json:"steps,omitempty"`
}

// StepDef is the plan of a step.
type StepDef struct {
	// ID defaults to the step's number in its chain: "1", "2", ...
	ID     string `json:"id,omitempty"`
	Title  string `json:"title,omitempty"`
	Action string `json:"action,omitempty"`
	// Manual steps are completed by command; they have no task and no lease.
	Manual bool            `json:"manual,omitempty"`
	Input  json.RawMessage `json:"input,omitempty"`
	// WaitsFor left out (nil) means the step before it; empty means none.
	WaitsFor *[]string    `json:"waitsFor,omitempty"`
	Timeout  Duration     `json:"timeout,omitempty"`
	Retry    *RetryPolicy `json:"retry,omitempty"`
}
