package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
)

// auditAge is how long reports are kept.
const auditAge = 400 * 24 * time.Hour

// The topics of reports.
const (
	topicScan      = "cleanup.scan"
	topicPurge     = "cleanup.purge"
	topicRepair    = "cleanup.repair"
	topicScheduled = "cleanup.scheduled"
)

// auditLog is the stream in which reports are kept.
type auditLog struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	names  contract.Names
}

// openAuditLog makes the stream, or checks the one that is there.
func openAuditLog(ctx context.Context, js jetstream.JetStream, names contract.Names, storage jetstream.StorageType, replicas int) (*auditLog, error) {
	stream, err := ensureStream(ctx, js, jetstream.StreamConfig{
		Name: names.AuditStream(), Subjects: []string{names.Audit(">")},
		Description: "Reprise: what was cleaned up, when and by whom",
		Retention:   jetstream.LimitsPolicy, Storage: storage, Replicas: replicas, MaxAge: auditAge,
		DenyDelete: true, AllowDirect: true, // auditors read by direct gets
	})
	return &auditLog{js: js, stream: stream, names: names}, err
}

// keep stores a report under a topic.
func (l *auditLog) keep(ctx context.Context, topic string, report any) error {
	data, err := domain.Marshal(report)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	if _, err = l.js.Publish(ctx, l.names.Audit(topic), data); err != nil {
		return fmt.Errorf("audit on %s: %w", l.names.Audit(topic), err)
	}
	return nil
}

// last returns the last report of a topic; nil if there is none.
func (l *auditLog) last(ctx context.Context, topic string) (*contract.CleanupReport, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	m, err := l.stream.GetLastMsgForSubject(ctx, l.names.Audit(topic))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil //nolint:nilnil // there has been none yet
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	report := &contract.CleanupReport{}
	return report, json.Unmarshal(m.Data, report)
}
