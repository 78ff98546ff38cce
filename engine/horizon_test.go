package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/domain"
)

// TestOldIDsStayGone makes sessions whose ids were made long ago.
func TestOldIDsStayGone(t *testing.T) {
	b := newBench(t)
	b.cmd.horizon = 90 * 24 * time.Hour
	made := func(ago time.Duration) string {
		var id uuid.UUID
		stamp(&id, uint64(b.clock().Add(-ago).UnixMilli()))
		return id.String()
	}
	for id, gone := range map[string]bool{
		made(91 * 24 * time.Hour): true, made(89 * 24 * time.Hour): false, made(-time.Hour): false,
		"release": false, "0190a8c4-5d3e-4abc-8def-0123456789ab": false,
	} {
		_, err := b.cmd.Do(t.Context(), b.ask(id, domain.VerbCreate, `{"keepOpen":true}`))
		if errors.Is(err, &domain.Rejection{Code: domain.CodeGone}) != gone || !gone && err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	old := made(time.Hour)
	if _, err := b.cmd.Do(t.Context(), b.ask(old, domain.VerbCreate, `{"keepOpen":true}`)); err != nil {
		t.Fatal(err)
	}
	b.pass(100 * 24 * time.Hour)
	if _, err := b.cmd.Do(t.Context(), b.ask(old, domain.VerbStart, `{}`)); err != nil {
		t.Errorf("a session that is older than the horizon: %v", err)
	}
}
