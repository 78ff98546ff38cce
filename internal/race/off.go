//go:build !race

// Package race tells tests whether the race detector watches them.
package race

// Enabled says that the race detector is off.
const Enabled = false
