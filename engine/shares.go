package engine

import "sync"

const (
	// maxShared bounds what is taken in and not answered, in units: a command is
	// one, and one more for each unitBytes of its body. The rest of maxInFlight is
	// for the engine's own commands.
	maxShared = maxInFlight - maxInFlight/8
	// unitBytes is the part of a body that counts as one more command, so that what
	// waits has no more than 56 MiB.
	unitBytes = 8 << 10
	// maxUnits is what a command counts at most, however large it is.
	maxUnits = maxShared / 4
)

// shares bound what senders have in an engine that is not answered. A sender may
// have as much as there is room left for others: who is alone half of all, and the
// less the fuller the engine is. So it is those who have the most that are refused
// first, and there is room for who has nothing there. The zero value is ready; it
// is safe for concurrent use.
type shares struct {
	mu    sync.Mutex
	taken int
	by    map[string]int
}

// units is what a command with a body of this size counts.
func units(size int) int { return min(1+size/unitBytes, maxUnits) }

// enter counts units of a sender, or reports that there are too many.
func (h *shares) enter(sender string, units int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	has := h.by[sender] + units
	if has > maxShared-h.taken {
		return false
	}
	if h.by == nil {
		h.by = map[string]int{}
	}
	h.by[sender] = has
	h.taken += units
	return true
}

// leave ends the count of units.
func (h *shares) leave(sender string, units int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken -= units
	if h.by[sender] -= units; h.by[sender] == 0 {
		delete(h.by, sender)
	}
}
