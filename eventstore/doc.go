// Package eventstore keeps the histories of sessions: one immutable commit per
// accepted command, one subject per session.
//
// Store is the concrete type that everything else uses. It encodes and hashes
// commits, guards every append, verifies what it reads, folds histories into
// aggregates and caches them. Below it is Driver, the small part that differs
// between backends: Memory in this package, and the package jetstream. The
// package storetest holds the one conformance suite for all of them.
package eventstore
