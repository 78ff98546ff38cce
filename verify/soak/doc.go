// Package soak runs engines, workers and users against each other for minutes,
// kills engines and workers without notice meanwhile, and then checks every
// session against its events: `make soak` in the root.
//
//	main_test.go      what this binary is: the test, or one worker of it
//	soak_test.go      the run from start to verdict
//	process_test.go   engines: the real binary on one NATS server
//	worker_test.go    workers: processes that keep a log of their own
//	labour_test.go    what the logs say: when which attempt ran
//	plan_test.go      random sessions
//	user_test.go      random commands
//	killer_test.go    who dies when
//	freeze_*_test.go  how a worker is stalled
//	quiet_test.go     nothing is left to do
//	ledger_test.go    the event stream, verified and folded (internal/chronicle), and
//	                  what became of attempts
//	verdict_test.go   all other checks
//	judge_test.go     the judge of runs is not asleep
//
// The seed decides plans, commands and who is killed when; REPRISE_SOAK_SEED
// takes it. The machine decides how they meet, so a seed repeats the load and
// not the run.
package soak
