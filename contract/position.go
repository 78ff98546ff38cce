package contract

import (
	"fmt"
	"strconv"
	"strings"
)

// Position is a place in the event stream. A stream that is made anew starts
// at sequence 1 again under another incarnation.
type Position struct {
	Incarnation string `json:"incarnation"`
	Seq         uint64 `json:"seq"`
}

// String writes the position as HeaderMinPosition wants it: incarnation:seq.
func (p Position) String() string { return p.Incarnation + ":" + strconv.FormatUint(p.Seq, 10) }

// ParsePosition reads what String writes.
func ParsePosition(text string) (Position, error) {
	incarnation, seq, ok := strings.Cut(text, ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	if !ok || incarnation == "" || err != nil {
		return Position{}, fmt.Errorf("%.60q is not a position; write incarnation:sequence as a command's answer gives them", text)
	}
	return Position{Incarnation: incarnation, Seq: n}, nil
}
