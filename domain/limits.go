package domain

import "time"

// The bounds of the model. A view of a session has to fit one message of the
// NATS server (1 MB by default), so what a view repeats is bounded: the plan
// by MaxPlanBytes, payloads kept in it by MaxInlineTotal, the rest by MaxSteps.
const (
	// MaxIDLength is the length of a session, chain, step or worker id and of
	// an action name, in bytes.
	MaxIDLength = 64
	// MaxUserLength is the length of a user id in bytes.
	MaxUserLength = 128
	// MaxCommandIDLength is the length of a command id in bytes.
	MaxCommandIDLength = 128
	// MaxChains is the number of chains in one session.
	MaxChains = 256
	// MaxSteps is the number of steps in one session, over all its chains.
	MaxSteps = 1000
	// MaxPlanBytes bounds the plan of a session: ids, titles, actions, waits
	// and policies of all chains and steps as JSON, without inputs.
	MaxPlanBytes = 256 << 10
	// MaxTitleLength is the length of a title in bytes.
	MaxTitleLength = 256
	// MaxPayloadBytes bounds one input or output as JSON.
	MaxPayloadBytes = 256 << 10
	// MaxInlinePayload is the size in bytes up to which an input, an output or
	// a stack is kept in the state itself; a larger one stays in its commit
	// and the state refers to it.
	MaxInlinePayload = 4 << 10
	// MaxInlineTotal bounds all payloads kept in the state of one session.
	MaxInlineTotal = 128 << 10
	// MaxCarriedBytes bounds the payloads that a fork or a move copies: they
	// and the plan have to fit one message.
	MaxCarriedBytes = 640 << 10
	// MaxMetadataEntries is the number of metadata keys of a session.
	MaxMetadataEntries = 64
	// MaxMetadataKey is the length of a metadata key in bytes.
	MaxMetadataKey = 64
	// MaxMetadataValue is the length of a metadata value in bytes.
	MaxMetadataValue = 512
	// MaxMetadataBytes bounds all metadata of a session, keys and values.
	MaxMetadataBytes = 16 << 10
	// MaxReasonLength bounds the reason a person gives for a command, in bytes.
	MaxReasonLength = 1024
	// MaxErrorMessage bounds the message of an error in bytes.
	MaxErrorMessage = 4 << 10
	// shortMessage is what a state keeps of the message of an error, in bytes,
	// once all that it keeps would go over MaxInlineTotal.
	shortMessage = 256
	// MaxErrorStack bounds the stack of an error in bytes.
	MaxErrorStack = 64 << 10
	// MaxCommandBytes bounds the body of a command.
	MaxCommandBytes = 768 << 10
	// MaxBatch is the number of commands in one batch.
	MaxBatch = 256
	// MaxAttempts bounds the tries a retry policy may ask for.
	MaxAttempts = 1000
	// MaxDuration bounds every timeout, backoff and lease.
	MaxDuration = 3650 * 24 * time.Hour
	// MaxPriority bounds the priority of a session on both sides of zero.
	MaxPriority = 100
)

// The window in which a repeated command id gets the first answer again.
const (
	// RecentWindow is how long a command id is remembered at least.
	RecentWindow = 2 * time.Minute
	// RecentMax is the number of command ids remembered at most.
	RecentMax = 1024
	// RecentMin is the number of command ids remembered whatever their age;
	// a view keeps that many.
	RecentMin = 32
)

// The defaults of a retry policy.
const (
	DefaultBackoff    = Duration(time.Second)
	DefaultMaxBackoff = Duration(time.Minute)
	DefaultFactor     = 2.0
)
