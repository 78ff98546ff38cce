package engine

import (
	"strconv"

	"reprise/contract"
	"reprise/domain"
)

// replyBytes is about what an answer takes.
const replyBytes = 512

// marshalReply writes an answer as domain.Marshal does. Answers are most of
// what is written, and most of them hold nothing but ids and counts: those are
// written here, at a fraction of the cost, and all others by domain.Marshal.
func marshalReply(r *contract.Reply) ([]byte, error) {
	if !plainReply(r) {
		return domain.Marshal(r)
	}
	b := append(make([]byte, 0, replyBytes), `{"commandId":"`...)
	b = append(b, r.CommandID...)
	b = append(b, `","session":"`...)
	b = append(b, r.Session...)
	b = append(b, `","user":"`...)
	b = append(b, r.User...)
	b = append(b, `","state":"`...)
	b = append(b, r.State...)
	b = append(b, `","version":`...)
	b = strconv.AppendUint(b, r.Version, 10)
	b = append(b, `,"position":{"incarnation":"`...)
	b = append(b, r.Position.Incarnation...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, r.Position.Seq, 10)
	b = append(b, `},"events":[`...)
	for i, e := range r.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSummary(b, e)
	}
	b = append(b, `],"duplicate":`...)
	b = strconv.AppendBool(b, r.Duplicate)
	return append(b, '}'), nil
}

func appendSummary(b []byte, e contract.EventSummary) []byte {
	b = append(append(b, `{"type":"`...), e.Type...)
	if e.Chain != "" {
		b = append(append(b, `","chain":"`...), e.Chain...)
	}
	if e.Step != "" {
		b = append(append(b, `","step":"`...), e.Step...)
	}
	return append(b, `"}`...)
}

// plainReply reports whether an answer has only the fields that every answer
// has, and no text that JSON would have to escape.
func plainReply(r *contract.Reply) bool {
	if r.DryRun || r.Results != nil || r.Claimed != nil || r.Events == nil {
		return false
	}
	return plainText(r.CommandID) && plainText(r.User) && plainText(r.Session) && plainText(r.Position.Incarnation)
}

// plainText reports whether JSON writes a text as it is.
func plainText(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
