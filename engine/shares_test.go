package engine

import (
	"fmt"
	"testing"
)

// fill has a sender send until it is refused, and returns how many were taken.
func (h *shares) fill(sender string) (n int) {
	for h.enter(sender, 1) {
		n++
	}
	return n
}

func TestNobodyFillsTheEngineAlone(t *testing.T) {
	var h shares
	loud := h.fill("cmd.loud")
	if loud != maxShared/2 {
		t.Errorf("one alone has %d; want half of %d", loud, maxShared)
	}
	second := h.fill("cmd.second")
	if second != maxShared/4 {
		t.Errorf("a second one has %d; want half of what was left", second)
	}
	for range maxShared / 16 {
		if !h.enter("cmd.quiet", 1) {
			t.Fatal("who has little there is refused")
		}
	}
	h.leave("cmd.loud", 1)
	if h.enter("cmd.loud", 1) {
		t.Error("who has the most gets in again while others came")
	}
	for n, sender := range map[string]int{"cmd.loud": loud - 1, "cmd.second": second, "cmd.quiet": maxShared / 16} {
		h.leave(n, sender)
	}
	if h.taken != 0 || len(h.by) != 0 {
		t.Errorf("%d are counted, of %v, though all left", h.taken, h.by)
	}
}

func TestThereIsRoomBesideManyWhoFlood(t *testing.T) {
	var h shares
	const loud = 16
	for again := true; again; {
		again = false
		for i := range loud { // in turns, as they come
			again = h.enter(fmt.Sprint("cmd.u", i), 1) || again
		}
	}
	if n := h.by["cmd.u0"]; n < maxShared/(loud+2) {
		t.Errorf("one of %d who flood has %d", loud, n)
	}
	if room := maxShared - h.taken; room < maxShared/(loud+2) {
		t.Errorf("there is room for %d commands of others", room)
	}
}

func TestLargeCommandsCountMore(t *testing.T) {
	var h shares
	if units(0) != 1 || units(unitBytes) != 2 || units(1<<20) != 129 || units(1<<30) != maxUnits {
		t.Errorf("units: %d, %d, %d, %d", units(0), units(unitBytes), units(1<<20), units(1<<30))
	}
	taken := 0
	for h.enter("cmd.loud", units(1<<20)) {
		taken++
	}
	if taken > maxShared*unitBytes>>20 {
		t.Errorf("%d MiB of one sender wait", taken)
	}
	if !h.enter("cmd.quiet", 1) {
		t.Error("there is no room for a small one")
	}
}
