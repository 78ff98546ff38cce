package engine

import (
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// shedding is an answer that is ready before it is needed: that the engine has too
// much to do for a command to be read. Many may be refused in a short time, and
// each has to cost little.
type shedding struct {
	header nats.Header
	// body lacks its end: the command's id, if it has one, and a brace.
	body []byte
}

// newShedding makes the answer to commands that are refused as busy.
func newShedding(format string, args ...any) *shedding {
	e := problem(domain.Reject(domain.CodeBusy, domain.StateNone, format, args...), "")
	body, err := domain.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("an error is no JSON: %v", err)) // it is strings and numbers
	}
	return &shedding{header: errorHeader(e), body: body[:len(body)-1]}
}

// bodyFor is the body of the answer to a command. An id that is none is left out.
func (s *shedding) bodyFor(commandID string) []byte {
	body := make([]byte, 0, len(s.body)+len(commandID)+32)
	body = append(body, s.body...)
	if domain.ValidCommandID(commandID) {
		body = append(body, `,"commandId":`...)
		body = strconv.AppendQuote(body, commandID) // JSON's way too, for printable ASCII
	}
	return append(body, '}')
}

// shed answers a command that was not read.
func (a *answers) shed(to string, why *shedding, commandID string) {
	if to != "" {
		a.sent(a.nc.PublishMsg(&nats.Msg{Subject: to, Header: why.header, Data: why.bodyFor(commandID)}))
	}
}

// errorHeader has what clients of micro services look at.
func errorHeader(e contract.Error) nats.Header {
	return nats.Header{
		contract.HeaderError:     []string{sentence(e.Message)},
		contract.HeaderErrorCode: []string{strconv.Itoa(contract.Status(e.Code))},
	}
}
