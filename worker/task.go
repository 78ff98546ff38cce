package worker

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// maxLine bounds the line of a progress in bytes.
const maxLine = 512

// Task is one attempt of one step, as its handler sees it. The methods are safe
// for concurrent use; the fields must not be changed.
type Task struct {
	User, Session, Chain, Step string
	// Action is the one the handler was registered for.
	Action string
	// Attempt counts from 1 and names the attempt.
	Attempt int
	// IdempotencyKey is session/chain/step/attempt: the same for everything that
	// this attempt does, another for the next attempt.
	IdempotencyKey string
	// Input is the step's input as JSON; nil if it has none.
	Input json.RawMessage
	// Outputs are those of the steps this one waited for, by step id.
	Outputs map[string]contract.StepOutput
	// Deadline is when the handler's context ends, on this machine's clock; zero
	// if the step has no timeout.
	Deadline time.Time

	mu       sync.Mutex
	state    domain.State
	progress contract.Progress
	partial  func() any
	// news has a mark while there is progress that no heartbeat has carried.
	news chan struct{}
}

// NewTask makes the task of an assignment. Workers make their own; this is for
// tests of handlers.
func NewTask(user, session string, a contract.Assignment) *Task {
	t := &Task{
		User: user, Session: session, Chain: a.Chain, Step: a.Step, Action: a.Action, Attempt: a.Attempt,
		IdempotencyKey: a.IdempotencyKey, Input: a.Input, Outputs: a.Outputs,
		state: domain.StateRunning, news: make(chan struct{}, 1),
	}
	if t.IdempotencyKey == "" {
		t.IdempotencyKey = fmt.Sprintf("%s/%s/%s/%d", session, a.Chain, a.Step, a.Attempt)
	}
	if a.Timeout > 0 {
		t.Deadline = time.Now().Add(a.Timeout.Std())
	}
	return t
}

// Decode reads the input into v; without input v stays as it is. The error is
// permanent: the next attempt would get the same input.
func (t *Task) Decode(v any) error {
	if len(t.Input) == 0 {
		return nil
	}
	if err := json.Unmarshal(t.Input, v); err != nil {
		return &Error{Code: "invalid_input", Message: "the input does not fit: " + err.Error(), Permanent: true, Err: err}
	}
	return nil
}

// Output reads the output of a step that this one waited for into v. A step
// without output, as a skipped one may be, leaves v as it is. The error is
// permanent, and ErrNoOutput if this step did not wait for such a step.
func (t *Task) Output(step string, v any) error {
	out, ok := t.Outputs[step]
	if !ok {
		return Permanent(fmt.Errorf("step %q: %w", step, ErrNoOutput))
	}
	if len(out.Output) == 0 {
		return nil
	}
	if err := json.Unmarshal(out.Output, v); err != nil {
		return Permanent(fmt.Errorf("the output of step %q does not fit: %w", step, err))
	}
	return nil
}

// Skipped reports whether a step that this one waited for was skipped.
func (t *Task) Skipped(step string) bool { return t.Outputs[step].Skipped }

// Progress shows one line of what is going on; the last one counts. It is
// cheap: a heartbeat carries it, at most one each Config.ProgressInterval.
func (t *Task) Progress(line string) {
	t.mu.Lock()
	t.progress.Line = cut(line, maxLine)
	t.mu.Unlock()
	t.mark()
}

// Percent shows how much is done, from 0 to 100.
func (t *Task) Percent(percent int) {
	t.mu.Lock()
	t.progress.Percent = min(max(percent, 0), 100)
	t.mu.Unlock()
	t.mark()
}

// PartialOutput registers what heartbeats ask for the output so far. It is kept
// if the attempt ends by timeout or with its worker. The function is called
// from another goroutine; what it returns has to fit domain.MaxPayloadBytes as
// JSON, else it is left out.
func (t *Task) PartialOutput(output func() any) {
	t.mu.Lock()
	t.partial = output
	t.mu.Unlock()
	t.mark()
}

// State is the session's state as the engine said it last: RUNNING, or PAUSED
// or FAILED while the attempt may still report.
func (t *Task) State() domain.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// Snapshot is the progress that a heartbeat would carry now.
func (t *Task) Snapshot() contract.Progress {
	t.mu.Lock()
	progress, partial := t.progress, t.partial
	t.mu.Unlock()
	if partial == nil {
		return progress
	}
	progress.Output = outputOf(partial)
	return progress
}

// outputOf calls a handler's function; nil if it panics or gives what can't be
// sent.
func outputOf(partial func() any) (output json.RawMessage) {
	defer func() {
		if recover() != nil {
			output = nil
		}
	}()
	output, err := encode(partial())
	if err != nil {
		return nil
	}
	return output
}

func (t *Task) mark() {
	select {
	case t.news <- struct{}{}:
	default: // there is a mark already
	}
}

func (t *Task) setState(state domain.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = state
}
