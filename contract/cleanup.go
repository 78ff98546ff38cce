package contract

import (
	"strings"
	"time"

	"reprise/domain"
)

// The names of the operators' requests about cleanup, for Names.Admin.
const (
	AdminScan   = "cleanup.scan"
	AdminPurge  = "cleanup.purge"
	AdminStatus = "cleanup.status"
	AdminStop   = "cleanup.stop"
	AdminRepair = "repair"
)

// AuditStream returns the name of the stream of reports.
func (n Names) AuditStream() string { return strings.ToUpper(n.prefix) + "_AUDIT" }

// Audit returns the subject of a report: <prefix>.audit.<topic>.
func (n Names) Audit(topic string) string { return n.prefix + ".audit." + topic }

// ArchiveBucket returns the name of the object store for histories that are
// archived before they are purged. With authentication on, engines may use no
// other one.
func (n Names) ArchiveBucket() string { return n.prefix + "_archive" }

// MaxPlanItems is how many items of a plan one request may carry; a longer plan
// is given in several requests.
const MaxPlanItems = 2000

// CleanupPolicy says what cleanup may remove. Where a field is left out of its
// JSON the default holds; see engine/cleanup.
type CleanupPolicy struct {
	// Name is written into every tombstone.
	Name string `json:"name"`
	// Retention is how long a session in a state is kept after its last commit.
	// For PAUSED and RUNNING that is how long nothing may have happened before
	// it counts as idle.
	Retention map[domain.State]domain.Duration `json:"retention"`
	// Keep are states in which sessions never are stale.
	Keep []domain.State `json:"keep,omitempty"`
	// PurgeIdle also purges what is idle; a RUNNING session is cancelled first.
	PurgeIdle bool `json:"purgeIdle"`
	// Tombstones is how long the tombstone of a session is kept.
	Tombstones domain.Duration `json:"tombstones"`
	// Debris is how old dead letters, and messages without a session, have to
	// be before they count as orphaned.
	Debris domain.Duration `json:"debris"`
}

// CleanupFilter narrows a scan. Conditions of different kinds are joined by and,
// values of one kind by or. States and metadata leave orphans out, which have none.
type CleanupFilter struct {
	Users    []string          `json:"users,omitempty"`
	Sessions []string          `json:"sessions,omitempty"`
	States   []domain.State    `json:"states,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// OlderThan replaces the retention of every state, for this run.
	OlderThan *domain.Duration `json:"olderThan,omitempty"`
}

// CleanupRequest asks for a scan or a purge.
type CleanupRequest struct {
	// Policy is the one to use; nil means the engine's.
	Policy *CleanupPolicy `json:"policy,omitempty"`
	Filter CleanupFilter  `json:"filter"`
	// Limit bounds the items of the plan; 0 means no bound.
	Limit int `json:"limit,omitempty"`
	// DryRun of a purge reports what it would do and changes nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Plan is that of an earlier scan, with at most MaxPlanItems items; without
	// one a purge scans first.
	Plan *CleanupPlan `json:"plan,omitempty"`
	// Archive says where histories are archived before they are purged; empty
	// for nowhere.
	Archive string `json:"archive,omitempty"`
	// Concurrency is how many sessions are purged at once; 0 means the default.
	Concurrency int `json:"concurrency,omitempty"`
}

// RepairRequest asks for a look at everything that is derived.
type RepairRequest struct {
	// Apply repairs what was found; without it nothing is changed.
	Apply bool `json:"apply,omitempty"`
	// Rebuild writes all views anew, whether they look right or not.
	Rebuild bool `json:"rebuild,omitempty"`
}

// CleanupReason says why something is in a plan.
type CleanupReason string

// The reasons. The first ones are of stale sessions, by their state.
const (
	ReasonCompleted CleanupReason = "completed"
	ReasonFailed    CleanupReason = "failed"
	ReasonCancelled CleanupReason = "cancelled"
	// ReasonNeverStarted: PENDING, and nobody started it.
	ReasonNeverStarted CleanupReason = "never-started"
	// ReasonIdle: PAUSED, or RUNNING with nothing in flight.
	ReasonIdle CleanupReason = "idle"
	// ReasonTombstone: the tombstone itself is old enough to go.
	ReasonTombstone CleanupReason = "tombstone"

	// ReasonUnfinished: there is a tombstone, and history before it.
	ReasonUnfinished CleanupReason = "unfinished-purge"
	// ReasonHeadless: events without the one that created the session.
	ReasonHeadless CleanupReason = "no-creation"
	// ReasonDeadView: a view of a session that has no events, or is gone.
	ReasonDeadView CleanupReason = "view-without-events"
	// ReasonMissingView and ReasonWrongView: for repair alone.
	ReasonMissingView CleanupReason = "missing-view"
	ReasonWrongView   CleanupReason = "wrong-view"
	// ReasonTask: an offered step of a session that is gone.
	ReasonTask CleanupReason = "task"
	// ReasonLease: a sign of life for a session that is gone.
	ReasonLease CleanupReason = "lease"
	// ReasonBlock: a block of the history of a session that is gone.
	ReasonBlock CleanupReason = "history-block"
	// ReasonQueued: a queued command for a session that is gone; what is purged of
	// it is kept as a dead letter.
	ReasonQueued CleanupReason = "queued-command"
	// ReasonDeadLetter: a rejected command for a session that is gone.
	ReasonDeadLetter CleanupReason = "dead-letter"
)

// Orphan reports whether the reason is of something that lost what it belonged
// to, and not of a session whose time has come.
func (r CleanupReason) Orphan() bool {
	switch r {
	case ReasonCompleted, ReasonFailed, ReasonCancelled, ReasonNeverStarted, ReasonIdle, ReasonTombstone:
		return false
	case ReasonUnfinished, ReasonHeadless, ReasonDeadView, ReasonMissingView, ReasonWrongView, ReasonTask, ReasonLease, ReasonBlock, ReasonQueued, ReasonDeadLetter:
	}
	return true
}

// CleanupItem is one thing that a scan found.
type CleanupItem struct {
	User    string        `json:"user"`
	Session string        `json:"session"`
	Reason  CleanupReason `json:"reason"`
	State   domain.State  `json:"state,omitempty"`
	// Version and Seq are those of the last commit that the scan saw; the purge
	// acts only where they still are.
	Version uint64 `json:"version,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	// FirstSeq is the first sequence of what would be removed.
	FirstSeq uint64 `json:"firstSeq,omitempty"`
	// LastActivity is the time of the last commit.
	LastActivity time.Time `json:"lastActivity,omitzero"`
	// Commits and Bytes are what would be removed from the event stream, as the
	// server counts them.
	Commits uint64 `json:"commits,omitempty"`
	Bytes   uint64 `json:"bytes,omitempty"`
	// Held says that the session was on hold.
	Held bool `json:"held,omitempty"`
	// Subject is where a task, lease, queued command or dead letter is.
	Subject string `json:"subject,omitempty"`
}

// CleanupPlan is what a scan found: to be kept, read, and given to a purge.
type CleanupPlan struct {
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	// Position is the end of the event stream that the scan saw.
	Position Position      `json:"position"`
	Policy   CleanupPolicy `json:"policy"`
	Filter   CleanupFilter `json:"filter"`
	// Scanned is the number of sessions that were looked at.
	Scanned int `json:"scanned"`
	// Truncated says that the limit left items out.
	Truncated bool          `json:"truncated,omitempty"`
	Items     []CleanupItem `json:"items"`
}

// CleanupOutcome says what became of an item.
type CleanupOutcome string

// The outcomes.
const (
	// OutcomePurged: it was removed, or would be, in a dry run.
	OutcomePurged CleanupOutcome = "purged"
	// OutcomeRepaired: it is as it should be again.
	OutcomeRepaired CleanupOutcome = "repaired"
	// OutcomeChanged: it is not any more what the scan saw.
	OutcomeChanged CleanupOutcome = "changed"
	// OutcomeHeld: the session is on hold.
	OutcomeHeld CleanupOutcome = "held"
	// OutcomeGone: somebody was first.
	OutcomeGone CleanupOutcome = "gone"
	// OutcomeProtected: the policy does not let it go.
	OutcomeProtected CleanupOutcome = "protected"
	// OutcomeError: it could not be done; the next run tries again.
	OutcomeError CleanupOutcome = "error"
)

// CleanupResult is what became of one item.
type CleanupResult struct {
	CleanupItem
	Outcome CleanupOutcome `json:"outcome"`
	// Why explains every outcome but purged.
	Why string `json:"why,omitempty"`
	// LastSeq is the last sequence that was removed, Tombstone that of the
	// tombstone.
	LastSeq   uint64 `json:"lastSeq,omitempty"`
	Tombstone uint64 `json:"tombstone,omitempty"`
	Archive   string `json:"archive,omitempty"`
}

// CleanupReport sums up a scan, a purge or a repair.
type CleanupReport struct {
	ID   string `json:"id"`
	Plan string `json:"plan,omitempty"`
	// Kind is "scan", "purge" or "repair"; By is the operator.
	Kind   string    `json:"kind"`
	By     string    `json:"by"`
	Policy string    `json:"policy"`
	Time   time.Time `json:"time"`
	// Duration is how long it took.
	Duration domain.Duration `json:"duration"`
	DryRun   bool            `json:"dryRun"`
	// Stopped says that it ended before everything was done.
	Stopped bool `json:"stopped,omitempty"`
	// Scanned is the number of sessions that were looked at; Stale and Orphaned
	// how many items were found.
	Scanned  int `json:"scanned"`
	Stale    int `json:"stale"`
	Orphaned int `json:"orphaned"`
	// Reasons counts the items by why they were found.
	Reasons map[CleanupReason]int `json:"reasons"`
	// Purged, Repaired and Failed count outcomes; Skipped those that are none of
	// them. In a dry run Purged and Repaired count what would be.
	Purged   int                    `json:"purged"`
	Repaired int                    `json:"repaired,omitempty"`
	Skipped  map[CleanupOutcome]int `json:"skipped"`
	Failed   int                    `json:"failed"`
	// Commits and Bytes are what was removed from the event stream, as the
	// server counts them, without the tombstones that took their place.
	Commits uint64 `json:"commits"`
	Bytes   uint64 `json:"bytes"`
	// Problems are the first items that failed.
	Problems []CleanupResult `json:"problems,omitempty"`
	// Warning is what went wrong beside the items.
	Warning string `json:"warning,omitempty"`
}

// CleanupMessage is one message of the answer to a scan, purge or repair. The
// last one has the report; some come every second before.
type CleanupMessage struct {
	Progress *CleanupProgress `json:"progress,omitempty"`
	// Plan is the plan of a scan, without items; those follow in Items.
	Plan    *CleanupPlan    `json:"plan,omitempty"`
	Items   []CleanupItem   `json:"items,omitempty"`
	Results []CleanupResult `json:"results,omitempty"`
	Report  *CleanupReport  `json:"report,omitempty"`
}

// CleanupProgress says how far a run is.
type CleanupProgress struct {
	Run string `json:"run"`
	// Phase is "scan" or "purge"; Done of Total are what it has looked at,
	// where Total is 0 as long as it is unknown.
	Phase string `json:"phase"`
	Done  uint64 `json:"done"`
	Total uint64 `json:"total"`
}

// StopRequest asks for the end of a run: of the one that is named, or of any.
type StopRequest struct {
	Run string `json:"run,omitempty"`
}

// CleanupStatus is the answer to AdminStatus.
type CleanupStatus struct {
	Policy CleanupPolicy `json:"policy"`
	// Every is the time between two scheduled runs; 0 if there are none.
	Every domain.Duration `json:"every,omitempty"`
	// Running is set while a run goes on.
	Running *CleanupProgress `json:"running,omitempty"`
	// Scan and Purge are the last reports of their kind.
	Scan   *CleanupReport `json:"scan,omitempty"`
	Purge  *CleanupReport `json:"purge,omitempty"`
	Repair *CleanupReport `json:"repair,omitempty"`
}
