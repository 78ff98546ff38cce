package engine

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"reprise/domain"
)

// tooOld rejects a new session whose id was made longer ago than tombstones are
// kept: it may have been used, and its tombstone be gone by now. Only a UUIDv7
// says when it was made; any other id is free again once its tombstone has
// expired.
func (c *commander) tooOld(r Request, s *domain.Session) error {
	if c.horizon <= 0 || s.Version > 0 || !makesSession(r.Verb) {
		return nil
	}
	made, ok := madeAt(s.ID)
	if !ok || c.clock().Sub(made) <= c.horizon {
		return nil
	}
	return domain.Reject(domain.CodeGone, domain.StateNone,
		"session id %q was made on %s, and whether it was used is remembered for %s only; choose a new id",
		s.ID, made.Format(time.DateOnly), domain.Duration(c.horizon))
}

// madeAt returns when a UUIDv7 was made.
func madeAt(id string) (time.Time, bool) {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(u[:8]) >> 16)).UTC(), true
}
