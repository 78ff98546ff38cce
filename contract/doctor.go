package contract

import (
	"time"

	"reprise/domain"
)

// AdminDoctor is the operators' request that every engine answers with an
// EngineReport.
const AdminDoctor = "doctor"

// EngineReport is what one engine knows of itself, its server and its streams.
// It judges nothing.
type EngineReport struct {
	Engine  string `json:"engine"`
	Version string `json:"version"`
	// Holder is the id of the engine that writes what is derived; empty if none
	// does.
	Holder string `json:"holder,omitempty"`
	// Skew is the engine's clock minus the server's, to half of the server's RTT.
	Skew time.Duration `json:"skewNanoseconds"`
	// Trouble is why nothing can be stored at the moment.
	Trouble   string          `json:"trouble,omitempty"`
	Server    ServerReport    `json:"server"`
	JetStream JetStreamReport `json:"jetStream"`
	Events    EventsReport    `json:"events"`
	Lists     ListsReport     `json:"lists"`
	Cache     CacheReport     `json:"cache"`
	// Actions are those with a step that is ready or in flight, over all users, at
	// most MaxActionReports of them, those that no worker serves first.
	Actions []ActionReport `json:"actions"`
	// MoreActions is how many were left out.
	MoreActions int `json:"moreActions,omitempty"`
	// ServingKnown says that the server told for which actions workers wait.
	ServingKnown bool `json:"servingKnown"`
	// Queued commands have not been applied yet; DeadLetters were rejected.
	Queued      uint64          `json:"queued"`
	DeadLetters uint64          `json:"deadLetters"`
	ReadOnly    *ReadOnlyReport `json:"readOnly,omitempty"`
}

// MaxActionReports is how many actions one report names.
const MaxActionReports = 200

// ServerReport is the NATS server that an engine is connected to.
type ServerReport struct {
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Cluster string        `json:"cluster,omitempty"`
	RTT     time.Duration `json:"rttNanoseconds"`
	// Disk is known where the server is in the engine's process; nil elsewhere.
	Disk *Disk `json:"disk,omitempty"`
}

// Disk is when an embedded server syncs what it writes.
type Disk struct {
	// Always says that it syncs before it acknowledges.
	Always bool `json:"always,omitempty"`
	// Interval is the pause between two syncs, where it doesn't.
	Interval domain.Duration `json:"interval,omitempty"`
}

// JetStreamReport is what the engine's account uses, in bytes, and may use; a
// limit of 0 or less is none.
type JetStreamReport struct {
	Memory    uint64 `json:"memory"`
	Store     uint64 `json:"store"`
	MaxMemory int64  `json:"maxMemory"`
	MaxStore  int64  `json:"maxStore"`
	Streams   int    `json:"streams"`
	Consumers int    `json:"consumers"`
	// MaxStreams and MaxConsumers are limits as above.
	MaxStreams   int `json:"maxStreams"`
	MaxConsumers int `json:"maxConsumers"`
}

// EventsReport is the event stream.
type EventsReport struct {
	Stream   string `json:"stream"`
	Memory   bool   `json:"memory,omitempty"`
	Replicas int    `json:"replicas"`
	// Async says that the server acknowledges before it has written.
	Async    bool   `json:"async,omitempty"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	LastSeq  uint64 `json:"lastSeq"`
	Subjects uint64 `json:"subjects"`
	// Deleted is the number of interior deletes.
	Deleted uint64 `json:"deleted"`
	Leader  string `json:"leader,omitempty"`
	// Behind are replicas that are offline or not current.
	Behind []string `json:"behind,omitempty"`
}

// ListsReport is how far this engine's lists are, and the views if it is the
// holder.
type ListsReport struct {
	Ready    bool `json:"ready"`
	Sessions int  `json:"sessions"`
	// Behind is the number of stream sequences that lists have not seen yet, and
	// ViewsBehind those that the stored views don't cover.
	Behind      uint64 `json:"behind"`
	ViewsBehind uint64 `json:"viewsBehind,omitempty"`
}

// CacheReport is how this engine's cache of sessions does. Hits and misses count
// from its start.
type CacheReport struct {
	Hits     uint64 `json:"hits"`
	Misses   uint64 `json:"misses"`
	Sessions int    `json:"sessions"`
	Bytes    int64  `json:"bytes"`
	MaxBytes int64  `json:"maxBytes"`
}

// ActionReport is what there is of one action, over all users.
type ActionReport struct {
	Action string `json:"action"`
	// Ready steps wait for a worker, or for the end of their backoff.
	Ready int `json:"ready"`
	// InFlight is the number of sessions with such a step in flight.
	InFlight int  `json:"inFlight"`
	Served   bool `json:"served"`
}

// ReadOnlyReport is the read-only mark.
type ReadOnlyReport struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}
