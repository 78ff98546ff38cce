package projections

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// View is one stored view.
type View struct {
	// Key is <user token>.<session>.
	Key string
	// Body is the JSON of the view; nil where it was not asked for, and in a
	// write that purges the view.
	Body []byte
	// Index is the value of the header Reprise-Index.
	Index []byte
}

// body is the JSON of a view: the session and its place in the store.
type body struct {
	Schema int    `json:"schema"`
	Seq    uint64 `json:"seq"`
	Hash   string `json:"hash"`
	*domain.Session
}

// encodeView makes the view of a session. The same state always gives the same
// bytes. Of the remembered command ids it keeps the last domain.RecentMin.
func encodeView(a eventstore.Aggregate, declared []string) (View, error) {
	kept := *a.Session
	if extra := len(kept.Recent) - domain.RecentMin; extra > 0 {
		kept.Recent = kept.Recent[extra:]
	}
	scratch := scratches.Get().(*[]byte) //nolint:forcetypeassert // New makes nothing else
	defer scratches.Put(scratch)
	raw, err := appendBody((*scratch)[:0], body{Schema: eventstore.SchemaVersion, Seq: a.Seq, Hash: a.Hash, Session: &kept})
	if err != nil {
		return View{}, fmt.Errorf("encode the view of session %s: %w", a.Key, err)
	}
	size := len(raw)
	entry := NewEntry(a, declared)
	entry.Waits = entry.Waits.bounded()
	raw, err = entry.appendJSON(raw)
	if err != nil {
		return View{}, fmt.Errorf("encode the index header of session %s: %w", a.Key, err)
	}
	if cap(raw) <= maxScratch {
		*scratch = raw
	}
	whole := slices.Clone(raw)
	return View{Key: a.Key.String(), Body: whole[:size:size], Index: whole[size:]}, nil
}

// maxScratch bounds the buffers that are kept for the next view, in bytes.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return new([]byte) }}

// appendBody writes a body as domain.Marshal does.
func appendBody(buf []byte, b body) ([]byte, error) {
	w := domain.Appender{Buf: buf}
	w.Raw("{")
	w.Int("schema", b.Schema)
	w.Uint("seq", b.Seq)
	w.String("hash", b.Hash)
	if w.Err != nil {
		return w.Buf, w.Err
	}
	opens := len(w.Buf) // the session's own fields go on from here
	raw, err := b.AppendJSON(w.Buf)
	if err == nil {
		raw[opens] = ','
	}
	return raw, err
}

// decodeView reads the body of a view as a snapshot. It does not say that the
// snapshot is true; the store proves that.
func decodeView(v View) (eventstore.Snapshot, error) {
	var b body
	if err := json.Unmarshal(v.Body, &b); err != nil {
		return eventstore.Snapshot{}, fmt.Errorf("view %s: %w", v.Key, err)
	}
	if b.Session == nil || contract.ViewKey(b.User, b.ID) != v.Key {
		return eventstore.Snapshot{}, fmt.Errorf("view %s is not of that session", v.Key)
	}
	return eventstore.Snapshot{Schema: b.Schema, Seq: b.Seq, Hash: b.Hash, Session: b.Session}, nil
}

// parseKey reads a view's key.
func parseKey(key string) (eventstore.Key, error) {
	token, session, ok := strings.Cut(key, ".")
	user, err := contract.ParseUserToken(token)
	if !ok || err != nil || !contract.ValidToken(session) {
		return eventstore.Key{}, fmt.Errorf("%q is not the key of a view; it would be <user>.<session>", key)
	}
	return eventstore.Key{User: user, Session: session}, nil
}
