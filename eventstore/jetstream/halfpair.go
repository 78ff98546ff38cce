package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	js "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// pairPrefix begins the ids of batches of which all has to be stored or nothing:
// appends over several sessions. The members of a group stand for themselves.
const pairPrefix = "pair."

func pairID() string { return pairPrefix + nuid.Next() }

// dropHalfPair removes what a power cut left of an append over several sessions.
// The server completes such a batch from where it staged it, unless that was not
// on disk or the power took it too. It is the end of the stream then, and nobody
// was told of it: a batch is seen by nobody before it is whole.
func (d *Driver) dropHalfPair(ctx context.Context, stream js.Stream) error {
	if !d.durable || d.replicas > 1 {
		return nil
	}
	for seq := stream.CachedInfo().State.LastSeq; seq > 0; seq-- {
		m, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, js.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the end of the stream: %w", unavailable(err))
		}
		if !strings.HasPrefix(m.Header.Get(headerBatchID), pairPrefix) || m.Header.Get(headerBatchCommit) != "" {
			return nil
		}
		if err := stream.DeleteMsg(ctx, seq); err != nil {
			return fmt.Errorf("remove half of an append over two sessions: %w", unavailable(err))
		}
	}
	return nil
}
