package archive

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"unicode/utf8"

	"reprise/domain"
	"reprise/eventstore"
)

// Writer writes an export: commits session by session, End after each, Close at
// the last. After an error it writes no more. It is for one goroutine.
type Writer struct {
	out     *bufio.Writer
	sum     hash.Hash
	current End
	total   Trailer
	err     error
}

// NewWriter writes the header. What it writes is buffered until Close.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	out := &Writer{out: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	h.Format, h.Version = FormatName, FormatVersion
	return out, out.line(headerLine{Type: typeHeader, Header: h})
}

// line writes one line and adds it to the sum.
func (w *Writer) line(v any) error {
	if w.err != nil {
		return w.err
	}
	raw, err := domain.Marshal(v)
	if err == nil {
		raw = append(raw, '\n')
		_, _ = w.sum.Write(raw) // a hash never fails
		_, err = w.out.Write(raw)
	}
	w.err = err
	return err
}

// Commit writes the next commit of a session, which has to be of the same
// session as the one before unless that one's End was written. The version is
// that of its first event.
func (w *Writer) Commit(key eventstore.Key, version uint64, o eventstore.Original) error {
	if w.current.Commits > 0 && w.current.Key != key {
		return fmt.Errorf("export: a commit of session %s within those of %s", key, w.current.Key)
	}
	line := commitLine{
		Type: typeCommit, User: key.User, Session: key.Session, Version: version,
		Hash: eventstore.Hash(o.Body), Headers: restorable(o.Header),
	}
	if utf8.Valid(o.Body) {
		line.Body = string(o.Body)
	} else {
		line.Base64 = o.Body
	}
	w.current.Key, w.current.Head = key, line.Hash
	w.current.Commits++
	w.total.Commits++
	return w.line(line)
}

// restorable leaves out headers that no import would restore.
func restorable(header map[string]string) map[string]string {
	kept := make(map[string]string, len(header))
	for name, value := range header {
		if eventstore.RestorableHeader(name) {
			kept[name] = value
		}
	}
	return kept
}

// End says that the session of the last commit is complete, and its version.
func (w *Writer) End(version uint64) error {
	end := w.current
	if end.Commits == 0 {
		return errors.New("export: the end of a session without commits")
	}
	w.current = End{}
	w.total.Sessions++
	return w.line(endLine{
		Type: typeEnd, User: end.Key.User, Session: end.Key.Session, Commits: end.Commits, Version: version, Head: end.Head,
	})
}

// Close writes the trailer and all that is buffered. The writer beneath stays
// the caller's.
func (w *Writer) Close() (Trailer, error) {
	if w.current.Commits > 0 {
		return w.total, fmt.Errorf("export: session %s has no end", w.current.Key)
	}
	w.total.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	if err := w.line(trailerLine{Type: typeTrailer, Trailer: w.total}); err != nil {
		return w.total, err
	}
	return w.total, w.out.Flush()
}
