// Package e2e drives the real binary from outside, with nothing but a plain
// NATS client: core requests, KV reads, and the event stream as anybody may
// read it.
//
//	main_test.go      builds the binary once
//	process_test.go   one process of it: start, drain, kill
//	peer_test.go      a plain client
//	history_test.go   has the event stream verified and folded (internal/chronicle)
//	plain_test.go     what every client may rely on
//	input_test.go     bad input
//	isolation_test.go users and their secrets
//	queue_test.go     fire-and-forget
//	load_test.go      clients that create and command as fast as they can
//	cluster_test.go   cleanup on three replicas
//	fleet_test.go     the servers of a cluster, each in a process of its own
//	town_test.go      users, workers and engines on a cluster, and what must hold
//	lostserver_test.go servers that are lost under that load
//	doctor_test.go    reprise doctor, with credentials and on a cluster
//	stop_test.go      SIGTERM and SIGKILL under load
//	killpoints_test.go SIGKILL at every point of a purge and a delete
//	two_test.go       two instances on one server
//	cli_test.go       the command line, with and without a server
package e2e
