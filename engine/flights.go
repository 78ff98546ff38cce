package engine

import (
	"sync"

	"reprise/domain"
)

// maxPerUser is how many commands of one user may wait for their answers: a part
// of what the engine takes, so that nobody fills it for all others.
const maxPerUser = maxInFlight / 4

// flights counts the commands of each user that are not answered. The zero value
// is ready; it is safe for concurrent use.
type flights struct {
	mu sync.Mutex
	by map[string]int
}

// enter counts a command, or rejects it if its user has too many.
func (f *flights) enter(user string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]int{}
	}
	if f.by[user] >= maxPerUser {
		return domain.Reject(domain.CodeBusy, domain.StateNone, "%d commands of user %q wait in this engine, the most one user may have there; send it again a little later", maxPerUser, user)
	}
	f.by[user]++
	return nil
}

// leave ends the count of a command.
func (f *flights) leave(user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by[user]--; f.by[user] == 0 {
		delete(f.by, user)
	}
}
