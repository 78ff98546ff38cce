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

// graveyard is where dead letters are stored. It is safe for concurrent use.
type graveyard struct {
	js      jetstream.JetStream
	names   contract.Names
	streams queueStreams
}

// bury stores a command that was rejected with the reason: the same message on
// the subject of dead letters. Within dedupeWindow that is done once, whoever
// does it.
func (g graveyard) bury(ctx context.Context, m *nats.Msg, seq uint64, id string, why contract.Error) error {
	prefix := g.names.Prefix()
	header := withoutServers(m.Header)
	if id != "" {
		header.Set(contract.HeaderCommandID, id)
	}
	header.Set(contract.HeaderCode, string(why.Code))
	header.Set(contract.HeaderReason, sentence(why.Message))
	letter := &nats.Msg{
		Subject: prefix + "." + forDead + strings.TrimPrefix(m.Subject, prefix+"."+forQueue),
		Header:  header, Data: m.Data,
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queueCallTimeout)
	defer cancel()
	if _, err := g.js.PublishMsg(ctx, letter, jetstream.WithMsgID(g.streams.messageID(seq))); err != nil {
		return fmt.Errorf("dead letter on %s: %w", letter.Subject, err)
	}
	return nil
}

// buryQueued is bury for what the cleanup takes out of the queue.
func (g graveyard) buryQueued(ctx context.Context, m *jetstream.RawStreamMsg, why error) error {
	id := m.Header.Get(contract.HeaderCommandID)
	if id == "" {
		id = g.streams.messageID(m.Sequence)
	}
	return g.bury(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}, m.Sequence, id, problem(why, id))
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
