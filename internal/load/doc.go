// Package load sends commands to an engine and measures how long their answers
// take: what `reprise bench` and the benchmarks of growth have in common.
//
// A run has a number of clients, each with sessions of its own, which it leads
// through the script of a usual session: made, started, its steps completed by
// command, paused and resumed. A client sends its next command when it has the
// answer to the one before (a closed loop).
package load
