package archive

import (
	"errors"
	"fmt"
	"time"

	"reprise/contract"
	"reprise/eventstore"
)

const (
	// FormatName is in the header of every export.
	FormatName = "reprise-export"
	// FormatVersion is the version that is written, and the newest that is read.
	FormatVersion = 1
)

// maxLine bounds one line of an export in bytes: the largest message a server
// should be set up for, 8 MB, as a JSON string.
const maxLine = 32 << 20

// The types of lines.
const (
	typeHeader  = "header"
	typeCommit  = "commit"
	typeEnd     = "end"
	typeTrailer = "trailer"
)

// Header is the first line of an export.
type Header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	// Source is the store it was made from, and up to where.
	Source contract.Position `json:"source"`
	// Filter is what was asked for.
	Filter Filter `json:"filter"`
}

// Commit is one commit in an export.
type Commit struct {
	eventstore.Original

	Key eventstore.Key
	// Version is that of its first event.
	Version uint64
	// Hash is the SHA-256 of the body in hex.
	Hash string
}

// End follows the last commit of a session.
type End struct {
	Key eventstore.Key
	// Commits is how many of the session are in the export.
	Commits uint64
	// Version is that of the session, Head the hash of its last commit.
	Version uint64
	Head    string
}

// Trailer is the last line of an export.
type Trailer struct {
	Sessions uint64 `json:"sessions"`
	Commits  uint64 `json:"commits"`
	// SHA256 is the digest of all lines before, with their line breaks, in hex.
	SHA256 string `json:"sha256"`
}

// The lines as they are written.
type (
	headerLine struct {
		Type string `json:"type"`
		Header
	}
	commitLine struct {
		Type    string            `json:"type"`
		User    string            `json:"user"`
		Session string            `json:"session"`
		Version uint64            `json:"version"`
		Hash    string            `json:"hash"`
		Headers map[string]string `json:"headers,omitempty"`
		Body    string            `json:"body,omitempty"`
		// Base64 has the body instead where it is not valid UTF-8.
		Base64 []byte `json:"base64,omitempty"`
	}
	endLine struct {
		Type    string `json:"type"`
		User    string `json:"user"`
		Session string `json:"session"`
		Commits uint64 `json:"commits"`
		Version uint64 `json:"version"`
		Head    string `json:"head"`
	}
	trailerLine struct {
		Type string `json:"type"`
		Trailer
	}
)

// ErrDamaged says that a file is not a whole and sound export; the detail is a
// *DamageError.
var ErrDamaged = errors.New("the export is damaged")

// DamageError says where a file is not what it should be.
type DamageError struct {
	// Line counts from 1; of a file that is cut it is the line that is missing.
	Line   uint64
	Reason string
	Err    error
}

// Error names the line and what is wrong with it.
func (e *DamageError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrDamaged) true.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// Progress says how far something is.
type Progress struct {
	// Doing is "reading", "checking", "writing" or "comparing".
	Doing string
	// Sessions and Commits are how many are done, Bytes the size of their bodies.
	Sessions, Commits, Bytes uint64
	// Of is how many sessions there are, 0 if that is not known.
	Of uint64
}
