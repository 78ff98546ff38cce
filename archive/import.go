package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// Opener opens a file from its beginning; Import reads it twice.
type Opener func() (io.ReadCloser, error)

// ImportOptions say how Import restores.
type ImportOptions struct {
	// SkipClashes leaves out sessions that are there with another history, or are
	// gone here, instead of refusing the whole file.
	SkipClashes bool
	// User gives every session to another user, NewID gives the one session of
	// the file another id. Either makes sessions that begin with what they were,
	// as session.imported; their history stays in the file.
	User, NewID string
	// Actor is who imports, as session.imported records it.
	Actor string
	// CheckOnly ends after everything was verified and nothing written.
	CheckOnly bool
	// BeforeWriting is called once, after everything was verified, if there is
	// something to write, and what it returns at the end; it may be nil. It keeps
	// others from commanding sessions that are half there.
	BeforeWriting func(ctx context.Context) (end func() error, err error)
	// Now returns the time of session.imported; time.Now if nil.
	Now func() time.Time
	// Progress is called as sessions are done, by several goroutines; it may be
	// nil.
	Progress func(Progress)
}

// rewrites reports whether sessions get another name.
func (o *ImportOptions) rewrites() bool { return o.User != "" || o.NewID != "" }

// target is the session that one of the file becomes.
func (o *ImportOptions) target(key eventstore.Key) eventstore.Key {
	if o.User != "" {
		key.User = o.User
	}
	if o.NewID != "" {
		key.Session = o.NewID
	}
	return key
}

func (o *ImportOptions) complete() error {
	if o.User != "" {
		if err := contract.ValidUser(o.User); err != nil {
			return err
		}
	}
	if o.NewID != "" && !domain.ValidID(o.NewID) {
		return fmt.Errorf("%.80q is no id; use 1 to %d of A-Z a-z 0-9 _ -", o.NewID, domain.MaxIDLength)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// ImportReport says what was found and what was done.
type ImportReport struct {
	// Source is where the export was made.
	Source contract.Position `json:"source"`
	// InFile are the counts of the file.
	InFile Trailer `json:"inFile"`
	// New, Continued and Unchanged count sessions that were not there, that were
	// there in part, and that were there as they are in the file or have gone on
	// since.
	New       uint64 `json:"new"`
	Continued uint64 `json:"continued"`
	Unchanged uint64 `json:"unchanged"`
	// Skipped counts the clashes that were left out, Clashes names the first.
	Skipped uint64  `json:"skipped"`
	Clashes []Clash `json:"clashes,omitempty"`
	// Written counts the commits that were appended.
	Written uint64 `json:"written"`
}

// Import restores the sessions of an export with their ids, times and histories,
// byte for byte; positions and guards are made anew. Everything is verified
// first, and if anything is wrong nothing is written. What is there already is
// left as it is, so that an import that was killed goes on where it stopped and
// a second one of the same file changes nothing.
//
// The errors are ErrDamaged (the file), ErrClash (a session is there with
// another history, or is gone), those of the store, and the context's.
func Import(ctx context.Context, store *eventstore.Store, open Opener, o ImportOptions) (ImportReport, error) {
	if err := o.complete(); err != nil {
		return ImportReport{}, err
	}
	report, skip, err := check(ctx, store, open, o)
	if err != nil || o.CheckOnly || report.New+report.Continued == 0 {
		return report, err
	}
	if o.BeforeWriting != nil {
		end, err := o.BeforeWriting(ctx)
		if err != nil {
			return report, err
		}
		defer func() { _ = end() }() // BeforeWriting's to report
	}
	report.Written, err = restore(ctx, store, open, o, skip, report.InFile)
	return report, err
}

// opened calls fn with a reader of the file.
func opened(open Opener, fn func(*Reader) error) (err error) {
	file, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in, err := Decompress(file)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // what it has to say, reading has said
	r, err := NewReader(in)
	if err != nil {
		return err
	}
	return fn(r)
}
