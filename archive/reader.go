package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// Reader reads an export line by line and never more of it. It checks the form
// of every line, the hash of every body, and all that the end lines and the
// trailer say; whether the commits are a history, Verify checks. It is for one
// goroutine.
type Reader struct {
	in     *bufio.Reader
	sum    hash.Hash
	number uint64
	header Header
	// current is the session that the reader is in; its Commits are 0 between
	// two sessions.
	current End
	total   Trailer
	buf     []byte
	err     error
}

// Item is what Next returns: a commit, or the end of a session.
type Item struct {
	Commit *Commit
	End    *End
}

// NewReader reads the header. The errors are *DamageError.
func NewReader(r io.Reader) (*Reader, error) {
	in := &Reader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	raw, err := in.line()
	if errors.Is(err, io.EOF) {
		return nil, in.damaged(nil, "the file is empty")
	}
	if err != nil {
		return nil, err
	}
	var line headerLine
	if typeOf(raw) != typeHeader || json.Unmarshal(raw, &line) != nil || line.Format != FormatName {
		return nil, in.damaged(nil, "this is no export of Reprise: the first line has to be a header with the format %s", FormatName)
	}
	if line.Version < 1 || line.Version > FormatVersion {
		return nil, in.damaged(nil, "the export has format version %d; this program reads up to %d", line.Version, FormatVersion)
	}
	in.header = line.Header
	in.add(raw)
	return in, nil
}

// Header returns the first line.
func (r *Reader) Header() Header { return r.header }

// Line returns the number of the line that was read last.
func (r *Reader) Line() uint64 { return r.number }

// Trailer returns the counts so far, and the sum after Next has returned io.EOF.
func (r *Reader) Trailer() Trailer { return r.total }

// Next returns the next commit or end of a session. After the trailer, if that
// is right and nothing follows it, it returns io.EOF. Every other error is a
// *DamageError, and is returned again by the next call. What it returns may be
// kept.
func (r *Reader) Next() (Item, error) {
	if r.err != nil {
		return Item{}, r.err
	}
	item, err := r.next()
	r.err = err
	return item, err
}

func (r *Reader) next() (Item, error) {
	raw, err := r.line()
	if errors.Is(err, io.EOF) {
		return Item{}, r.damaged(io.ErrUnexpectedEOF, "the file ends here, without its trailer: it was cut after %d whole sessions", r.total.Sessions)
	}
	if err != nil {
		return Item{}, err
	}
	switch kind := typeOf(raw); kind {
	case typeCommit:
		return r.commit(raw)
	case typeEnd:
		return r.end(raw)
	case typeTrailer:
		return Item{}, r.trailer(raw)
	default:
		return Item{}, r.damaged(nil, "it has to be a JSON object with the type commit, end or trailer, not %.40q", kind)
	}
}

func (r *Reader) commit(raw []byte) (Item, error) {
	var line commitLine
	if err := strict(raw, &line); err != nil {
		return Item{}, r.damaged(err, "the commit can't be read: %s", err)
	}
	c := &Commit{
		Key: eventstore.Key{User: line.User, Session: line.Session}, Version: line.Version, Hash: line.Hash,
		Original: eventstore.Original{Header: line.Headers, Body: line.Base64},
	}
	if line.Body != "" {
		c.Body = []byte(line.Body)
	}
	switch {
	case contract.ValidUser(line.User) != nil || !domain.ValidID(line.Session):
		return Item{}, r.damaged(nil, "user %.80q and session %.80q are no legal ids", line.User, line.Session)
	case r.current.Commits > 0 && r.current.Key != c.Key:
		return Item{}, r.damaged(nil, "session %s has no end before session %s begins", r.current.Key, c.Key)
	case line.Body != "" && line.Base64 != nil:
		return Item{}, r.damaged(nil, "the commit has two bodies; there may be body or base64")
	}
	if have := eventstore.Hash(c.Body); have != c.Hash {
		return Item{}, r.damaged(nil, "session %s, version %d: the body hashes to %s and not to %.64q", c.Key, c.Version, have, c.Hash)
	}
	r.current.Key, r.current.Head = c.Key, c.Hash
	r.current.Commits++
	r.total.Commits++
	r.add(raw)
	return Item{Commit: c}, nil
}

func (r *Reader) end(raw []byte) (Item, error) {
	var line endLine
	if err := strict(raw, &line); err != nil {
		return Item{}, r.damaged(err, "the end of a session can't be read: %s", err)
	}
	have := r.current
	end := &End{
		Key: eventstore.Key{User: line.User, Session: line.Session}, Commits: line.Commits, Version: line.Version, Head: line.Head,
	}
	switch {
	case have.Commits == 0:
		return Item{}, r.damaged(nil, "the end of session %.200q without a commit before it", end.Key)
	case end.Key != have.Key:
		return Item{}, r.damaged(nil, "the end of session %.200q among the commits of %s", end.Key, have.Key)
	case end.Commits != have.Commits:
		return Item{}, r.damaged(nil, "session %s has %d commits here, and its end says %d: lines are missing or too many", have.Key, have.Commits, end.Commits)
	case end.Head != have.Head:
		return Item{}, r.damaged(nil, "session %s: its last commit hashes to %s, and its end says %.64q", have.Key, have.Head, end.Head)
	}
	r.current = End{}
	r.total.Sessions++
	r.add(raw)
	return Item{End: end}, nil
}

// trailer checks the last line and returns io.EOF if all is well.
func (r *Reader) trailer(raw []byte) error {
	var line trailerLine
	if err := strict(raw, &line); err != nil {
		return r.damaged(err, "the trailer can't be read: %s", err)
	}
	sum := hex.EncodeToString(r.sum.Sum(nil))
	switch {
	case r.current.Commits > 0:
		return r.damaged(nil, "session %s has no end before the trailer", r.current.Key)
	case line.Sessions != r.total.Sessions || line.Commits != r.total.Commits:
		return r.damaged(nil, "the trailer says %d sessions and %d commits; there are %d and %d", line.Sessions, line.Commits, r.total.Sessions, r.total.Commits)
	case line.SHA256 != sum:
		return r.damaged(nil, "the lines before hash to %s, and the trailer says %.64q: a line was changed", sum, line.SHA256)
	}
	r.total.SHA256 = sum
	switch _, err := r.line(); {
	case errors.Is(err, io.EOF):
		return io.EOF
	case err != nil:
		return err
	}
	return r.damaged(nil, "something follows the trailer")
}

// line reads one line without its break, which is valid until the next call.
// io.EOF means that there is none.
func (r *Reader) line() ([]byte, error) {
	r.number++
	r.buf = r.buf[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		if r.buf = append(r.buf, part...); len(r.buf) > maxLine {
			return nil, r.damaged(nil, "it is longer than %d bytes", maxLine)
		}
		switch {
		case err == nil:
			return r.buf[:len(r.buf)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(r.buf) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return r.buf, nil
		default:
			return nil, r.damaged(err, "it can't be read: %s; the file was cut or damaged", err)
		}
	}
}

// add counts a line into the sum.
func (r *Reader) add(raw []byte) {
	_, _ = r.sum.Write(raw) // a hash never fails
	_, _ = r.sum.Write([]byte{'\n'})
}

// damaged is about the line that was read last.
func (r *Reader) damaged(cause error, format string, args ...any) *DamageError {
	return &DamageError{Line: r.number, Reason: fmt.Sprintf(format, args...), Err: cause}
}

// typeOf returns the type of a line, "" if it has none.
func typeOf(raw []byte) string {
	for _, kind := range []string{typeCommit, typeEnd, typeTrailer, typeHeader} {
		if bytes.HasPrefix(raw, []byte(`{"type":"`+kind+`"`)) {
			return kind
		}
	}
	var line struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &line) != nil {
		return ""
	}
	return line.Type
}

// strict reads one JSON object without unknown fields.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if rest := bytes.TrimSpace(raw[d.InputOffset():]); len(rest) > 0 {
		return errors.New("something follows the JSON object")
	}
	return nil
}
