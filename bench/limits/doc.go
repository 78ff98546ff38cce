// Package limits measures what the store and the server could do if nothing was
// built on them, so that a figure of the engine can be read as a share of it. It
// holds benchmarks alone; others of that kind stand beside what they bound, in
// package engine: Echo (a micro request) and Prototype (a micro request and a
// guarded publish).
package limits
