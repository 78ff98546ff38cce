package jetstream_test

import (
	"testing"

	"reprise/eventstore"
)

// TestSizesAddUp compares the sizes of messages with what the server counts.
func TestSizesAddUp(t *testing.T) {
	for name, memory := range map[string]bool{"memory": true, "file": false} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			n := onServer(t, embedded(t), memory)
			seqs, err := n.driver.Append(ctx, []eventstore.Record{
				record(newKey(1), eventstore.ExpectNew(), "one"), record(newKey(2), eventstore.ExpectNew(), "two of a batch"),
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := n.driver.Append(ctx, []eventstore.Record{record(newKey(1), eventstore.ExpectLast(seqs[0]), "three")}); err != nil {
				t.Fatal(err)
			}
			if _, err := n.api.Publish(ctx, "reprise.evt.ada.foreign", []byte("no headers at all")); err != nil {
				t.Fatal(err)
			}
			info, err := n.driver.Info(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, headersOnly := range []bool{false, true} {
				sum := uint64(0)
				err := n.driver.Scan(ctx, eventstore.Filter{HeadersOnly: headersOnly}, func(m eventstore.Message) error {
					sum += m.Size
					got, err := n.driver.Get(ctx, m.Seq)
					if err == nil && got.Size != m.Size {
						t.Errorf("sequence %d has %d bytes by a direct get and %d in a scan", m.Seq, got.Size, m.Size)
					}
					return err
				})
				if err != nil || sum != info.Bytes {
					t.Errorf("headers only %v: the messages have %d bytes, the stream %d; error %v", headersOnly, sum, info.Bytes, err)
				}
			}
		})
	}
}
