// Package load is the client of a comparison: it keeps a number of sessions in
// flight and takes the time of each. It is a module of its own that needs the
// standard library alone, so that the program of every peer can be built with it,
// and no version of anything follows from that.
//
// A load program serves the harness on its standard input and output, one JSON
// object a line. It says ready once; then for every Phase it gets it says begin
// when the warm-up is over, end with the latencies of the sessions that
// completed between the two, and idle once nothing is in flight any more. All
// that the harness reads of the processes between begin and end belongs to the
// work of that time.
//
//	doc.go      the protocol in words
//	protocol.go Phase, Report and Serve
//	phase.go    the closed loop
//	program.go  Main, for programs of several roles
package load
