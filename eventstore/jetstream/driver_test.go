package jetstream_test

import (
	"context"
	"errors"
	"testing"

	"reprise/eventstore"
)

func TestPairIsAllOrNothing(t *testing.T) {
	ctx := context.Background()
	for _, memory := range []bool{true, false} {
		n := onServer(t, embedded(t), memory)
		a, b := newKey(1), newKey(2)
		seqs, err := n.driver.Append(ctx, []eventstore.Record{record(a, eventstore.ExpectNew(), "a1"), record(b, eventstore.ExpectNew(), "b1")})
		if err != nil || len(seqs) != 2 || seqs[0] != 1 || seqs[1] != 2 {
			t.Fatal(seqs, err)
		}
		_, err = n.driver.Append(ctx, []eventstore.Record{record(a, eventstore.ExpectLast(1), "a2"), record(b, eventstore.ExpectLast(1), "b2")})
		if !errors.Is(err, eventstore.ErrConflict) {
			t.Fatal(err)
		}
		t.Log(err)
		info, err := n.driver.Info(ctx)
		if err != nil || info.Last != 2 || info.Messages != 2 {
			t.Fatal(info, err)
		}
		m, err := n.driver.Last(ctx, b)
		if err != nil || string(m.Body) != "b1" || !m.Guarded || m.Seq != 2 || m.Header["ce-id"] != "b1" || m.Key != b {
			t.Fatal(m, err)
		}
		_, err = n.driver.Append(ctx, []eventstore.Record{record(a, eventstore.ExpectLast(9), "a2")})
		t.Log(err)
		var got []string
		if err := n.driver.Scan(ctx, eventstore.Filter{}, func(m eventstore.Message) error { got = append(got, string(m.Body)); return nil }); err != nil || len(got) != 2 {
			t.Fatal(got, err)
		}
	}
}
