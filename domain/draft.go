package domain

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// draft is a session under change. It copies what it touches, once, and shares
// the rest with the session it was made from, which stays as it is.
type draft struct {
	s         *Session
	ownChains bool
	own       []*Chain // chains whose struct and step slice were copied
	// size is what inline returned, while sized.
	size  int
	sized bool
}

func newDraft(s *Session) *draft {
	next := *s
	return &draft{s: &next}
}

// chains makes the slice of chains writable.
func (d *draft) chains() {
	if !d.ownChains {
		d.s.Chains = slices.Clone(d.s.Chains)
		d.ownChains = true
	}
}

// chain returns a writable chain, or nil if there is none with that id.
func (d *draft) chain(id string) *Chain {
	i := slices.IndexFunc(d.s.Chains, func(c *Chain) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	c := d.s.Chains[i]
	if slices.Contains(d.own, c) {
		return c
	}
	d.chains()
	next := *c
	next.Steps = slices.Clone(c.Steps)
	d.s.Chains[i] = &next
	d.own = append(d.own, &next)
	return &next
}

// step returns a writable step, or nil.
func (d *draft) step(chain, id string) *Step {
	c := d.s.Chain(chain)
	if c == nil {
		return nil
	}
	i := slices.IndexFunc(c.Steps, func(st *Step) bool { return st.ID == id })
	if i < 0 {
		return nil
	}
	c = d.chain(chain)
	next := *c.Steps[i]
	c.Steps[i] = &next
	return &next
}

// eachStep calls fn with every step that pick selects, writable.
func (d *draft) eachStep(pick func(*Step) bool, fn func(*Step)) {
	for _, c := range d.s.Chains {
		for _, st := range c.Steps {
			if pick(st) {
				fn(d.step(c.ID, st.ID))
			}
		}
	}
}

// insertChain puts a chain at a position; one beyond the end is the end.
func (d *draft) insertChain(c *Chain, position int) {
	d.chains()
	position = min(max(position, 0), len(d.s.Chains))
	d.s.Chains = slices.Insert(d.s.Chains, position, c)
	d.own = append(d.own, c)
}

// removeChain takes a chain out.
func (d *draft) removeChain(id string) {
	d.chains()
	d.s.Chains = slices.DeleteFunc(d.s.Chains, func(c *Chain) bool { return c.ID == id })
}

// metadata makes the metadata writable.
func (d *draft) metadata() map[string]string {
	d.s.Metadata = maps.Clone(d.s.Metadata)
	if d.s.Metadata == nil {
		d.s.Metadata = map[string]string{}
	}
	return d.s.Metadata
}

// keep decides where a payload lives: in the state, or, if it is large, in the
// event with that version, with a reference in the state.
func (d *draft) keep(raw json.RawMessage, version uint64) (json.RawMessage, *Ref) {
	if len(raw) == 0 {
		return nil, nil
	}
	if len(raw) <= MaxInlinePayload && d.inline()+len(raw) <= MaxInlineTotal {
		d.size += len(raw)
		return raw, nil
	}
	return nil, &Ref{Version: version, Size: len(raw), SHA256: sum(raw)}
}

// keepFailure does the same for the stack of a failure, and shortens the message
// once the state holds much; the event keeps it whole. A session may repeat the
// failure as its own error, so it counts twice.
func (d *draft) keepFailure(f Failure, version uint64) *Failure {
	f.StackRef = nil
	if len(f.Message) > shortMessage && d.inline()+2*len(f.Message) > MaxInlineTotal {
		f.Message = strings.ToValidUTF8(f.Message[:shortMessage], "") + "…"
	}
	d.size += len(f.Message)
	if f.Stack != "" && (len(f.Stack) > MaxInlinePayload || d.inline()+2*len(f.Stack) > MaxInlineTotal) {
		f.StackRef = &Ref{Version: version, Size: len(f.Stack), SHA256: sum([]byte(f.Stack))}
		f.Stack = ""
	}
	d.size += len(f.Stack)
	return &f
}

// inline is the size of all payloads kept in the state, in bytes. It is counted
// once an event; keep and keepFailure add to it.
func (d *draft) inline() int {
	if !d.sized {
		d.size, d.sized = d.countInline(), true
	}
	return d.size
}

func (d *draft) countInline() int {
	n := 0
	if d.s.Error != nil {
		n += len(d.s.Error.Stack) + len(d.s.Error.Message)
	}
	for _, c := range d.s.Chains {
		for _, st := range c.Steps {
			n += len(st.Input) + len(st.Output)
			if st.Error != nil {
				n += len(st.Error.Stack) + len(st.Error.Message)
			}
		}
	}
	return n
}
