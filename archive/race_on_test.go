//go:build race

package archive

// manySessions is how many sessions the larger tests move; the race detector
// makes everything several times slower.
const manySessions = 400
