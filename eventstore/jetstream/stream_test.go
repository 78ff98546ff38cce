package jetstream_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
	"reprise/eventstore/jetstream"
)

func TestEnsureStreamMakesOne(t *testing.T) {
	srv := embedded(t)
	var wg sync.WaitGroup
	for range 8 {
		api, err := js.New(dial(t, srv))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := jetstream.EnsureStream(t.Context(), api, jetstream.StreamConfig{Names: contract.Default()}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := onServer(t, srv, false)
	info, err := n.driver.Info(t.Context())
	if err != nil || len(info.Incarnation) < 20 {
		t.Errorf("the incarnation is %q (%v)", info.Incarnation, err)
	}
	if f := n.driver.Features(); !f.Durable || f.Replicated {
		t.Errorf("the features are %+v", f)
	}
}

// TestEnsureStreamRefuses changes one setting after another of a good stream.
func TestEnsureStreamRefuses(t *testing.T) {
	srv := embedded(t)
	api, err := js.New(dial(t, srv))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	want := jetstream.StreamConfig{Names: contract.Default(), Memory: true}
	if err := jetstream.EnsureStream(ctx, api, want); err != nil {
		t.Fatal(err)
	}
	stream, err := api.Stream(ctx, "REPRISE_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	good := stream.CachedInfo().Config
	for word, spoil := range map[string]func(*js.StreamConfig){
		"subjects":             func(c *js.StreamConfig) { c.Subjects = []string{"reprise.evt.>"} },
		"storage":              func(c *js.StreamConfig) { c.Storage = js.FileStorage },
		"metadata":             func(c *js.StreamConfig) { c.Metadata = nil },
		"allow_direct":         func(c *js.StreamConfig) { c.AllowDirect = false },
		"allow_atomic":         func(c *js.StreamConfig) { c.AllowAtomicPublish = false },
		"republish":            func(c *js.StreamConfig) { c.RePublish = nil },
		"retention":            func(c *js.StreamConfig) { c.Retention = js.InterestPolicy },
		"max_age":              func(c *js.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs to":          func(c *js.StreamConfig) { c.MaxMsgs = 10 },
		"max_msgs_per_subject": func(c *js.StreamConfig) { c.MaxMsgsPerSubject = 10 },
		"max_bytes":            func(c *js.StreamConfig) { c.MaxBytes = 1 << 20 },
		"no_ack":               func(c *js.StreamConfig) { c.NoAck = true },
		"deny_purge":           func(c *js.StreamConfig) { c.DenyPurge = true },
		"rollup":               func(c *js.StreamConfig) { c.AllowRollup = true },
		"persist_mode": func(c *js.StreamConfig) {
			c.Storage, c.PersistMode, c.AllowAtomicPublish = js.FileStorage, js.AsyncPersistMode, false
		},
		"mirror": func(c *js.StreamConfig) { c.Sources = []*js.StreamSource{{Name: "OTHER"}} },
	} {
		if err := api.DeleteStream(ctx, good.Name); err != nil {
			t.Fatal(err)
		}
		spoilt := good
		spoil(&spoilt)
		eventually(t, "the stream that differs in "+word+" is made; the one before may still be going", func() bool {
			_, err := api.CreateStream(ctx, spoilt)
			return err == nil
		})
		err := jetstream.EnsureStream(ctx, api, want)
		if !errors.Is(err, jetstream.ErrStream) || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), good.Name) {
			t.Errorf("a stream with another %s: %v", word, err)
		}
	}
	if err := api.DeleteStream(ctx, good.Name); err != nil {
		t.Fatal(err)
	}
	full := good
	full.MaxBytes, full.Discard = 1<<30, js.DiscardNew
	eventually(t, "the full stream is made", func() bool {
		_, err := api.CreateStream(ctx, full)
		return err == nil
	})
	if err := jetstream.EnsureStream(ctx, api, want); err != nil {
		t.Errorf("a bound that refuses new messages: %v", err)
	}
	want.Replicas = 3
	if err := jetstream.EnsureStream(ctx, api, want); !errors.Is(err, jetstream.ErrStream) {
		t.Errorf("another number of replicas: %v", err)
	}
}

// TestFullStream asks for more than a bounded stream takes.
func TestFullStream(t *testing.T) {
	srv := embedded(t)
	n := onServer(t, srv, true)
	stream, err := n.api.Stream(t.Context(), "REPRISE_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes, cfg.Discard = 2000, js.DiscardNew
	if _, err := n.api.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	err = nil
	for i := 0; err == nil && i < 100; i++ {
		r := record(newKey(i), eventstore.ExpectNew(), "a")
		r.Body = make([]byte, 300)
		_, err = n.driver.Append(t.Context(), []eventstore.Record{r})
	}
	if !errors.Is(err, eventstore.ErrUnavailable) || !strings.Contains(err.Error(), "maximum bytes") {
		t.Errorf("a full stream says %v", err)
	}
}
