// Package domain is the model of Reprise and every rule about it: sessions,
// chains and steps, the commands that may change them and the events that
// record the changes.
//
// The package is pure. It imports the standard library only, it reads no clock
// and draws no random number: what a rule needs to know of the world arrives
// as data in Env. Two functions carry everything:
//
//	Decide(state, command, env) -> events and the state after them, or a *Rejection
//	Evolve(state, event)        -> the state after the event; it never fails
//
// A *Session is immutable once it has been returned: Decide and Evolve copy
// what they change and share the rest. Any number of goroutines may read one.
package domain
