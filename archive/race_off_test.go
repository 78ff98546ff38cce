//go:build !race

package archive

// manySessions is how many sessions the larger tests move.
const manySessions = 3000
