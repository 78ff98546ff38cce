package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
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
		c := newCommand()
		if r := DecodeStrict(one.Body, c); r != nil {
			return nil, Invalid(fmt.Sprintf("commands[%d].body", i), "%s", r.Message)
		}
		b.Commands = append(b.Commands, c)
	}
	return b, nil
}

// inBatchAllowed reports whether a verb may stand in a batch: those of users but
// for the ones that touch another session or end this one.
func inBatchAllowed(verb Verb) bool {
	switch verb {
	case VerbFork, VerbDelete, VerbBatch:
		return false
	}
	return slices.Contains(UserVerbs(), verb)
}

// DecodeStrict reads one JSON object into v and rejects, with CodeInvalid,
// fields that v does not have and anything after the object. An empty body and
// null count as an empty object.
func DecodeStrict(body []byte, v any) *Rejection {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !utf8.Valid(body) {
		return Invalid("", "the body is not JSON: it is not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Invalid("", "the body goes on after the end of its JSON object, at byte %d", dec.InputOffset())
	}
	return nil
}

// decodeError says what is wrong in the words of the body.
func decodeError(err error) *Rejection {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return Invalid("", "the body is not JSON: %v, at byte %d", err, syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Invalid("", "the body is not JSON: it ends in the middle")
	case errors.As(err, &wrong) && wrong.Type == durationType:
		return Invalid(jsonPath(wrong.Field), "%s", wrong.Value)
	case errors.As(err, &wrong):
		return Invalid(jsonPath(wrong.Field), "a JSON %s can't stand here", wrong.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if field, ok := strings.CutPrefix(text, "unknown field "); ok {
		if plain, err := strconv.Unquote(field); err == nil {
			field = plain
		}
		return &Rejection{Code: CodeInvalid, Field: field, Message: fmt.Sprintf("there is no field %.80q here", field)}
	}
	return Invalid("", "%s", text)
}

// jsonPath drops the names of embedded Go structs from the decoder's path; JSON
// names begin with a small letter.
func jsonPath(field string) string {
	names := strings.Split(field, ".")
	return strings.Join(slices.DeleteFunc(names, func(name string) bool {
		return name != "" && name[0] >= 'A' && name[0] <= 'Z'
	}), ".")
}
