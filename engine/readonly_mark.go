package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

const (
	readOnlyKey = "readonly"
	// settleIdle is how long engines that have not said so are given to answer once
	// another one has. Nobody knows how many there are, and one that is busy is slow.
	settleIdle = 2 * time.Second
	// settleFirst is how long the first one is given before all are asked again.
	settleFirst = 10 * time.Second
	// settlePause is the pause before engines are asked again.
	settlePause = 10 * time.Millisecond
)

// ErrReadOnly says that somebody else has made the service read-only.
var ErrReadOnly = errors.New("the service is read-only already")

// ReadOnly says who wants that nothing changes for a while, and why. The zero
// value is the usual state: everything may change.
type ReadOnly struct {
	// ID names this time of being read-only.
	ID     string    `json:"id,omitempty"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// TTL ends it by itself unless it is set again before; 0 is for ever.
	TTL domain.Duration `json:"ttl,omitempty"`
}

// rejection is the answer to every command meanwhile.
func (r ReadOnly) rejection() *domain.Rejection {
	return domain.Reject(domain.CodeUnavailable, domain.StateNone,
		"the service is read-only since %s, by %s: %s; send the command again later, queries are answered as ever",
		r.Since.UTC().Format(time.RFC3339), r.By, r.Reason)
}

// readOnlySeen is what an engine says of itself.
type readOnlySeen struct {
	Engine   string `json:"engine"`
	Revision uint64 `json:"revision"`
}

// ReadOnlyMark is where all engines of one service look whether it is read-only:
// the key "readonly" of the bucket <prefix>_settings, which is read from its leader
// alone. It is safe for concurrent use.
type ReadOnlyMark struct {
	kv    jetstream.KeyValue
	names contract.Names
}

// OpenReadOnlyMark opens the mark of a service and makes it where it is missing,
// beside the events.
func OpenReadOnlyMark(ctx context.Context, js jetstream.JetStream, names contract.Names) (*ReadOnlyMark, error) {
	stream, err := js.Stream(ctx, names.EventsStream())
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", names.EventsStream(), err)
	}
	cfg := stream.CachedInfo().Config
	return openReadOnlyMark(ctx, js, names, cfg.Storage, cfg.Replicas)
}

func openReadOnlyMark(ctx context.Context, js jetstream.JetStream, names contract.Names, storage jetstream.StorageType, replicas int) (*ReadOnlyMark, error) {
	bucket := names.Prefix() + "_settings"
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucket, Description: "Reprise: what operators have set", Storage: storage, Replicas: max(replicas, 1),
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another engine was first
			kv, err = js.KeyValue(ctx, bucket)
		}
	}
	if err == nil {
		err = readFromLeader(ctx, js, bucket)
	}
	if err == nil {
		kv, err = js.KeyValue(ctx, bucket) // which reads as the bucket says now
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return &ReadOnlyMark{kv: kv, names: names}, nil
}

// readFromLeader turns direct gets off. A replica that is behind would answer them
// too, and who relies on the mark must not take the one before for it.
func readFromLeader(ctx context.Context, js jetstream.JetStream, bucket string) error {
	stream, err := js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	if !cfg.AllowDirect {
		return nil
	}
	cfg.AllowDirect = false
	_, err = js.UpdateStream(ctx, cfg)
	return err
}

// subject is where every engine says which revision it has seen.
func (m *ReadOnlyMark) subject() string { return m.names.Prefix() + ".control.readonly" }

// Get returns the state.
func (m *ReadOnlyMark) Get(ctx context.Context) (ReadOnly, error) {
	now, _, err := m.read(ctx)
	return now, err
}

func (m *ReadOnlyMark) read(ctx context.Context) (ReadOnly, uint64, error) {
	entry, err := m.kv.Get(ctx, readOnlyKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ReadOnly{}, 0, nil
	}
	if err != nil {
		return ReadOnly{}, 0, fmt.Errorf("bucket %s: %w", m.kv.Bucket(), err)
	}
	now, err := parseReadOnly(entry)
	if err == nil && now.TTL > 0 && time.Since(entry.Created()) > now.TTL.Std() {
		now = ReadOnly{} // nobody set it again
	}
	return now, entry.Revision(), err
}

// parseReadOnly reads an entry; one that was deleted is the usual state.
func parseReadOnly(entry jetstream.KeyValueEntry) (ReadOnly, error) {
	var now ReadOnly
	if entry.Operation() != jetstream.KeyValuePut {
		return now, nil
	}
	if err := json.Unmarshal(entry.Value(), &now); err != nil {
		return now, fmt.Errorf("bucket %s, key %s: %w", entry.Bucket(), entry.Key(), err)
	}
	return now, nil
}

// Set makes the service read-only, or does so again under the same ID. It is
// ErrReadOnly, with who and why, if it is so under another. Call Settle to know
// when it is in force.
func (m *ReadOnlyMark) Set(ctx context.Context, r ReadOnly) error {
	if r.ID == "" {
		return errors.New("read-only: an ID is needed")
	}
	now, rev, err := m.read(ctx)
	switch {
	case err != nil:
		return err
	case now.ID != "" && now.ID != r.ID:
		return fmt.Errorf("%w: since %s, by %s: %s", ErrReadOnly, now.Since.UTC().Format(time.RFC3339), now.By, now.Reason)
	}
	body, err := domain.Marshal(r)
	if err != nil {
		return err
	}
	if rev == 0 {
		_, err = m.kv.Create(ctx, readOnlyKey, body)
	} else {
		_, err = m.kv.Update(ctx, readOnlyKey, body, rev)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", m.kv.Bucket(), err)
	}
	return nil
}

// Release lets everything change again and returns what was in force. It writes
// a value rather than deleting one: a deleted one may come back after a crash of
// the server.
func (m *ReadOnlyMark) Release(ctx context.Context) (ReadOnly, error) {
	was, rev, err := m.read(ctx)
	if err != nil || rev == 0 {
		return was, err
	}
	if _, err = m.kv.Update(ctx, readOnlyKey, []byte("{}"), rev); err != nil {
		return was, fmt.Errorf("bucket %s: %w", m.kv.Bucket(), err)
	}
	return was, nil
}

// Settle waits until every engine that answers has seen the mark as it is now,
// and has no command from before it on its way. Engines are asked on nc. It returns
// at once if there is none, and an error if there is and none says so before ctx
// ends.
func (m *ReadOnlyMark) Settle(ctx context.Context, nc *nats.Conn) error {
	_, rev, err := m.read(ctx)
	if err != nil {
		return err
	}
	for {
		settled, err := m.askEngines(ctx, nc, rev)
		if err != nil || settled {
			return err
		}
		pause(ctx, settlePause)
	}
}

// askEngines reports whether all engines that answer have a revision in force.
func (m *ReadOnlyMark) askEngines(ctx context.Context, nc *nats.Conn, rev uint64) (bool, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone already
	if err := nc.PublishRequest(m.subject(), inbox, nil); err != nil {
		return false, err
	}
	for answers := 0; ; answers++ {
		patience := settleIdle
		if answers == 0 {
			patience = settleFirst
		}
		idle, cancel := context.WithTimeout(ctx, patience)
		msg, err := sub.NextMsgWithContext(idle)
		cancel()
		switch {
		case ctx.Err() != nil:
			return false, fmt.Errorf("not every engine has become read-only: %w", ctx.Err())
		case errors.Is(err, nats.ErrNoResponders):
			return true, nil
		case errors.Is(err, context.DeadlineExceeded):
			return answers > 0, nil
		case err != nil:
			return false, err
		}
		var seen readOnlySeen
		if json.Unmarshal(msg.Data, &seen) != nil || seen.Revision < rev {
			return false, nil
		}
	}
}
