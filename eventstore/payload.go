package eventstore

import (
	"context"
	"encoding/json"
	"fmt"

	"reprise/domain"
)

// PayloadKind names one payload of a step.
type PayloadKind string

// The payloads of a step that may be too large for the state.
const (
	PayloadInput  PayloadKind = "input"
	PayloadOutput PayloadKind = "output"
	// PayloadStack is the stack of the step's error, as a JSON string.
	PayloadStack PayloadKind = "stack"
)

// payloadID names one payload in one event of a session.
type payloadID struct {
	version     uint64
	chain, step string
	kind        PayloadKind
}

// Hydrate returns the session with every payload filled in that its state only
// refers to. It reads the commits that hold them.
func (s *Store) Hydrate(ctx context.Context, agg Aggregate) (*domain.Session, error) {
	wanted := map[payloadID]json.RawMessage{}
	rewrite(agg.Session, func(id payloadID) (json.RawMessage, bool) {
		wanted[id] = nil
		return nil, false
	})
	if len(wanted) == 0 {
		return agg.Session, nil
	}
	if err := s.collect(ctx, agg, wanted); err != nil {
		return nil, err
	}
	return rewrite(agg.Session, func(id payloadID) (json.RawMessage, bool) {
		return wanted[id], true
	}), nil
}

// Payload returns one payload of a step, from the state or from the commit that
// holds it; nil if the step has none. A step that is not there is ErrNotFound.
func (s *Store) Payload(ctx context.Context, agg Aggregate, chain, step string, kind PayloadKind) (json.RawMessage, error) {
	st := agg.Session.Step(chain, step)
	if st == nil {
		return nil, fmt.Errorf("session %s has no step %q in chain %q: %w", agg.Key, step, chain, ErrNotFound)
	}
	inline, ref, err := inState(st, kind)
	if err != nil || ref == nil {
		return inline, err
	}
	id := payloadID{ref.Version, chain, step, kind}
	wanted := map[payloadID]json.RawMessage{id: nil}
	err = s.collect(ctx, agg, wanted)
	return wanted[id], err
}

// inState returns a payload that the state holds, or where else it is.
func inState(st *domain.Step, kind PayloadKind) (json.RawMessage, *domain.Ref, error) {
	switch kind {
	case PayloadInput:
		return st.Input, st.InputRef, nil
	case PayloadOutput:
		return st.Output, st.OutputRef, nil
	case PayloadStack:
		if st.Error == nil || st.Error.StackRef != nil || st.Error.Stack == "" {
			return nil, stackRef(st.Error), nil
		}
		raw, err := domain.Marshal(st.Error.Stack)
		return raw, nil, err
	}
	return nil, nil, fmt.Errorf("%q is no payload of a step; there are input, output and stack", kind)
}

func stackRef(f *domain.Failure) *domain.Ref {
	if f == nil {
		return nil
	}
	return f.StackRef
}

// collect reads the wanted payloads from the history of a session, block by
// block where there are blocks.
func (s *Store) collect(ctx context.Context, agg Aggregate, wanted map[payloadID]json.RawMessage) error {
	head, err := s.driver.Get(ctx, agg.Seq)
	if err != nil {
		return fmt.Errorf("session %s, sequence %d: %w", agg.Key, agg.Seq, err)
	}
	for left := len(wanted); left > 0; {
		newest := uint64(0)
		for id, have := range wanted {
			if have == nil {
				newest = max(newest, id.version)
			}
		}
		if err := s.collectBlock(ctx, head, newest, wanted); err != nil {
			return err
		}
		before := left
		left = lacking(wanted)
		if left == before {
			return fmt.Errorf("session %s: %w: %d payloads are not in the events that the state names", agg.Key, ErrCorrupt, left)
		}
	}
	return nil
}

// lacking counts the payloads that were not found yet.
func lacking(wanted map[payloadID]json.RawMessage) int {
	n := 0
	for _, have := range wanted {
		if have == nil {
			n++
		}
	}
	return n
}

// collectBlock reads the wanted payloads that are in the block of the newest
// one; all of them if the walk can't begin at the end of that block.
func (s *Store) collectBlock(ctx context.Context, head Message, newest uint64, wanted map[payloadID]json.RawMessage) error {
	head, b := s.near(ctx, head, newest)
	oldest := newest
	for id, have := range wanted {
		if have == nil && (b == nil || BlockOf(id.version) == b.Number) {
			oldest = min(oldest, id.version)
		}
	}
	return s.walkIn(ctx, hints{block: b}, head, func(m Message) (bool, error) {
		c, err := s.decode(m)
		if err != nil {
			return false, err
		}
		for id, have := range wanted {
			if have == nil && id.version >= c.Commit.Version && id.version <= c.Commit.LastVersion() {
				wanted[id] = payloadOf(c.Commit.Events[id.version-c.Commit.Version], id)
			}
		}
		return c.Commit.Version > oldest, nil
	})
}

// rewrite returns the session with its references replaced by what fill
// returns; where fill reports false the reference stays.
func rewrite(s *domain.Session, fill func(payloadID) (json.RawMessage, bool)) *domain.Session {
	next := *s
	next.Chains = make([]*domain.Chain, len(s.Chains))
	for i, c := range s.Chains {
		chain := *c
		chain.Steps = make([]*domain.Step, len(c.Steps))
		for j, st := range c.Steps {
			chain.Steps[j] = rewriteStep(c.ID, st, fill)
		}
		next.Chains[i] = &chain
	}
	if s.Error != nil {
		next.Error = rewriteFailure(s.Error, s.Error.Chain, s.Error.Step, fill)
	}
	return &next
}

func rewriteStep(chain string, s *domain.Step, fill func(payloadID) (json.RawMessage, bool)) *domain.Step {
	st := *s
	if st.InputRef != nil {
		if raw, ok := fill(payloadID{st.InputRef.Version, chain, st.ID, PayloadInput}); ok {
			st.Input, st.InputRef = raw, nil
		}
	}
	if st.OutputRef != nil {
		if raw, ok := fill(payloadID{st.OutputRef.Version, chain, st.ID, PayloadOutput}); ok {
			st.Output, st.OutputRef = raw, nil
		}
	}
	if st.Error != nil {
		st.Error = rewriteFailure(st.Error, chain, st.ID, fill)
	}
	return &st
}

func rewriteFailure(f *domain.Failure, chain, step string, fill func(payloadID) (json.RawMessage, bool)) *domain.Failure {
	if f.StackRef == nil {
		return f
	}
	raw, ok := fill(payloadID{f.StackRef.Version, chain, step, PayloadStack})
	if !ok {
		return f
	}
	next := *f
	next.StackRef = nil
	// The stack was written by this program as a JSON string.
	if err := json.Unmarshal(raw, &next.Stack); err != nil {
		next.Stack = ""
	}
	return &next
}
