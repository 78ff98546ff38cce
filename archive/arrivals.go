package archive

import (
	"context"
	"errors"

	"reprise/domain"
	"reprise/eventstore"
)

// arrivalsAtOnce is how many sessions are looked up before they are read: enough
// that asking the server for more is rare, and few to do again after a kill.
const arrivalsAtOnce = 512

// arrival is where a session enters the stream: its first commit, or the
// tombstone of one whose first commit is removed.
type arrival struct {
	key eventstore.Key
	seq uint64
	// tombstone: the session was met at its tombstone.
	tombstone bool
}

// errEnough ends a scan that has found what was asked for.
var errEnough = errors.New("enough was found")

// arrivals returns the next sessions that enter the stream from a sequence on up
// to another, and where to go on; 0 says that these were the last. It reads
// headers alone, so what it needs does not grow with the store.
func arrivals(ctx context.Context, store *eventstore.Store, user string, from, to uint64) ([]arrival, uint64, error) {
	var found []arrival
	if from > to {
		return nil, 0, nil
	}
	next := uint64(0)
	err := store.Raw(ctx, eventstore.Filter{User: user, From: from, To: to, HeadersOnly: true}, func(m eventstore.Message) error {
		purged := hasType(m, domain.TypeSessionPurged)
		if m.Guarded && (purged || hasType(m, domain.TypeSessionCreated, domain.TypeSessionForked, domain.TypeSessionImported)) {
			found = append(found, arrival{key: m.Key, seq: m.Seq, tombstone: purged})
		}
		if len(found) == arrivalsAtOnce {
			next = m.Seq + 1
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, next, err
}

// eachArrival calls fn with the sessions that enter the stream, some at a time,
// and with where to go on after them.
func eachArrival(ctx context.Context, store *eventstore.Store, user string, from, to uint64, fn func(found []arrival, next uint64) error) error {
	for next := max(from, 1); next > 0; {
		found, then, err := arrivals(ctx, store, user, next, to)
		if err != nil {
			return err
		}
		after := then
		if then == 0 {
			after = to + 1
		}
		if err := fn(found, after); err != nil {
			return err
		}
		next = then
	}
	return nil
}
