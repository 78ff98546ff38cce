package auth

// Role is what somebody who connects is to the engine.
type Role string

// The roles. An engine has two credentials: RoleService takes requests and can
// publish nothing but answers, RoleEngine reads and writes what is stored.
const (
	RoleUser     Role = "user"
	RoleWorker   Role = "worker"
	RoleAuditor  Role = "auditor"
	RoleOperator Role = "operator"
	RoleEngine   Role = "engine"
	RoleService  Role = "service"
)

// Roles lists all roles, those that people are given first.
func Roles() []Role {
	return []Role{RoleUser, RoleWorker, RoleAuditor, RoleOperator, RoleEngine, RoleService}
}

// Issued lists the roles for which credentials are given out by name.
func Issued() []Role { return []Role{RoleUser, RoleWorker, RoleAuditor, RoleOperator} }

// The names of the accounts. Only accountEngine has JetStream.
const (
	accountEngine   = "engine"
	accountUsers    = "users"
	accountWorkers  = "workers"
	accountAuditors = "auditors"
	accountSystem   = "system"
)

// account returns the name of the account in which a role lives.
func (r Role) account() string {
	switch r {
	case RoleUser:
		return accountUsers
	case RoleWorker:
		return accountWorkers
	case RoleAuditor:
		return accountAuditors
	default:
		return accountEngine
	}
}

// Way is the direction of a right.
type Way int

// The directions: to publish or request, and to subscribe.
const (
	Send Way = iota
	Receive
)

// String returns "send" or "receive".
func (w Way) String() string {
	if w == Receive {
		return "receive"
	}
	return "send"
}

// crossing says how a right leads from the role's account into the engine's.
type crossing int

const (
	// inside: it stays in its account.
	inside crossing = iota
	// single and many: a request with one answer, or with several.
	single
	many
	// feed: messages of the engine's account.
	feed
)

// Right lets a role send to, or receive from, a subject.
type Right struct {
	Role Role
	Way  Way
	// Subject has places to fill in: {prefix} of the engine, {name} of the
	// credential, {action} of a worker; {own} for each stream that the engine makes,
	// {stream} for each that it works with, {any} for these and what operators keep
	// beside them; and {events}, {work}, {dead}, {audit}, {views}, {sessions},
	// {history}, {control}, {settings}, {archive} and {migration} for names of streams
	// and buckets.
	Subject string
	// For says what it is for.
	For   string
	cross crossing
}

// table is the one place that says who may do what. Every subject that is not
// listed for a role is denied to it.
//
// Two rights that cross into the engine's account must not overlap, unless they
// are the same subject once names are wildcards: an export is found by subject.
// What is received ends in ">": a server takes a subscription to ">" where "*" is
// allowed.
var table = []Right{
	{RoleUser, Send, "{prefix}.cmd.{name}.>", "commands for own sessions", single},
	{RoleUser, Send, "{prefix}.queue.{name}.>", "commands without an answer, for own sessions", single},
	{RoleUser, Send, "{prefix}.qry.{name}.*", "queries about own sessions", single},
	{RoleUser, Send, "$JS.API.DIRECT.GET.{views}.$KV.{sessions}.{name}.*", "the views of own sessions", single},
	{RoleUser, Receive, "{prefix}.live.{name}.>", "commits of own sessions as they happen", feed},
	{RoleUser, Receive, "_INBOX.{name}.>", "own answers", inside},

	{RoleWorker, Send, "{prefix}.wrk.{name}.{action}.>", "claims and reports for its actions", single},
	{RoleWorker, Send, "$JS.API.CONSUMER.MSG.NEXT.{work}.{action}", "tasks of its actions", many},
	{RoleWorker, Send, "$JS.ACK.{work}.{action}.>", "acknowledging them", single},
	{RoleWorker, Receive, "_INBOX.{name}.>", "own tasks and answers", inside},

	{RoleAuditor, Send, "{prefix}.qry.*.*", "queries about everybody's sessions", single},
	{RoleAuditor, Send, "$JS.API.DIRECT.GET.{views}.$KV.{sessions}.*.*", "everybody's views", single},
	{RoleAuditor, Send, "$JS.API.DIRECT.GET.{events}", "events and tombstones, in order, and how many there are", many},
	{RoleAuditor, Send, "$JS.API.DIRECT.GET.{events}.>", "the last commit of a session", single},
	{RoleAuditor, Send, "$JS.API.DIRECT.GET.{dead}", "queued commands that were rejected", many},
	{RoleAuditor, Send, "$JS.API.DIRECT.GET.{dead}.>", "the last of a session", single},
	{RoleAuditor, Send, "$JS.API.DIRECT.GET.{audit}", "reports of cleanup, import and repair", many},
	{RoleAuditor, Send, "$JS.API.DIRECT.GET.{audit}.>", "the last report of a kind", single},
	{RoleAuditor, Receive, "{prefix}.live.*.>", "everybody's commits as they happen", feed},
	{RoleAuditor, Receive, "_INBOX.{name}.>", "own answers", inside},

	{RoleOperator, Send, "{prefix}.adm.{name}.>", "operators' commands and requests", inside},
	{RoleOperator, Send, "{prefix}.qry.*.*", "queries about everybody's sessions", inside},
	{RoleOperator, Send, "{prefix}.evt.*.*", "import and migration", inside},
	{RoleOperator, Send, "$KV.{sessions}.>", "import, migration and rebuild", inside},
	{RoleOperator, Send, "$KV.{control}.>", "waiting for and replacing the holder", inside},
	{RoleOperator, Send, "$KV.{settings}.>", "setting what engines obey", inside},
	{RoleOperator, Send, "$KV.{migration}.>", "how far a migration is", inside},
	{RoleOperator, Send, "{prefix}.control.>", "asking engines whether they obey", inside},
	{RoleOperator, Send, "$JS.API.INFO", "the limits of the store", inside},
	{RoleOperator, Send, "$JS.API.STREAM.NAMES", "finding streams", inside},
	{RoleOperator, Send, "$JS.API.STREAM.*.{any}", "the engine's streams: make, look at, purge", inside},
	{RoleOperator, Send, "$JS.API.STREAM.MSG.*.{any}", "their messages", inside},
	{RoleOperator, Send, "$JS.API.CONSUMER.*.{any}", "their consumers", inside},
	{RoleOperator, Send, "$JS.API.CONSUMER.*.{any}.>", "their consumers", inside},
	{RoleOperator, Send, "$JS.API.CONSUMER.MSG.NEXT.{any}.*", "reading them in order", inside},
	{RoleOperator, Send, "$JS.API.DIRECT.GET.{any}", "reading them", inside},
	{RoleOperator, Send, "$JS.API.DIRECT.GET.{any}.>", "reading them", inside},
	{RoleOperator, Send, "$JS.ACK.{any}.>", "reading them in order", inside},
	{RoleOperator, Send, "$JS.FC.{any}.>", "reading them in order", inside},
	{RoleOperator, Send, "$SRV.>", "statistics of the engines", inside},
	{RoleOperator, Receive, "{prefix}.live.*.>", "everybody's commits as they happen", inside},
	{RoleOperator, Receive, "_INBOX.{name}.>", "own answers", inside},

	{RoleEngine, Send, "{prefix}.evt.*.*", "appending commits", inside},
	{RoleEngine, Send, "$KV.{sessions}.>", "views", inside},
	{RoleEngine, Send, "$KV.{history}.>", "history blocks", inside},
	{RoleEngine, Send, "$KV.{control}.>", "who is the holder", inside},
	{RoleEngine, Send, "$KV.{settings}.>", "what operators have set", inside},
	{RoleEngine, Send, "$O.{archive}.>", "archiving what is purged", inside},
	{RoleEngine, Send, "{prefix}.work.>", "offering tasks", inside},
	{RoleEngine, Send, "{prefix}.lease.>", "signs of life", inside},
	{RoleEngine, Send, "{prefix}.dead.>", "dead letters", inside},
	{RoleEngine, Send, "{prefix}.audit.>", "reports", inside},
	{RoleEngine, Send, "$JS.API.INFO", "the limits of the store", inside},
	{RoleEngine, Send, "$JS.API.STREAM.NAMES", "finding streams", inside},
	{RoleEngine, Send, "$JS.API.STREAM.CREATE.{own}", "making its streams", inside},
	{RoleEngine, Send, "$JS.API.STREAM.UPDATE.{own}", "adjusting them", inside},
	{RoleEngine, Send, "$JS.API.STREAM.INFO.{stream}", "checking them", inside},
	{RoleEngine, Send, "$JS.API.STREAM.PURGE.{stream}", "removing what was deleted", inside},
	{RoleEngine, Send, "$JS.API.STREAM.MSG.GET.{stream}", "reading what decides", inside},
	{RoleEngine, Send, "$JS.API.STREAM.MSG.DELETE.{stream}", "withdrawing tasks", inside},
	{RoleEngine, Send, "$JS.API.CONSUMER.CREATE.{stream}", "following its streams", inside},
	{RoleEngine, Send, "$JS.API.CONSUMER.CREATE.{stream}.>", "following its streams", inside},
	{RoleEngine, Send, "$JS.API.CONSUMER.INFO.{stream}.*", "whether a worker waits for tasks", inside},
	{RoleEngine, Send, "$JS.API.CONSUMER.LIST.{stream}", "for which actions workers wait", inside},
	{RoleEngine, Send, "$JS.API.CONSUMER.DELETE.{stream}.*", "an end to following", inside},
	{RoleEngine, Send, "$JS.API.CONSUMER.MSG.NEXT.{stream}.*", "following its streams", inside},
	{RoleEngine, Send, "$JS.API.DIRECT.GET.{stream}", "reading", inside},
	{RoleEngine, Send, "$JS.API.DIRECT.GET.{stream}.>", "reading", inside},
	{RoleEngine, Send, "$JS.ACK.{stream}.>", "following its streams", inside},
	{RoleEngine, Send, "$JS.FC.{stream}.>", "following its streams", inside},
	{RoleEngine, Send, "_INBOX.>", "answers to operators", inside},
	{RoleEngine, Receive, "{prefix}.control.>", "being asked", inside},
	{RoleEngine, Receive, "{prefix}.lease.>", "signs of life", inside},
	{RoleEngine, Receive, "_INBOX.{name}.>", "own answers", inside},

	{RoleService, Send, "_R_.>", "answers to other accounts", inside},
	{RoleService, Send, "_INBOX.>", "answers to operators", inside},
	{RoleService, Receive, "{prefix}.cmd.>", "commands", inside},
	{RoleService, Receive, "{prefix}.qry.>", "queries", inside},
	{RoleService, Receive, "{prefix}.wrk.>", "workers' commands", inside},
	{RoleService, Receive, "{prefix}.adm.>", "operators' commands", inside},
	{RoleService, Receive, "$SRV.>", "being found as a micro service", inside},
}

// Table returns every right there is.
func Table() []Right { return append([]Right(nil), table...) }
