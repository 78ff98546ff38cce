package domain

// State is the state of a session.
type State string

// The states of a session. StateNone is the state of a session that does not
// exist; it is never stored.
const (
	StateNone      State = ""
	StatePending   State = "PENDING"
	StateRunning   State = "RUNNING"
	StatePaused    State = "PAUSED"
	StateCompleted State = "COMPLETED"
	StateFailed    State = "FAILED"
	StateCancelled State = "CANCELLED"
)

// States lists every state of an existing session in the order of its life.
func States() []State {
	return []State{StatePending, StateRunning, StatePaused, StateCompleted, StateFailed, StateCancelled}
}

// Valid reports whether s is one of States.
func (s State) Valid() bool {
	switch s {
	case StatePending, StateRunning, StatePaused, StateCompleted, StateFailed, StateCancelled:
		return true
	case StateNone:
	}
	return false
}

// Started reports whether a session in this state has been started and not
// cancelled, which is when its chains may complete.
func (s State) Started() bool {
	switch s {
	case StateRunning, StatePaused, StateCompleted, StateFailed:
		return true
	case StateNone, StatePending, StateCancelled:
	}
	return false
}

// ChainStatus is the status of a chain.
type ChainStatus string

// The statuses of a chain.
const (
	ChainStatusPending   ChainStatus = "PENDING"
	ChainStatusRunning   ChainStatus = "RUNNING"
	ChainStatusCompleted ChainStatus = "COMPLETED"
	ChainStatusFailed    ChainStatus = "FAILED"
	ChainStatusCancelled ChainStatus = "CANCELLED"
)

// ChainStatuses lists every status of a chain.
func ChainStatuses() []ChainStatus {
	return []ChainStatus{ChainStatusPending, ChainStatusRunning, ChainStatusCompleted, ChainStatusFailed, ChainStatusCancelled}
}

// Unfinished reports whether the chain may still do something by itself.
func (s ChainStatus) Unfinished() bool { return s == ChainStatusPending || s == ChainStatusRunning }

// StepStatus is the status of a step.
type StepStatus string

// The statuses of a step. A step that was dispatched and not yet claimed is
// PENDING.
const (
	StepStatusPending   StepStatus = "PENDING"
	StepStatusRunning   StepStatus = "RUNNING"
	StepStatusSuccess   StepStatus = "SUCCESS"
	StepStatusFailed    StepStatus = "FAILED"
	StepStatusSkipped   StepStatus = "SKIPPED"
	StepStatusCancelled StepStatus = "CANCELLED"
	StepStatusTimeout   StepStatus = "TIMEOUT"
)

// StepStatuses lists every status of a step.
func StepStatuses() []StepStatus {
	return []StepStatus{StepStatusPending, StepStatusRunning, StepStatusSuccess, StepStatusFailed, StepStatusSkipped, StepStatusCancelled, StepStatusTimeout}
}

// Done reports whether what waits for the step may go on.
func (s StepStatus) Done() bool { return s == StepStatusSuccess || s == StepStatusSkipped }

// Broken reports whether the step ended without success and may be retried.
func (s StepStatus) Broken() bool { return s == StepStatusFailed || s == StepStatusTimeout }
