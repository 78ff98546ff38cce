package natsnode

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStreamInTheMaking plays a stream whose directory stands before the server
// knows it, or after it has forgotten it: that is no reason to restart JetStream.
func TestStreamInTheMaking(t *testing.T) {
	n := start(t, Options{DataDir: t.TempDir(), Listen: ListenNone})
	_, js := dial(t, n)
	makeStream(t, n, js)
	dir := filepath.Join(n.embedded.srv.StoreDir(), "$G", "streams", "HALF")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if trouble, sure := n.embedded.streamTrouble(); trouble == "" || sure {
		t.Fatalf("the server says %q, sure %v; this test shows nothing", trouble, sure)
	}
	if err := n.Healthy(t.Context()); err != nil {
		t.Errorf("at first sight: %v", err)
	}
	eventually(t, "trouble that lasts", func() bool { return errors.Is(n.Healthy(t.Context()), ErrStorage) })
	wantSentence(t, n.Healthy(t.Context()), "HALF", "could not be recovered")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := n.Healthy(t.Context()); err != nil {
		t.Errorf("after it went: %v", err)
	}
}

func TestDoubt(t *testing.T) {
	var d doubt
	start := time.Now()
	for _, look := range []struct {
		after         time.Duration
		trouble, want string
	}{
		{0, "a", ""},
		{doubtPatience - 1, "a", ""},
		{doubtPatience, "a", "a"},
		{doubtPatience + 1, "b", ""},
		{doubtPatience + 2, "", ""},
		{2 * doubtPatience, "b", ""},
		{3 * doubtPatience, "b", "b"},
		{4 * doubtPatience, "", ""},
	} {
		if got := d.lasting(look.trouble, start.Add(look.after)); got != look.want {
			t.Errorf("%q after %s: got %q, want %q", look.trouble, look.after, got, look.want)
		}
	}
}
