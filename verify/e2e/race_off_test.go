//go:build !race

package e2e

// raceFlags build the binary without the race detector.
func raceFlags() []string { return nil }
