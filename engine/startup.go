package engine

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// startPatience is how long an engine that starts waits for servers that are
	// not ready: a cluster that was started just now has to find its leaders and
	// its peers before it takes a stream with replicas.
	startPatience = 30 * time.Second
	// startPause lies between two tries.
	startPause = 250 * time.Millisecond
	// errCodeNoPeers is what the server says, with the status 400, when it finds no
	// place for a stream among the peers that it knows to be online
	// (JSClusterNoPeersErrF in nats-server's errors).
	errCodeNoPeers = 10005
)

// prepare assembles the parts, and does so again while the servers are not ready.
func (e *Engine) prepare(ctx context.Context, c *conns) (*parts, error) {
	last := time.Now().Add(startPatience) // not of ctx: then one lost request would take all of it
	for told := false; ; told = true {
		p, err := e.assemble(ctx, c)
		if err == nil {
			return p, nil
		}
		if p != nil && p.driver != nil {
			err = errors.Join(err, p.driver.Close())
		}
		if !notReady(err) || ctx.Err() != nil || time.Now().After(last) {
			return nil, err
		}
		if !told {
			e.cfg.Logger.Warn("the servers are not ready; the engine tries again", "for", startPatience, "error", err)
		}
		pause(ctx, startPause)
	}
}

// notReady reports whether an error may be over in a moment, without anybody's
// doing.
func notReady(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code == http.StatusServiceUnavailable || api.ErrorCode == errCodeNoPeers
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, context.DeadlineExceeded)
}
