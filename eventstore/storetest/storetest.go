// Package storetest is the one conformance suite for event stores: Run asks of
// a backend everything that package eventstore promises. Where backends differ
// they say so in their Features, and the suite asks for what they declare.
package storetest

import (
	"context"
	"testing"
	"time"

	"reprise/eventstore"
)

// timeout bounds every case. The longest takes half a minute on a slow machine.
const timeout = 5 * time.Minute

// Backend is an empty event store under test.
type Backend struct {
	Driver eventstore.Driver
	// Foreign writes a message without a guard to the subject of a session, as
	// somebody who is no engine would.
	Foreign func(ctx context.Context, key eventstore.Key, body []byte) error
	// Restart ends the backend as a killed process would, starts it again on
	// the same data and returns a new driver. Durable backends must have it.
	Restart func(t *testing.T) eventstore.Driver
}

// Run runs the suite. Each case gets a backend of its own from open, which
// registers its own cleanup.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"driver", driverCases},
		{"append", appendCases},
		{"follow", followCases},
		{"damage", damageCases},
		{"snapshot", snapshotCases},
		{"history", historyCases},
		{"blocks", blockCases},
		{"end", endCases},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(context.Background(), timeout)
					defer cancel()
					c.run(&world{T: t, ctx: ctx, Backend: open(t)})
				})
			}
		})
	}
}

// testCase is one promise.
type testCase struct {
	name string
	run  func(w *world)
}
