package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// commands makes an empty command of every verb that has a body.
var commands = map[Verb]func() Command{
	VerbCreate:      func() Command { return new(Create) },
	VerbStart:       func() Command { return new(Start) },
	VerbPause:       func() Command { return new(Pause) },
	VerbResume:      func() Command { return new(Resume) },
	VerbCancel:      func() Command { return new(Cancel) },
	VerbComplete:    func() Command { return new(Complete) },
	VerbDelete:      func() Command { return new(Delete) },
	VerbFork:        func() Command { return new(Fork) },
	VerbMetadataSet: func() Command { return new(SetMetadata) },
	VerbChainAdd:    func() Command { return new(AddChain) },
	VerbChainClose:  func() Command { return new(CloseChain) },
	VerbChainRemove: func() Command { return new(RemoveChain) },
	VerbChainMove:   func() Command { return new(MoveChain) },
	VerbStepAdd:     func() Command { return new(AddStep) },
	VerbStepRetry:   func() Command { return new(RetryStep) },
	VerbStepSkip:    func() Command { return new(SkipStep) },
	VerbStepSucceed: func() Command { return new(SucceedManual) },
	VerbStepFail:    func() Command { return new(FailManual) },
	VerbHold:        func() Command { return new(PutHold) },
	VerbUnhold:      func() Command { return new(ReleaseHold) },
	VerbClaim:       func() Command { return new(Claim) },
	VerbHeartbeat:   func() Command { return new(Heartbeat) },
	VerbSucceed:     func() Command { return new(Succeed) },
	VerbFail:        func() Command { return new(Fail) },
	VerbRelease:     func() Command { return new(Release) },
}

// UserVerbs lists the verbs on command subjects, batch among them.
func UserVerbs() []Verb {
	return []Verb{
		VerbCreate, VerbStart, VerbPause, VerbResume, VerbCancel, VerbComplete, VerbDelete, VerbFork,
		VerbMetadataSet, VerbChainAdd, VerbChainClose, VerbChainRemove, VerbChainMove,
		VerbStepAdd, VerbStepRetry, VerbStepSkip, VerbStepSucceed, VerbStepFail, VerbBatch,
	}
}

// OperatorVerbs lists the verbs that operators have beside those of users.
func OperatorVerbs() []Verb { return []Verb{VerbHold, VerbUnhold} }

// WorkerVerbs lists the verbs on worker subjects.
func WorkerVerbs() []Verb {
	return []Verb{VerbClaim, VerbHeartbeat, VerbSucceed, VerbFail, VerbRelease}
}

// DecodeCommand reads the JSON body of a command; an empty body is an empty
// object. It is strict: a field that the command does not have is rejected by
// name. The error is a *Rejection with CodeInvalid.
func DecodeCommand(verb Verb, body []byte) (Command, error) {
	if len(body) > MaxCommandBytes {
		return nil, Invalid("", "the body has %d bytes; the most there may be is %d", len(body), MaxCommandBytes)
	}
	if c := readCommand(verb, body); c != nil {
		return c, nil
	}
	if verb == VerbBatch {
		return decodeBatch(body)
	}
	newCommand, ok := commands[verb]
	if !ok {
		return nil, unknownVerb(verb)
	}
	c := newCommand()
	if r := DecodeStrict(body, c); r != nil {
		return nil, r
	}
	return c, nil
}

func unknownVerb(verb Verb) *Rejection {
	names := make([]string, 0, len(commands))
	for _, v := range UserVerbs() {
		names = append(names, string(v))
	}
	return Invalid("verb", "there is no command %.80q; there are %s", string(verb), strings.Join(names, ", "))
}

// batchBody is the JSON of a batch.
type batchBody struct {
	Mode     BatchMode `json:"mode,omitempty"`
	Commands []struct {
		Verb Verb            `json:"verb"`
		Body json.RawMessage `json:"body,omitempty"`
	} `json:"commands"`
}

func decodeBatch(body []byte) (Command, error) {
	var raw batchBody
	if r := DecodeStrict(body, &raw); r != nil {
		return nil, r
	}
	b := &Batch{Mode: raw.Mode}
	switch {
	case b.Mode == "":
		b.Mode = BatchAll
	case b.Mode != BatchAll && b.Mode != BatchEach:
		return nil, Invalid("mode", "%.40q is no batch mode; use all or each", b.Mode)
	}
	if n := len(raw.Commands); n == 0 || n > MaxBatch {
		return nil, Invalid("commands", "a batch has 1 to %d commands, not %d", MaxBatch, n)
	}
	for i, one := range raw.Commands {
		newCommand, ok := commands[one.Verb]
		if !ok || !inBatchAllowed(one.Verb) {
			return nil, Invalid(fmt.Sprintf("commands[%d].verb", i), "%.80q can't be part of a batch", string(one.Verb))
		}
		if c := readCommand(one.Verb, one.Body); c != nil {
			b.Commands = append(b.Commands, c)
			continue
		}
		c := newCommand()
		if r := DecodeStrict(one.Body, c); r != nil {
			body := fmt.Sprintf("commands[%d].body", i)
			return nil, Invalid(body, "%s", r.Message).in(strings.TrimSuffix(body+"."+r.Field, "."))
		}
		b.Commands = append(b.Commands, c)
	}
	return b, nil
}

// inBatchAllowed reports whether a verb may stand in a batch: those of users but
// for the ones that touch another session or end this one.
func inBatchAllowed(verb Verb) bool {
	ends := []Verb{VerbFork, VerbDelete, VerbBatch}
	return slices.Contains(UserVerbs(), verb) && !slices.Contains(ends, verb)
}

// DecodeStrict reads one JSON object into v, a pointer to a struct, and rejects,
// with CodeInvalid, fields that v does not have, fields that stand twice, and
// anything after the object. Names of fields have to be spelt exactly. An empty
// body and null count as an empty object.
func DecodeStrict(body []byte, v any) *Rejection {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !utf8.Valid(body) {
		return Invalid("", "the body is not JSON: it is not UTF-8 text")
	}
	err := json.Unmarshal(body, v)
	var wrong *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &wrong) {
		return notJSON(err)
	}
	t := reflect.TypeOf(v)
	if r := checkNames(body, t); r != nil {
		return r
	}
	if wrong != nil {
		return Invalid(pathAt(body, t, int(wrong.Offset)), "a JSON %s can't stand here", wrong.Value)
	}
	return nil
}

// notJSON says what is wrong with a body that can't be read at all.
func notJSON(err error) *Rejection {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) && strings.HasSuffix(err.Error(), "after top-level value"):
		return Invalid("", "the body goes on after the end of its JSON object, at byte %d", syntax.Offset)
	case errors.As(err, &syntax) && err.Error() == "unexpected end of JSON input":
		return Invalid("", "the body is not JSON: it ends in the middle")
	case errors.As(err, &syntax):
		return Invalid("", "the body is not JSON: %v, at byte %d", err, syntax.Offset)
	}
	return Invalid("", "%s", strings.TrimPrefix(err.Error(), "json: "))
}
