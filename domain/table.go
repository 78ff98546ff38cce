package domain

import (
	"fmt"
	"slices"
	"strings"
)

// rule says in which states of the session a command is accepted.
type rule struct {
	in []State
	// holds is the state the command asks for; a session already in it answers
	// CodeAlready.
	holds State
}

var (
	anyState = States()
	open     = []State{StatePending, StateRunning, StatePaused}
	mendable = []State{StatePending, StateRunning, StatePaused, StateFailed}
	results  = []State{StateRunning, StatePaused, StateFailed}
)

// rules is the session's part of the transition table; what a command asks of
// chains and steps is decided beside it. docs/states.md shows the same table.
var rules = map[Verb]rule{
	VerbStart:          {in: []State{StatePending}, holds: StateRunning},
	VerbPause:          {in: []State{StateRunning}, holds: StatePaused},
	VerbResume:         {in: []State{StatePaused}, holds: StateRunning},
	VerbCancel:         {in: []State{StateRunning, StatePaused}, holds: StateCancelled},
	VerbComplete:       {in: []State{StateRunning}, holds: StateCompleted},
	VerbSessionTimeout: {in: []State{StateRunning}},
	VerbDelete:         {in: []State{StatePending, StatePaused, StateCompleted, StateFailed, StateCancelled}},
	VerbPurge:          {in: []State{StatePending, StatePaused, StateCompleted, StateFailed, StateCancelled}},
	VerbHold:           {in: anyState},
	VerbUnhold:         {in: anyState},
	VerbMetadataSet:    {in: anyState},
	VerbFork:           {in: anyState},
	VerbChainAdd:       {in: open},
	VerbStepAdd:        {in: open},
	VerbChainClose:     {in: mendable},
	VerbChainRemove:    {in: mendable},
	VerbChainMove:      {in: mendable},
	VerbClaim:          {in: []State{StateRunning}},
	VerbStepRetry:      {in: results},
	VerbStepSkip:       {in: mendable},
	VerbStepSucceed:    {in: []State{StateRunning, StatePaused}},
	VerbStepFail:       {in: []State{StateRunning, StatePaused}},
}

// Accepts reports whether the table lets a verb through in a state of the
// session at all. Verbs of workers' results are judged by their attempt alone.
func Accepts(verb Verb, state State) bool {
	r, ok := rules[verb]
	if !ok {
		return true
	}
	return slices.Contains(r.in, state)
}

// check rejects a command that the table does not allow in this state.
func check(s *Session, verb Verb) *Rejection {
	if Accepts(verb, s.State) {
		return nil
	}
	r := rules[verb]
	if r.holds == s.State {
		return Reject(CodeAlready, s.State, "session %q is already %s", s.ID, s.State)
	}
	return illegal(s, verb, "%s needs %s%s", verb, orStates(r.in), advice(verb, s.State))
}

// doing says in words what a command does to a session, where its name alone
// would read badly.
var doing = map[Verb]string{
	VerbSessionTimeout: "time out",
	VerbMetadataSet:    "set the metadata of",
	VerbChainAdd:       "add a chain to",
	VerbChainClose:     "close a chain of",
	VerbChainRemove:    "remove a chain of",
	VerbChainMove:      "move a chain of",
	VerbStepAdd:        "add a step to",
	VerbStepRetry:      "retry a step of",
	VerbStepSkip:       "skip a step of",
	VerbStepSucceed:    "complete a step of",
	VerbStepFail:       "fail a step of",
	VerbStepTimeout:    "time out a step of",
	VerbClaim:          "claim a step of",
}

// illegal rejects a transition; the format says what the command needs.
func illegal(s *Session, verb Verb, format string, args ...any) *Rejection {
	do, ok := doing[verb]
	if !ok {
		do = string(verb)
	}
	why := fmt.Sprintf(format, args...)
	return Reject(CodeIllegalTransition, s.State, "cannot %s session %q: it is %s; %s", do, s.ID, s.State, why)
}

// refuse rejects a transition of a chain or step, which is named by what; the
// format says why.
func refuse(s *Session, verb Verb, what, format string, args ...any) *Rejection {
	do, _, _ := strings.Cut(doing[verb], " a ")
	why := fmt.Sprintf(format, args...)
	return Reject(CodeIllegalTransition, s.State, "cannot %s %s of session %q: %s", do, what, s.ID, why)
}

func orStates(states []State) string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// advice says what would work instead.
func advice(verb Verb, state State) string {
	switch verb {
	case VerbDelete, VerbPurge:
		return "; cancel it first, or delete it with force"
	case VerbCancel:
		if state == StatePending {
			return "; delete it instead"
		}
		return "; it has ended, delete removes it"
	case VerbPause, VerbComplete, VerbClaim, VerbStepRetry, VerbStepSucceed, VerbStepFail, VerbSessionTimeout:
		if state == StatePending {
			return "; start it first"
		}
	default: // the state alone says what would work
	}
	switch state {
	case StateFailed:
		return "; retry or skip the failed step"
	case StateCompleted, StateCancelled:
		return "; fork it to run it again"
	case StatePaused:
		return "; resume it"
	case StatePending:
		return "; start it first"
	case StateNone, StateRunning:
	}
	return ""
}
