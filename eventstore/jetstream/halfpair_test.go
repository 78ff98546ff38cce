package jetstream_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"reprise/eventstore"
)

// TestHalfAPairIsRemoved cuts the last message off the file of a stream, as a
// power cut may while an append over two sessions is written.
func TestHalfAPairIsRemoved(t *testing.T) {
	dir := t.TempDir()
	srv := startServer(t, dir, syncAlways)
	n := onServer(t, srv, false)
	first, err := n.driver.Append(t.Context(), []eventstore.Record{record(newKey(1), eventstore.ExpectNew(), "before")})
	if err != nil {
		t.Fatal(err)
	}
	pair := []eventstore.Record{record(newKey(1), eventstore.ExpectLast(first[0]), "out"), record(newKey(2), eventstore.ExpectNew(), "in")}
	if _, err := n.driver.Append(t.Context(), pair); err != nil {
		t.Fatal(err)
	}
	stopServer(srv)
	cutLastMessage(t, dir)

	srv = startServer(t, dir, syncAlways)
	t.Cleanup(func() { stopServer(srv) })
	n = onServer(t, srv, false)
	var left []string
	scanned(t, n.driver, func(m eventstore.Message) { left = append(left, string(m.Body)) })
	if !slices.Equal(left, []string{"before"}) {
		t.Errorf("the stream holds %q", left)
	}
	if _, err := n.driver.Last(t.Context(), newKey(2)); !errors.Is(err, eventstore.ErrNotFound) {
		t.Errorf("the second session: %v", err)
	}
	if seqs, err := n.driver.Append(t.Context(), pair); err != nil || seqs[1] != seqs[0]+1 {
		t.Errorf("the same append again: %v, %v", seqs, err)
	}
}

// cutLastMessage shortens the one block of the event stream by its last message;
// each begins with its length, whose highest bit says that it has headers.
func cutLastMessage(t *testing.T, dir string) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "REPRISE_EVENTS", "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("blocks: %v, %v", blocks, err)
	}
	body, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for at := 0; at < len(body); {
		last = at
		at += int(binary.LittleEndian.Uint32(body[at:]) &^ (1 << 31))
	}
	if err := os.Truncate(blocks[0], int64(last)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(blocks[0]), "index.db")); err != nil {
		t.Fatal(err)
	}
}
