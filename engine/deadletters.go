package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

// forDead is the second token of the subjects of dead letters.
const forDead = "dead"

// bury stores a command that was rejected with the reason: the same message on
// the subject of dead letters.
func (q *queue) bury(ctx context.Context, i *queued, why contract.Error) error {
	prefix := q.Names.Prefix()
	header := withoutServers(i.msg.Headers())
	if i.request.ID != "" {
		header.Set(contract.HeaderCommandID, i.request.ID)
	}
	header.Set(contract.HeaderCode, string(why.Code))
	header.Set(contract.HeaderReason, sentence(why.Message))
	m := &nats.Msg{
		Subject: prefix + "." + forDead + strings.TrimPrefix(i.msg.Subject(), prefix+"."+forQueue),
		Header:  header, Data: i.msg.Data(),
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queueCallTimeout)
	defer cancel()
	if _, err := q.JetStream.PublishMsg(ctx, m, jetstream.WithMsgID(q.messageID(i.seq))); err != nil {
		return fmt.Errorf("dead letter on %s: %w", m.Subject, err)
	}
	return nil
}

// withoutServers copies headers but for those that mean something to the
// server, which must not mean it again.
func withoutServers(header nats.Header) nats.Header {
	kept := make(nats.Header, len(header)+3)
	for name, values := range header {
		if !hasPrefixFold(name, "Nats-") {
			kept[name] = values
		}
	}
	return kept
}
