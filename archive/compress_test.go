package archive

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestCompression(t *testing.T) {
	t.Parallel()
	file := sample(t)
	for _, name := range []string{"x.jsonl", "x.jsonl.gz", "x.jsonl.zst"} {
		var out bytes.Buffer
		z, err := Compress(name, &out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(file); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if trailer, err := verify(t.Context(), out.Bytes()); err != nil || trailer.Commits != 4 {
			t.Errorf("%s: %+v, %v", name, trailer, err)
		}
		for _, n := range []int{3, 10, out.Len() / 2, out.Len() - 5} {
			if _, err := verify(t.Context(), out.Bytes()[:n]); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s cut after %d bytes: %v", name, n, err)
			}
		}
	}
	if _, err := Decompress(broken{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a file that can't be read: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
