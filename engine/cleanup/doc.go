// Package cleanup removes sessions whose time has come, and what was left over.
//
// A scan makes a plan: per session its last version, the reason, and what would
// be removed. A purge acts on a plan, item by item, and only where nothing has
// moved since. Killed anywhere, the next run completes it: what is half done is
// found by the scan like everything else.
//
//	policy.go   how long what is kept
//	scan.go     one pass over the event stream, the index and the views
//	survey.go   what that pass notes of each session
//	purge.go    bounded concurrency, progress, stop
//	item.go     one item: judge, archive, tombstone, compaction
//	tally.go    the report
//	traces.go   tasks, leases, queued commands and dead letters
//	repair.go   views and debris, without a policy
package cleanup
