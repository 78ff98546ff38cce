package jetstream_test

import (
	"context"
	"errors"
	"testing"

	js "github.com/nats-io/nats.go/jetstream"

	"reprise/eventstore"
)

// filled is a node with messages in sessions s0, s1, ...
func filled(t *testing.T, messages int) (node, js.Stream) {
	t.Helper()
	n := onServer(t, embedded(t), true)
	for i := range messages {
		if _, err := n.driver.Append(t.Context(), []eventstore.Record{record(newKey(i), eventstore.ExpectNew(), "a")}); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := n.api.Stream(t.Context(), "REPRISE_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	return n, stream
}

// TestScanLosesItsEnd removes what a scan was to end with while it runs.
func TestScanLosesItsEnd(t *testing.T) {
	t.Parallel()
	n, stream := filled(t, 5000)
	seen := 0
	err := n.driver.Scan(t.Context(), eventstore.Filter{}, func(m eventstore.Message) error {
		if seen++; seen > 1 {
			return nil
		}
		for i := 4900; i < 5000; i++ {
			if err := stream.Purge(t.Context(), js.WithPurgeSubject("reprise.evt."+newKey(i).String())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || seen < 4900 {
		t.Errorf("the scan saw %d messages: %v", seen, err)
	}
}

// TestScanLosesItsConsumer removes the consumer of a scan while it runs.
func TestScanLosesItsConsumer(t *testing.T) {
	t.Parallel()
	const messages = 5000
	n, stream := filled(t, messages)
	last := uint64(0)
	err := n.driver.Scan(t.Context(), eventstore.Filter{}, func(m eventstore.Message) error {
		if m.Seq != last+1 {
			t.Errorf("sequence %d comes after %d", m.Seq, last)
		}
		if last = m.Seq; last > 1 {
			return nil
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			if err := n.api.DeleteConsumer(t.Context(), "REPRISE_EVENTS", name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || last != messages {
		t.Errorf("the scan ended at %d: %v", last, err)
	}
}

// TestScanLeavesNoConsumer counts the consumers after scans of every end.
func TestScanLeavesNoConsumer(t *testing.T) {
	t.Parallel()
	n, stream := filled(t, 10)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancel(t.Context())
	for _, fn := range []func(eventstore.Message) error{
		func(eventstore.Message) error { return nil },
		func(eventstore.Message) error { return stop },
		func(eventstore.Message) error { cancel(); return nil },
	} {
		err := n.driver.Scan(ctx, eventstore.Filter{}, fn)
		if err != nil && !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	eventually(t, "every consumer is removed", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Consumers == 0
	})
}
