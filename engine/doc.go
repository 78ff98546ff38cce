// Package engine answers commands and queries on NATS and keeps everything that
// is derived from the events up to date.
//
// Any number of engines may serve one event stream. Each answers requests and
// follows the stream once; one of them, the holder of a lease, also writes the
// views, applies queued commands, offers steps to workers and ends what is over
// its time.
//
//	engine.go     Config, New, Run: what is wired to what, start and stop
//	holder.go     the lease that makes one engine the holder
//	service.go    the subjects: one endpoint a verb, one a query
//	requests.go   what a request says: user, session, verb, headers, body
//	shares.go     how much of what waits one sender may have
//	shed.go       the answers to what is too much, made beforehand
//	lanes.go      one session's commands one after another
//	turns.go      whose command is next when one ends
//	commander.go  decide, append, answer once
//	queue.go      fire-and-forget commands and dead letters
//	dispatch*.go  which steps are offered, which timeouts are due
//	worklist.go   the order of offers: priorities, fair turns, limits
//	timers.go     when to look at a session next
//	leases.go     signs of life of attempts in flight
//	workstreams.go, serveworkers.go  the stream of tasks and its consumers
//	queries.go    get, list, count, history, at
//	serving.go    for which actions workers wait
//	doctor.go     what an engine knows of itself, for operators
package engine
