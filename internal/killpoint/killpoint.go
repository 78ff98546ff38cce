// Package killpoint names the places at which a crash would be worst. A binary
// that is built with the tag "killpoints" ends itself with SIGKILL at the place
// that its environment names, so that tests from outside can have it die there;
// see verify/e2e. In every other binary Pass does nothing, and nothing of the
// environment is read.
package killpoint

// The variables that a binary with the tag reads.
const (
	// EnvPoint names the place.
	EnvPoint = "REPRISE_KILL_AT"
	// EnvTurn says which passing of the place ends the process; 1 if empty.
	EnvTurn = "REPRISE_KILL_TURN"
)

// The places, in the order in which a purge comes by them. Those of a session
// that is ended by delete are the same, from SessionEnding on.
const (
	CleanupJudge     = "cleanup.judge"   // before a session is looked at again
	CleanupArchive   = "cleanup.archive" // before it is archived
	ArchiveWritten   = "archive.written" // the copy is written, and not read back
	ArchiveChecked   = "archive.checked" // it is read back, and has no name yet
	ArchiveKept      = "archive.kept"    // it is there to stay
	CleanupOrder     = "cleanup.order"   // before the tombstone is ordered
	SessionEnding    = "session.ending"  // before the tombstone is appended
	SessionEnded     = "session.ended"   // it is stored, and so is the history
	CleanupCompact   = "cleanup.compact" // before what the order left is compacted
	SessionCompacted = "session.compacted"
	CleanupDone      = "cleanup.done"
	DebrisEnded      = "debris.ended" // as SessionEnded, of messages that are no session's
	ViewRemoving     = "view.removing"
	ViewRemoved      = "view.removed"
	TaskWithdrawing  = "task.withdrawing"
	TaskWithdrawn    = "task.withdrawn"
	ResultsKeeping   = "results.keeping" // before the audit has what became of the items
	ResultsKept      = "results.kept"
	ReportKeeping    = "report.keeping" // before the audit has the report
	ReportKept       = "report.kept"
)

// CommitRestored is where an import or a migration has stored one more commit.
const CommitRestored = "commit.restored"
