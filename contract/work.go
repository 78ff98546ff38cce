package contract

import (
	"encoding/json"
	"strings"

	"reprise/domain"
)

// Task is the body of a message in the work stream: an offer of one step. The
// subject names action, user, session, chain and step. An offer is a hint, never
// a promise: whether the step may run is decided by the claim.
type Task struct {
	// Attempt is the number the claim will get if nothing else happens first.
	Attempt int `json:"attempt"`
	// Version of the session when the offer was made.
	Version uint64 `json:"version"`
}

// TaskRef is what the subject of a task names.
type TaskRef struct {
	Action, User, Session, Chain, Step string
}

// ParseWork reads the subject of a task.
func (n Names) ParseWork(subject string) (TaskRef, bool) {
	rest, ok := strings.CutPrefix(subject, n.prefix+".work.")
	t := strings.Split(rest, ".")
	if !ok || len(t) != 5 {
		return TaskRef{}, false
	}
	user, err := ParseUserToken(t[1])
	for _, id := range []string{t[0], t[2], t[3], t[4]} {
		ok = ok && ValidToken(id)
	}
	return TaskRef{Action: t[0], User: user, Session: t[2], Chain: t[3], Step: t[4]}, ok && err == nil
}

// Serve returns the subject on which a worker asks for the consumer of an action.
func (n Names) Serve(worker, action string) string {
	return n.prefix + ".wrk." + worker + "." + action + ".serve"
}

// ServeReply tells a worker where to pull tasks of an action.
type ServeReply struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	// Lease is the lease that the engine gives where a claim asks for none.
	Lease domain.Duration `json:"lease"`
}

// Progress is what a worker may send with a heartbeat: shown, not stored in events.
type Progress struct {
	Line    string          `json:"line,omitempty"`
	Percent int             `json:"percent,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
}
