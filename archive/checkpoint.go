package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// The phases of a copy.
const (
	phaseCopy    = "copy"
	phaseCompare = "compare"
	phaseDone    = "done"
)

const checkpointKey = "copy"

// Checkpoint is how far a copy is.
type Checkpoint struct {
	// Source is the incarnation of the store that is copied, Run the copy.
	Source string `json:"source"`
	Run    string `json:"run"`
	Phase  string `json:"phase"`
	// Next is the sequence in the source to go on at.
	Next uint64 `json:"next"`
	// Sessions were copied; Compared, Gone, Commits and Bytes were compared.
	Sessions uint64 `json:"sessions"`
	Compared uint64 `json:"compared"`
	Gone     uint64 `json:"gone"`
	Commits  uint64 `json:"commits"`
	Bytes    uint64 `json:"bytes"`
}

// Checkpoints keep how far a copy is, in its target.
type Checkpoints interface {
	// Load returns the zero value if there is none.
	Load(ctx context.Context) (Checkpoint, error)
	Save(ctx context.Context, c Checkpoint) error
}

// forgetful keeps nothing.
type forgetful struct{}

// Load returns none.
func (*forgetful) Load(context.Context) (Checkpoint, error) { return Checkpoint{}, nil }

// Save does nothing.
func (*forgetful) Save(context.Context, Checkpoint) error { return nil }

// KVCheckpoints keep the checkpoint in the bucket <prefix>_migration.
type KVCheckpoints struct{ kv jetstream.KeyValue }

// OpenCheckpoints opens the bucket and makes it where it is missing, beside the
// events.
func OpenCheckpoints(ctx context.Context, js jetstream.JetStream, names contract.Names) (*KVCheckpoints, error) {
	stream, err := js.Stream(ctx, names.EventsStream())
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", names.EventsStream(), err)
	}
	events := stream.CachedInfo().Config
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: names.Prefix() + "_migration", Description: "Reprise: how far a migration into this store is",
		Storage: events.Storage, Replicas: events.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s_migration: %w", names.Prefix(), err)
	}
	return &KVCheckpoints{kv: kv}, nil
}

// Load returns what was saved last.
func (k *KVCheckpoints) Load(ctx context.Context) (Checkpoint, error) {
	var c Checkpoint
	entry, err := k.kv.Get(ctx, checkpointKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(entry.Value(), &c)
	}
	if err != nil {
		return c, fmt.Errorf("bucket %s: %w", k.kv.Bucket(), err)
	}
	return c, nil
}

// Save replaces what was saved.
func (k *KVCheckpoints) Save(ctx context.Context, c Checkpoint) error {
	body, err := domain.Marshal(c)
	if err == nil {
		_, err = k.kv.Put(ctx, checkpointKey, body)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", k.kv.Bucket(), err)
	}
	return nil
}
