package archive

import (
	"slices"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// Filter selects sessions; all its conditions have to hold, and the zero value
// selects every session that is not gone.
type Filter struct {
	User string `json:"user,omitempty"`
	// Sessions are ids of sessions of User.
	Sessions []string `json:"sessions,omitempty"`
	// States are joined by or.
	States   []domain.State    `json:"states,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// After is at that time or later, Before is earlier.
	CreatedAfter  time.Time `json:"createdAfter,omitzero"`
	CreatedBefore time.Time `json:"createdBefore,omitzero"`
	UpdatedAfter  time.Time `json:"updatedAfter,omitzero"`
	UpdatedBefore time.Time `json:"updatedBefore,omitzero"`
	// Tombstones selects sessions that are gone as well; only their tombstone is
	// exported.
	Tombstones bool `json:"tombstones,omitempty"`
}

// matches reports whether a session is selected.
func (f *Filter) matches(s *domain.Session) bool {
	if s.Gone != nil && !f.Tombstones || len(f.States) > 0 && !slices.Contains(f.States, s.State) {
		return false
	}
	for k, v := range f.Metadata {
		if have, ok := s.Metadata[k]; !ok || have != v {
			return false
		}
	}
	return within(s.CreatedAt, f.CreatedAfter, f.CreatedBefore) && within(s.UpdatedAt, f.UpdatedAfter, f.UpdatedBefore)
}

func within(t, after, before time.Time) bool {
	return !t.Before(after) && (before.IsZero() || t.Before(before))
}

// keys are the sessions that are named, if any are.
func (f *Filter) keys() []eventstore.Key {
	keys := make([]eventstore.Key, 0, len(f.Sessions))
	for _, id := range f.Sessions {
		if k := (eventstore.Key{User: f.User, Session: id}); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}
