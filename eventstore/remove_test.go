package eventstore_test

import (
	"errors"
	"testing"
	"time"

	"reprise/eventstore"
)

// TestBurials ends histories without a beginning, and removes what is left.
func TestBurials(t *testing.T) {
	ctx := t.Context()
	driver := eventstore.NewMemory()
	store, err := eventstore.Open(ctx, eventstore.Config{Driver: driver})
	if err != nil {
		t.Fatal(err)
	}
	key := eventstore.Key{User: "ada", Session: "s1"}
	if err := store.FinishPurge(ctx, key); !errors.Is(err, eventstore.ErrNotGone) {
		t.Errorf("finishing nothing: %v", err)
	}
	first := driver.Inject(key, nil, []byte("foreign"))
	if err := store.Expire(ctx, key, first); !errors.Is(err, eventstore.ErrNotGone) {
		t.Errorf("expiring a foreign message: %v", err)
	}
	b := eventstore.Burial{Key: key, Last: first, ID: "p1", Actor: "olga", Reason: "no-creation", Time: time.Now(), Messages: 1}
	late := driver.Inject(key, nil, []byte("later"))
	if _, err := store.Bury(ctx, b); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("burying what has grown: %v", err)
	}
	b.Last = late
	a, err := store.Bury(ctx, b)
	if err != nil || a.Session.Gone == nil || a.Session.Gone.By != "olga" {
		t.Fatalf("buried: %+v, error %v", a, err)
	}
	if there, err := store.Present(ctx, late); err != nil || there {
		t.Errorf("the message is there: %v, error %v", there, err)
	}
	if err := store.FinishPurge(ctx, key); err != nil {
		t.Error(err)
	}
	if err := store.Expire(ctx, key, late); !errors.Is(err, eventstore.ErrNotGone) {
		t.Errorf("expiring another sequence: %v", err)
	}
	if err := store.Expire(ctx, key, a.Seq); err != nil {
		t.Error(err)
	}
	if again, err := store.Load(ctx, key); err != nil || again.Last != 0 {
		t.Errorf("what is left: %+v, error %v", again, err)
	}
}
