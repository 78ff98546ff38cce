// Package projections turns the event stream into what is read: the session
// views in a KV bucket and the in-memory index of lists and counts.
//
// One Runner follows the stream once per process. It folds every commit into
// the state of its session and hands both to the projections in one pass:
//
//	Runner -> Index   every instance: lists, counts, deadlines
//	       -> Views   the holder of the engine's lease alone: the KV bucket
//
// Everything here is derived. Deleting all of it and starting again gives the
// same answer; where a view and the events differ, the events win.
package projections
