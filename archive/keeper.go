package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
	"reprise/internal/killpoint"
)

// ending is that of archives: every system can read gzip.
const ending = ".jsonl.gz"

// An Archiver keeps the complete history of a session, in the export format,
// before it is removed. Archive returns only after what it has kept was read back
// and verified, and names it. What is kept already is verified and kept as it is.
// It is safe for concurrent use.
type Archiver interface {
	// Archive keeps the history up to a sequence of the stream, 0 for all of it.
	Archive(ctx context.Context, key eventstore.Key, upTo uint64) (ref string, err error)
}

var (
	_ Archiver = (*Dir)(nil)
	_ Archiver = (*ObjectStore)(nil)
)

// Dir keeps archives in a directory, one file a session.
type Dir struct {
	store *eventstore.Store
	path  string
}

const (
	// unfinished begins the names of files that are being written.
	unfinished = ".writing-"
	// abandonedAfter is the age at which such a file is that of a process that
	// was killed; writing one takes a minute at most.
	abandonedAfter = time.Hour
	// confirmPause is the pause before an object that was put is read again; it
	// doubles up to maxConfirmPause.
	confirmPause    = 20 * time.Millisecond
	maxConfirmPause = 2 * time.Second
)

// NewDir makes the directory if it is missing, and removes what a process that
// was killed had begun to write there.
func NewDir(store *eventstore.Store, path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(path, 0o700)
	}
	if err == nil {
		err = removeAbandoned(path)
	}
	if err != nil {
		return nil, fmt.Errorf("the archive's directory: %w", err)
	}
	return &Dir{store: store, path: path}, nil
}

func removeAbandoned(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), unfinished) {
			continue
		}
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > abandonedAfter {
			err = os.Remove(filepath.Join(path, entry.Name()))
		}
		errs = append(errs, ignoreMissing(err))
	}
	return errors.Join(errs...)
}

// Archive returns the URL of the file. The errors are ErrNoSession, those of the
// store and of the file system.
func (d *Dir) Archive(ctx context.Context, key eventstore.Key, upTo uint64) (string, error) {
	h, err := toKeep(ctx, d.store, key, upTo)
	if err != nil {
		return "", err
	}
	path := filepath.Join(d.path, filepath.FromSlash(nameOf(h)))
	ref := (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
	if confirmFile(ctx, path, h) == nil {
		return ref, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("archive session %s: %w", key, err)
	}
	if err := d.write(ctx, path, h); err != nil {
		return "", fmt.Errorf("archive session %s: %w", key, err)
	}
	killpoint.Pass(killpoint.ArchiveKept)
	return ref, nil
}

// write writes a file in the same file system, reads that back, and gives it
// its name.
func (d *Dir) write(ctx context.Context, path string, h *history) (err error) {
	file, err := os.CreateTemp(d.path, unfinished+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(file.Name())))
		}
	}()
	err = errors.Join(keep(ctx, d.store, file, h), file.Sync())
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	killpoint.Pass(killpoint.ArchiveWritten)
	if err = confirmFile(ctx, file.Name(), h); err != nil {
		return err
	}
	killpoint.Pass(killpoint.ArchiveChecked)
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(path)), syncDir(d.path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// syncDir makes a new name in a directory safe from a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = dir.Sync() // not every file system can
	return dir.Close()
}

func confirmFile(ctx context.Context, path string, h *history) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	return confirm(ctx, file, h)
}

// ObjectStore keeps archives in an object store bucket of JetStream, one object a
// session.
type ObjectStore struct {
	store  *eventstore.Store
	bucket jetstream.ObjectStore
	name   string
}

// NewObjectStore takes a bucket that is there, and its name.
func NewObjectStore(store *eventstore.Store, bucket jetstream.ObjectStore, name string) *ObjectStore {
	return &ObjectStore{store: store, bucket: bucket, name: name}
}

// Archive returns nats-object://BUCKET/NAME. The errors are ErrNoSession and
// those of the store and of the server.
func (o *ObjectStore) Archive(ctx context.Context, key eventstore.Key, upTo uint64) (string, error) {
	h, err := toKeep(ctx, o.store, key, upTo)
	if err != nil {
		return "", err
	}
	name := nameOf(h)
	ref := (&url.URL{Scheme: "nats-object", Host: o.name, Path: "/" + name}).String()
	if o.confirm(ctx, name, h) == nil {
		return ref, nil
	}
	out, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := keep(ctx, o.store, in, h)
		_ = in.CloseWithError(err) // it never fails
		written <- err
	}()
	_, err = o.bucket.Put(ctx, jetstream.ObjectMeta{Name: name, Description: "Reprise: the history of session " + key.String()}, out)
	_ = out.CloseWithError(errors.New("the server takes no more")) // it never fails
	if err = errors.Join(err, <-written); err == nil {
		killpoint.Pass(killpoint.ArchiveWritten)
		err = o.confirmSoon(ctx, name, h)
	}
	if err != nil {
		return "", fmt.Errorf("archive session %s in bucket %s: %w", key, o.name, err)
	}
	killpoint.Pass(killpoint.ArchiveKept)
	return ref, nil
}

// confirmSoon is confirm for what was just put: a replica that is asked may not
// have it yet.
func (o *ObjectStore) confirmSoon(ctx context.Context, name string, h *history) error {
	for wait := confirmPause; ; wait *= 2 {
		err := o.confirm(ctx, name, h)
		if err == nil || wait > maxConfirmPause {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		case <-timer.C:
		}
	}
}

func (o *ObjectStore) confirm(ctx context.Context, name string, h *history) error {
	object, err := o.bucket.Get(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = object.Close() }() // it was only read
	return confirm(ctx, object, h)
}

// toKeep reads the history of a session that is not gone.
func toKeep(ctx context.Context, store *eventstore.Store, key eventstore.Key, upTo uint64) (*history, error) {
	h, err := readHistory(ctx, store, key, upTo)
	switch {
	case err != nil:
		return nil, fmt.Errorf("session %s can't be archived: %w", key, err)
	case h.count == 0 || h.gone():
		return nil, fmt.Errorf("%w: %s of user %s has no history to archive", ErrNoSession, key.Session, key.User)
	}
	return h, nil
}

// nameOf names an archive by session, version and head, so that no two histories
// have one name.
func nameOf(h *history) string {
	return fmt.Sprintf("%s/%s-v%d-%.16s%s", contract.UserToken(h.key.User), h.key.Session, h.agg.Session.Version, h.agg.Hash, ending)
}

// keep writes one history as an export.
func keep(ctx context.Context, store *eventstore.Store, w io.Writer, h *history) error {
	z, err := Compress(ending, w)
	if err != nil {
		return err
	}
	header := Header{
		Created: time.Now().UTC(), Source: store.Position(0), Filter: Filter{User: h.key.User, Sessions: []string{h.key.Session}},
	}
	out, err := NewWriter(z, header)
	if err == nil {
		err = writeHistory(ctx, store, out, h)
	}
	if err == nil {
		_, err = out.Close()
	}
	return errors.Join(err, z.Close())
}

// confirm reads an archive and compares it with the history it has to hold.
func confirm(ctx context.Context, r io.Reader, h *history) error {
	in, err := Decompress(r)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	export, err := NewReader(in)
	if err != nil {
		return err
	}
	held := End{}
	trailer, err := Verify(ctx, export, Visitor{End: func(end *End, _ *domain.Session) error {
		held = *end
		return nil
	}})
	if err != nil {
		return err
	}
	if trailer.Sessions != 1 || held.Key != h.key || held.Commits != h.count || held.Head != h.agg.Hash {
		return errors.New("what was read back is not the history that was to be archived")
	}
	return nil
}
