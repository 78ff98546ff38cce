// Package verify holds the tests of Reprise that need more than the standard
// library: state machines that drive the rules with random commands and check
// after each what must always hold. It is a module of its own, so that nobody
// who imports Reprise inherits its dependencies.
//
// A failing run prints how to repeat it. Long runs: go test -run TestDomain
// -rapid.checks=100000.
package verify
