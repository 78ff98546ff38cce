//go:build !race

package natsnode

// leastSync is the shortest pause between syncs that a server gets; see sync_race.go.
const leastSync = 0
