package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// The memory a reader of Zstandard may take for a hostile file, in bytes.
const (
	maxZstdMemory = 256 << 20
	maxZstdWindow = 64 << 20
)

// Compress returns a writer that compresses by the ending of a file's name:
// gzip for .gz, Zstandard for .zst, nothing for any other. It has to be closed;
// the writer beneath stays the caller's.
func Compress(name string, w io.Writer) (io.WriteCloser, error) {
	switch filepath.Ext(name) {
	case ".gz":
		return gzip.NewWriter(w), nil
	case ".zst":
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

// Close does nothing.
func (plain) Close() error { return nil }

// Decompress returns a reader of what r has, whether it is compressed with gzip,
// with Zstandard or not at all: its first bytes tell. It has to be closed; the
// reader beneath stays the caller's.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, &DamageError{Line: 1, Reason: "the file begins like gzip and is not: " + err.Error(), Err: err}
		}
		return z, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxZstdMemory), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, &DamageError{Line: 1, Reason: "the file begins like Zstandard and is not: " + err.Error(), Err: err}
		}
		return z.IOReadCloser(), nil
	case len(magic) == 0 && err != nil && !errors.Is(err, io.EOF):
		return nil, err
	}
	return io.NopCloser(in), nil
}
