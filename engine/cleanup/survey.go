package cleanup

import (
	"context"
	"iter"
	"strings"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/projections"
)

// headerTime is the header with the time of a commit.
const headerTime = "ce-time"

// beginnings are the events with which a history may begin.
var beginnings = []domain.EventType{domain.TypeSessionCreated, domain.TypeSessionForked, domain.TypeSessionImported, domain.TypeSessionPurged}

// trail is what the event stream holds of one session.
type trail struct {
	messages, bytes uint64
	// first and last are sequences, commit that of the last message an engine
	// wrote.
	first, last, commit uint64
	// lastSize is that of the last message.
	lastSize uint64
	// times are of the first and the last message.
	firstTime, lastTime time.Time
	// begins says that the first one an engine wrote begins a history, gone that
	// the last one is a tombstone.
	begins, gone bool
}

// survey is one pass over the headers of the event stream: about 250 bytes of
// memory a session.
type survey struct {
	trails map[eventstore.Key]*trail
	// tick is called for every message with its sequence.
	tick func(seq uint64)
}

// newSurvey reads the event stream up to a sequence.
func newSurvey(ctx context.Context, sessions Sessions, end uint64, tick func(seq uint64)) (*survey, error) {
	s := &survey{trails: map[eventstore.Key]*trail{}, tick: tick}
	if end == 0 {
		return s, nil
	}
	return s, sessions.Raw(ctx, eventstore.Filter{HeadersOnly: true, To: end}, s.note)
}

func (s *survey) note(m eventstore.Message) error {
	s.tick(m.Seq)
	t := s.trails[m.Key]
	if t == nil {
		t = &trail{first: m.Seq, firstTime: timeOf(m)}
		s.trails[m.Key] = t
	}
	t.messages++
	t.bytes += m.Size
	t.last, t.lastSize, t.lastTime = m.Seq, m.Size, timeOf(m)
	if !m.Guarded {
		return nil
	}
	types := m.Header[contract.HeaderTypes]
	if t.commit == 0 {
		t.begins = hasType(types, beginnings...)
	}
	t.commit, t.gone = m.Seq, hasType(types, domain.TypeSessionPurged)
	return nil
}

// heads are the last commits of all sessions.
func (s *survey) heads() iter.Seq2[eventstore.Key, projections.Head] {
	return func(yield func(eventstore.Key, projections.Head) bool) {
		for key, t := range s.trails {
			if t.commit > 0 && !yield(key, projections.Head{Seq: t.commit, Ended: t.gone}) {
				return
			}
		}
	}
}

// timeOf is the time of a commit; for a foreign message when it was stored.
func timeOf(m eventstore.Message) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, m.Header[headerTime]); err == nil {
		return t
	}
	return m.Time
}

// hasType reports whether a list of event types holds one of these.
func hasType(list string, types ...domain.EventType) bool {
	for one := range strings.SplitSeq(list, ",") {
		for _, t := range types {
			if one == string(t) {
				return true
			}
		}
	}
	return false
}
