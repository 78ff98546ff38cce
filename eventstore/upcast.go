package eventstore

import (
	"encoding/json"
	"fmt"

	"reprise/domain"
)

// Upcast rewrites the data of an event from one version of its shape to the
// next. It must be pure, and must never be changed once it was released.
type Upcast func(data json.RawMessage) (json.RawMessage, error)

// Upcasts lists, for each event type whose shape has changed, the upcasts in
// order: the first one makes version 2 of version 1, and so on. The current
// version of a type is one more than it has upcasts. A nil map says that every
// event is still in its first version.
type Upcasts map[domain.EventType][]Upcast

// Current returns the version of a type that is written now.
func (u Upcasts) Current(t domain.EventType) int { return len(u[t]) + 1 }

// upcast brings event data to the current version, one version at a time.
func (u Upcasts) upcast(t domain.EventType, version int, data json.RawMessage) (json.RawMessage, error) {
	for v := version; v < u.Current(t); v++ {
		next, err := u[t][v-1](data)
		if err != nil {
			return nil, fmt.Errorf("from version %d of %s to %d: %w", v, t, v+1, err)
		}
		data = next
	}
	return data, nil
}
