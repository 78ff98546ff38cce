package archive

import (
	"context"

	"reprise/domain"
	"reprise/eventstore"
)

// rewriter makes one session of the history of another. The history is put into
// a store in memory, which knows how to fill in the payloads.
type rewriter struct {
	key, target eventstore.Key
	o           ImportOptions
	memory      *eventstore.Store
	agg         eventstore.Aggregate
	// head is the hash of the last commit.
	head string
}

func newRewriter(key, target eventstore.Key, o ImportOptions) *rewriter {
	return &rewriter{key: key, target: target, o: o}
}

// add takes the next commit of the history.
func (w *rewriter) add(ctx context.Context, o eventstore.Original) (err error) {
	if w.memory == nil {
		w.memory, err = eventstore.Open(ctx, eventstore.Config{Driver: eventstore.NewMemory(), CacheBytes: -1, MaxMessage: maxLine})
		if err != nil {
			return err
		}
		w.agg = eventstore.Aggregate{Key: w.key, Session: domain.New(w.key.User, w.key.Session)}
	}
	w.agg, err = w.memory.Restore(ctx, w.agg, o)
	w.head = w.agg.Hash
	return err
}

// original is the one commit of the session that is made. The error is a
// *domain.Rejection if what the session holds does not fit one message.
func (w *rewriter) original(ctx context.Context) (eventstore.Original, error) {
	whole, err := w.memory.Hydrate(ctx, w.agg)
	if err != nil {
		return eventstore.Original{}, err
	}
	event, err := domain.ImportedFrom(whole, w.head)
	if err != nil {
		return eventstore.Original{}, err
	}
	commit := &domain.Commit{
		ID: "import-" + w.head[:32], Session: w.target.Session, User: w.target.User, Version: 1,
		Time: w.o.Now().UTC().Round(0), Actor: w.o.Actor, Cause: domain.VerbImport, State: w.agg.Session.State,
		Digest: domain.Digest(domain.VerbImport, []byte(w.head)), Events: []domain.Event{event},
	}
	body, err := (eventstore.Codec{}).Encode(commit)
	return eventstore.Original{Body: body}, err
}

// importedBefore reports whether a session was made of the history with a head.
func importedBefore(ctx context.Context, store *eventstore.Store, key eventstore.Key, head string) (bool, error) {
	same := false
	err := store.Commits(ctx, key, 1, func(c eventstore.Committed) error {
		if e, ok := c.Commit.Events[0].(*domain.SessionImported); ok && c.Commit.Version == 1 {
			same = e.Head == head
		}
		return errEnough
	})
	if err == errEnough { //nolint:errorlint // Commits returns it as it is
		err = nil
	}
	return same, err
}
