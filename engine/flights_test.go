package engine

import (
	"errors"
	"testing"

	"reprise/domain"
)

func TestNobodyFillsTheEngineAlone(t *testing.T) {
	var f flights
	for range maxPerUser {
		if err := f.enter("loud"); err != nil {
			t.Fatal(err)
		}
	}
	rejected, ok := errors.AsType[*domain.Rejection](f.enter("loud"))
	if !ok || rejected.Code != domain.CodeBusy {
		t.Errorf("one more: %v", rejected)
	}
	if err := f.enter("quiet"); err != nil {
		t.Errorf("another user: %v", err)
	}
	f.leave("loud")
	if err := f.enter("loud"); err != nil {
		t.Errorf("after one was answered: %v", err)
	}
	for range maxPerUser {
		f.leave("loud")
	}
	f.leave("quiet")
	if len(f.by) != 0 {
		t.Errorf("users are remembered who have nothing in flight: %v", f.by)
	}
}
