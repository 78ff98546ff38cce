// Package actions holds the handlers that `reprise worker` serves without any
// code of yours: Exec runs commands, HTTP sends requests.
package actions

import (
	"encoding/json"
	"strings"

	"reprise/domain"
	"reprise/worker"
)

// The names under which the handlers are usually served.
const (
	NameExec = "exec"
	NameHTTP = "http"
)

// Builtin returns the handler with a name, with its default configuration; nil
// if there is none.
func Builtin(name string) worker.Handler {
	switch name {
	case NameExec:
		return Exec(ExecConfig{})
	case NameHTTP:
		return HTTP(HTTPConfig{})
	}
	return nil
}

// Names lists the names that Builtin knows.
func Names() []string { return []string{NameExec, NameHTTP} }

// invalid is the failure of a step whose input can't be used. Another try would
// get the same input.
func invalid(message string) *worker.Error {
	return &worker.Error{Code: "invalid_input", Message: message, Permanent: true}
}

// decode reads the input of a step; a field that v does not have is an error.
func decode(t *worker.Task, v any) error {
	if r := domain.DecodeStrict(t.Input, v); r != nil {
		return invalid("the input of the step: " + r.Message)
	}
	return nil
}

// fits reports whether v is small enough for the output of a step.
func fits(v any) bool {
	raw, err := domain.Marshal(v)
	return err == nil && len(raw) <= domain.MaxPayloadBytes
}

// text makes valid UTF-8 of what a program put out.
func text(raw []byte) string { return strings.ToValidUTF8(string(raw), "\uFFFD") }

// asJSON returns raw as a value if it is one JSON text, else nil.
func asJSON(raw []byte) json.RawMessage {
	if !json.Valid(raw) || strings.ToValidUTF8(string(raw), "") != string(raw) {
		return nil
	}
	return json.RawMessage(raw)
}
