//go:build race

package natsnode

import "time"

// leastSync is the shortest pause between syncs that a server gets while the race
// detector watches: nats-server 2.15.2 sets the sync timer of a new file store
// without its lock, and the first sync, after half a pause at least, may come before
// whoever made the store has used that lock. With the usual 100 ms that happened to
// a few in a hundred processes on a busy machine.
const leastSync = 10 * time.Second
