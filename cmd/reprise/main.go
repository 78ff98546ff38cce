// Command reprise serves event-sourced sessions on NATS, embedded or not, and
// is their command line.
package main

import "os"

func main() {
	if tuneMemory(os.Getenv) {
		go keepTuned()
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
