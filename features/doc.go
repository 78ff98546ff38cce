// Package features holds the promises of Reprise to its users as Gherkin
// features, and the steps that carry them out: against a real engine on a real
// NATS server, with nothing but requests of a plain NATS client.
//
//	*.feature           the promises; one file a capability, one Rule a promise
//	features_test.go    runs all of them on every storage, isolation with credentials too
//	review_test.go      keeps docs/review.md and the style of the features true
//	service_test.go     an embedded server with an engine, and its restarts
//	badges_test.go      credentials of everybody's own, and reaching for what is another's
//	world_test.go       what one scenario knows
//	ask_test.go         requests, answers and queries
//	plan_test.go        plans of sessions, good and bad
//	given_test.go       steps that lead to a state
//	when_*_test.go      steps in which something happens
//	then_*_test.go      steps that look
//	crew_test.go        workers that run on their own, and what they see
//	execution_test.go   the steps about them
package features
