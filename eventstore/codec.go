package eventstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"reprise/domain"
)

// The kinds of a CommitError.
const (
	// KindBytes: the body is not a commit, or not this session's.
	KindBytes = "bytes"
	// KindEventType: an event type that this program does not know.
	KindEventType = "unknown event type"
	// KindVersion: a version of the commit or of an event that this program
	// does not know; a newer one wrote it.
	KindVersion = "unknown version"
	// KindHashChain: the commit does not carry the hash of the one before it.
	KindHashChain = "hash chain"
	// KindVersionGap: commits between this one and the one before are missing.
	KindVersionGap = "version gap"
	// KindForeign: the message was not written by an engine.
	KindForeign = "foreign"
)

// Codec writes and reads the bodies of commits. The zero value knows every
// event in its first version. It is safe for concurrent use.
type Codec struct {
	Upcasts Upcasts
}

// wireCommit is the JSON of a commit.
type wireCommit struct {
	V       int             `json:"v"`
	Commit  string          `json:"commit"`
	Session string          `json:"session"`
	User    string          `json:"user"`
	Version uint64          `json:"version"`
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor"`
	Cause   domain.Verb     `json:"cause"`
	State   domain.State    `json:"state"`
	Digest  string          `json:"digest"`
	Prev    string          `json:"prev"`
	Queue   uint64          `json:"queue,omitempty"`
	Results []domain.Result `json:"results,omitempty"`
	Events  []wireEvent     `json:"events"`
}

// wireEvent is the JSON of one event.
type wireEvent struct {
	Type domain.EventType `json:"type"`
	V    int              `json:"v,omitempty"`
	Data json.RawMessage  `json:"data"`
}

// Hash returns the SHA-256 of a commit's body in hex: what the next commit
// carries as prev.
func Hash(body []byte) string {
	digest := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], digest[:])
	return string(text[:])
}

// Decode reads a stored message. The error is a *CommitError that names the
// session and the sequence; a message without a guard is KindForeign. It does
// not look at other commits.
func (c Codec) Decode(m Message) (Committed, error) {
	out := Committed{Key: m.Key, Seq: m.Seq, Prev: m.Prev}
	if !m.Guarded {
		return out, commitError(m, KindForeign, "the message carries no guard, so no engine wrote it", nil)
	}
	commit, err := c.decodeBody(m)
	if err != nil {
		return out, err
	}
	out.Hash, out.Commit = Hash(m.Body), commit
	return out, nil
}

func (c Codec) decodeBody(m Message) (*domain.Commit, error) {
	var wire wireCommit
	if err := c.decodeEnvelope(m, &wire); err != nil {
		return nil, err
	}
	commit := &domain.Commit{
		ID: wire.Commit, Session: wire.Session, User: wire.User, Version: wire.Version,
		Time: wire.Time, Actor: wire.Actor, Cause: wire.Cause, State: wire.State,
		Digest: wire.Digest, Prev: wire.Prev, Queue: wire.Queue, Results: wire.Results,
		Events: make([]domain.Event, 0, len(wire.Events)),
	}
	for i, e := range wire.Events {
		event, err := c.decodeEvent(m, i, e)
		if err != nil {
			return nil, err
		}
		commit.Events = append(commit.Events, event)
	}
	return commit, nil
}

// decodeEnvelope reads all but the data of the events. An unknown version is
// told apart from damage before the fields are looked at.
func (c Codec) decodeEnvelope(m Message, wire *wireCommit) error {
	if readEnvelope(m, wire) {
		return checkEnvelope(m, wire)
	}
	*wire = wireCommit{}
	strict := decodeStrict(m.Body, wire)
	if strict != nil {
		var only struct {
			V int `json:"v"`
		}
		if json.Unmarshal(m.Body, &only) == nil && only.V > domain.CommitVersion {
			wire.V = only.V
			strict = nil
		}
	}
	if strict != nil {
		return commitError(m, KindBytes, "the body is not a commit: "+strict.Error(), strict)
	}
	return checkEnvelope(m, wire)
}

// checkEnvelope looks at what was read.
func checkEnvelope(m Message, wire *wireCommit) error {
	switch {
	case wire.V > domain.CommitVersion || wire.V < 0:
		return commitError(m, KindVersion, fmt.Sprintf("the commit has version %d; this program reads up to %d", wire.V, domain.CommitVersion), nil)
	case wire.V == 0:
		return commitError(m, KindBytes, `the body is not a commit: it has no "v"`, nil)
	case wire.Session != m.Key.Session || wire.User != m.Key.User:
		return commitError(m, KindBytes, fmt.Sprintf("the body names session %.80q of user %.80q", wire.Session, wire.User), nil)
	case len(wire.Events) == 0 || wire.Version == 0 || wire.Commit == "":
		return commitError(m, KindBytes, "the body is not a commit: it needs an id, a version and events", nil)
	}
	return nil
}

func (c Codec) decodeEvent(m Message, i int, e wireEvent) (domain.Event, error) {
	version := max(e.V, 1)
	current := c.Upcasts.Current(e.Type)
	data, err := e.Data, error(nil)
	if e.V >= 0 && version <= current {
		if data, err = c.Upcasts.upcast(e.Type, version, e.Data); err == nil {
			if event := domain.ReadEvent(e.Type, data); event != nil {
				return event, nil
			}
		}
	}
	event := domain.NewEvent(e.Type)
	if event == nil {
		return nil, commitError(m, KindEventType, fmt.Sprintf("events[%d] is %.80q, which this program does not know", i, e.Type), nil)
	}
	if e.V < 0 || version > current {
		return nil, commitError(m, KindVersion, fmt.Sprintf("events[%d] is version %d of %s; this program reads up to %d", i, e.V, e.Type, current), nil)
	}
	if err == nil && string(data) != "{}" {
		err = decodeStrict(data, event)
	}
	if err != nil {
		return nil, commitError(m, KindBytes, fmt.Sprintf("events[%d] (%s): %s", i, e.Type, err), err)
	}
	return event, nil
}

// decodeStrict reads one JSON object; unknown fields and anything after it are
// an error.
func decodeStrict(raw []byte, into any) error {
	if len(raw) == 0 || raw[0] != '{' {
		return errors.New("it is not a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.InputOffset() != int64(len(raw)) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func commitError(m Message, kind, detail string, cause error) *CommitError {
	return &CommitError{Key: m.Key, Seq: m.Seq, Kind: kind, Detail: detail, Err: cause}
}
