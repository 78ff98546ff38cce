package archive

import (
	"context"
	"errors"
	"fmt"

	"reprise/eventstore"
)

// ErrClash says that a session is there with another history; the detail is a
// *ClashError.
var ErrClash = errors.New("a session is there with another history")

// Clash is a session that can't be restored because of what is there.
type Clash struct {
	Session string `json:"session"` // user and session
	// Version is the first that differs, 0 if it is not about one.
	Version uint64 `json:"version,omitempty"`
	Reason  string `json:"reason"`
}

// ClashError has the first clashes and counts all.
type ClashError struct {
	Clashes []Clash
	Total   uint64
}

// Error names the first clash.
func (e *ClashError) Error() string {
	text := e.Clashes[0].Reason
	if e.Total > 1 {
		text += fmt.Sprintf("; and %d more", e.Total-1)
	}
	return text
}

// Is makes errors.Is(err, ErrClash) true.
func (e *ClashError) Is(target error) bool { return target == ErrClash }

func clashed(key eventstore.Key, version uint64, format string, args ...any) *ClashError {
	return &ClashError{Total: 1, Clashes: []Clash{{Session: key.String(), Version: version, Reason: fmt.Sprintf(format, args...)}}}
}

// restorer restores one session: it skips what is there and appends the rest.
type restorer struct {
	store   *eventstore.Store
	agg     eventstore.Aggregate
	found   uint64 // the version that was there at the start
	written uint64 // commits
	// last is the hash of the last commit that was given.
	last string
}

// newRestorer loads what is there.
func newRestorer(ctx context.Context, store *eventstore.Store, key eventstore.Key) (*restorer, error) {
	agg, err := store.Load(ctx, key)
	if err == nil {
		agg, err = store.Confirm(ctx, agg)
	}
	if err != nil {
		return nil, fmt.Errorf("what is there of session %s can't be read: %w", key, err)
	}
	return &restorer{store: store, agg: agg, found: agg.Session.Version}, nil
}

// add restores the next commit of the history. A commit that does not follow on
// what is there is ErrClash.
func (r *restorer) add(ctx context.Context, version uint64, o eventstore.Original) error {
	r.last = eventstore.Hash(o.Body)
	if version <= r.agg.Session.Version || r.agg.Session.Gone != nil {
		return nil
	}
	next, err := r.store.Restore(ctx, r.agg, o)
	switch {
	case err == nil:
		r.agg = next
		r.written++
		return nil
	case errors.Is(err, eventstore.ErrConflict):
		return clashed(r.agg.Key, version, "session %s was changed at version %d while it was restored; nobody may command it meanwhile", r.agg.Key, version)
	case errors.Is(err, eventstore.ErrCorrupt):
		return clashed(r.agg.Key, r.found, "session %s is there with another history: version %d does not follow on what is there at version %d", r.agg.Key, version, r.found)
	}
	return err
}

// end checks that what is there is what was given. The source's version says
// whether the session here has gone on since.
func (r *restorer) end(version uint64) error {
	switch {
	case r.agg.Hash == r.last:
		return nil
	case r.agg.Session.Gone != nil:
		return clashed(r.agg.Key, 0, "session %s is gone here and can't be restored under its id; --new-id or --user gives it another", r.agg.Key)
	case r.agg.Session.Version > version:
		return nil
	}
	return clashed(r.agg.Key, version, "session %s is there with another history at version %d", r.agg.Key, version)
}
