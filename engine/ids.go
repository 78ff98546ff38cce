package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// idSpace separates ids that are derived here from other uses of SHA-256.
const idSpace = "reprise/session-id/1\x00"

// newCommandID makes the id of a command that came without one: a UUIDv7.
func newCommandID(now time.Time) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	stamp(&id, uint64(now.UnixMilli()))
	return id.String()
}

// derivedID makes the id of a new session from what names the command, so that
// the repeat of the command finds the same session. It is a UUIDv7 of the same
// time if the command id is one, else a UUIDv8.
func derivedID(purpose, user, commandID string) string {
	h := sha256.New()
	h.Write([]byte(idSpace + purpose + "\x00" + user + "\x00" + commandID))
	id := uuid.UUID(h.Sum(nil)[:16])
	if from, err := uuid.Parse(commandID); err == nil && from.Version() == 7 {
		stamp(&id, binary.BigEndian.Uint64(from[:8])>>16)
		return id.String()
	}
	return mark(&id, 8).String()
}

// stamp makes an id a UUIDv7 of a time in milliseconds.
func stamp(id *uuid.UUID, milli uint64) {
	binary.BigEndian.PutUint16(id[:2], uint16(milli>>32))
	binary.BigEndian.PutUint32(id[2:6], uint32(milli))
	mark(id, 7)
}

// mark writes version and variant of RFC 9562.
func mark(id *uuid.UUID, version byte) *uuid.UUID {
	id[6] = id[6]&0x0f | version<<4
	id[8] = id[8]&0x3f | 0x80
	return id
}
