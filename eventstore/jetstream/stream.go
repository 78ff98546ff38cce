package jetstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

// metadataIncarnation is the key of the incarnation in the stream's metadata.
const metadataIncarnation = "reprise-incarnation"

// The oldest server that has atomic batches.
const (
	minServerMajor = 2
	minServerMinor = 12
)

// ErrStream says that the stream or the server does not fit, and how.
var ErrStream = errors.New("the event stream does not fit")

// StreamConfig says how the event stream is made. The zero value of each field
// but Names is a good default.
type StreamConfig struct {
	Names contract.Names
	// Memory keeps the stream in memory instead of on file.
	Memory bool
	// Replicas is the number of replicas: 1 for a new stream if it is 0, which
	// also takes an existing one as it is.
	Replicas int
	// Placement tags of the servers that may hold it.
	PlacementTags []string
}

// EnsureStream makes the event stream if there is none, and otherwise checks
// that its settings fit; it changes nothing on an existing one. It may be
// called by several engines at once. The error is ErrStream if the server is
// too old or a setting does not fit, with a sentence for each.
func EnsureStream(ctx context.Context, api js.JetStream, cfg StreamConfig) error {
	if err := checkServer(api.Conn().ConnectedServerVersion()); err != nil {
		return err
	}
	name := cfg.Names.EventsStream()
	stream, err := api.Stream(ctx, name)
	if errors.Is(err, js.ErrStreamNotFound) {
		if stream, err = api.CreateStream(ctx, cfg.stream()); errors.Is(err, js.ErrStreamNameAlreadyInUse) {
			stream, err = api.Stream(ctx, name)
		}
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, unavailable(err))
	}
	return cfg.check(stream.CachedInfo().Config)
}

// checkServer refuses a server without atomic batches.
func checkServer(version string) error {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) >= 2 {
		major, err := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err == nil && err2 == nil && (major > minServerMajor || major == minServerMajor && minor >= minServerMinor) {
			return nil
		}
	}
	return fmt.Errorf("%w: the NATS server has version %q; atomic batches need %d.%d or newer", ErrStream, version, minServerMajor, minServerMinor)
}

// stream is the stream that is made, with a new incarnation.
func (cfg *StreamConfig) stream() js.StreamConfig {
	prefix := cfg.Names.Prefix()
	s := js.StreamConfig{
		Name:               cfg.Names.EventsStream(),
		Description:        "Reprise: the histories of all sessions, one message a commit, one subject a session",
		Subjects:           []string{prefix + ".evt.*.*"},
		Storage:            js.FileStorage,
		Replicas:           max(cfg.Replicas, 1),
		AllowDirect:        true,
		AllowAtomicPublish: true,
		RePublish:          cfg.republish(),
		Metadata:           map[string]string{metadataIncarnation: rand.Text()},
	}
	if cfg.Memory {
		s.Storage = js.MemoryStorage
	}
	if len(cfg.PlacementTags) > 0 {
		s.Placement = &js.Placement{Tags: cfg.PlacementTags}
	}
	return s
}

func (cfg *StreamConfig) republish() *js.RePublish {
	prefix := cfg.Names.Prefix()
	return &js.RePublish{Source: prefix + ".evt.*.*", Destination: prefix + ".live.{{wildcard(1)}}.{{wildcard(2)}}"}
}

// check compares an existing stream with what the event store needs.
func (cfg *StreamConfig) check(have js.StreamConfig) error {
	want := cfg.stream()
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%w: stream %s "+format, append([]any{ErrStream, have.Name}, args...)...))
		}
	}
	need(slices.Equal(have.Subjects, want.Subjects), "has the subjects %v; it needs %v", have.Subjects, want.Subjects)
	need(have.Storage == want.Storage, "is kept in %s storage; this engine was asked for %s", have.Storage, want.Storage)
	need(cfg.Replicas == 0 || have.Replicas == cfg.Replicas, "has %d replicas; this engine was asked for %d", have.Replicas, cfg.Replicas)
	need(have.Metadata[metadataIncarnation] != "", "has no %s in its metadata, so Reprise did not make it; remove it or use another prefix", metadataIncarnation)
	need(have.AllowDirect, "does not allow direct gets; set allow_direct")
	need(have.AllowAtomicPublish, "does not allow atomic batches; set allow_atomic")
	need(have.RePublish != nil && *have.RePublish == *want.RePublish, "does not republish %s to %s", want.RePublish.Source, want.RePublish.Destination)
	need(have.Retention == js.LimitsPolicy, "has the retention %s; it needs limits", have.Retention)
	need(have.MaxAge == 0, "drops messages after %s; set max_age to 0", have.MaxAge)
	need(have.MaxMsgs <= 0, "keeps only %d messages; set max_msgs to -1", have.MaxMsgs)
	need(have.MaxMsgsPerSubject <= 0, "keeps only %d messages a subject; set max_msgs_per_subject to -1", have.MaxMsgsPerSubject)
	need(have.MaxBytes <= 0 || have.Discard == js.DiscardNew, "drops old messages beyond %d bytes; set max_bytes to -1 or discard to new", have.MaxBytes)
	need(have.PersistMode != js.AsyncPersistMode, "persists asynchronously and would lose acknowledged commits; set persist_mode to default")
	need(!have.NoAck, "does not acknowledge; set no_ack to false")
	need(!have.DenyPurge && !have.Sealed, "can't be compacted; it must be neither sealed nor deny_purge")
	need(!have.AllowRollup, "allows rollups, which remove history; set allow_rollup_hdrs to false")
	need(have.Mirror == nil && len(have.Sources) == 0 && have.SubjectTransform == nil, "is fed or rewritten by another stream; it must have no mirror, sources or transform")
	return errors.Join(errs...)
}
