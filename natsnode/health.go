package natsnode

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The bounds of a recovery: how long JetStream may take to stop, and how often
// it is asked.
const (
	stopPatience = 30 * time.Second
	stopPause    = 10 * time.Millisecond
)

// Healthy returns nil when the node can store messages now; otherwise a sentence
// that is ErrStorage, ErrUnreachable, ErrNoJetStream or ErrClosed. For an
// embedded server it costs microseconds and asks nothing over the network; for
// another it opens a connection and asks once.
func (n *Node) Healthy(ctx context.Context) error {
	switch {
	case n.isClosed():
		return ErrClosed
	case n.remote != nil:
		return n.remote.check(ctx)
	}
	if err := n.embedded.room(); err != nil {
		return err
	}
	if err := n.embedded.writable(); err != nil {
		return err
	}
	return n.embedded.withinLimit()
}

// Trouble returns what Run found wrong when it last looked, nil if nothing. It
// asks nobody, so it may be called for every request.
func (n *Node) Trouble() error {
	if err := n.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// room says whether enough of the disk is free.
func (e *embedded) room() error {
	if e.opts.Memory {
		return nil
	}
	if free, known := freeSpace(e.dir); known && free < e.opts.MinFree {
		return problemf(ErrStorage, nil, "%s: the disk with %s is full (%s free, %s needed); make room there and it goes on by itself",
			ErrStorage, e.dir, bytesText(free), bytesText(e.opts.MinFree))
	}
	return nil
}

// writable says whether the server still writes: nats-server turns JetStream off
// when the file system denies a write, and stops one stream for good when a
// write to it fails, so that its publishers get no answer any more.
func (e *embedded) writable() error {
	if !e.srv.JetStreamEnabled() {
		return problemf(ErrStorage, nil, "%s: the embedded NATS server has turned JetStream off because the file system with %s refused a write", ErrStorage, e.dir)
	}
	health := e.srv.Healthz(&server.HealthzOptions{})
	if health.Error == "" {
		return nil
	}
	return problemf(ErrStorage, nil, "%s: the embedded NATS server says: %s", ErrStorage, health.Error)
}

// withinLimit says whether the server's own limit leaves room: over it every
// publish is refused until something is deleted.
func (e *embedded) withinLimit() error {
	info, err := e.srv.Jsz(nil)
	if err != nil {
		return problemf(ErrStorage, err, "%s: the embedded NATS server does not say how full it is: %s", ErrStorage, err)
	}
	used, limit := info.Store, info.Config.MaxStore
	if e.opts.Memory {
		used, limit = info.Memory, info.Config.MaxMemory
	}
	if limit <= 0 || used < uint64(limit) {
		return nil
	}
	return problemf(ErrStorage, nil, "%s: its limit of %s is reached; delete sessions, or raise the limit", ErrStorage, bytesText(limit))
}

// Run looks after the storage of an embedded server until ctx ends, and returns
// nil then: when a write has failed and the disk takes writes again, it restarts
// JetStream in place. Connections stay open meanwhile. For a server elsewhere it
// only waits.
func (n *Node) Run(ctx context.Context) error {
	if n.embedded == nil {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(n.embedded.opts.HealthInterval)
	defer ticker.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			last = n.lookAfter(ctx, last)
		}
	}
}

// lookAfter checks and heals once; it logs what is new since the last look and
// returns what is wrong, or "".
func (n *Node) lookAfter(ctx context.Context, last string) string {
	err := n.Healthy(ctx)
	n.trouble.Store(&err)
	if err == nil {
		if last != "" {
			n.log.InfoContext(ctx, "the storage can be written again")
		}
		return ""
	}
	if errors.Is(err, ErrClosed) {
		return last
	}
	if err.Error() != last {
		n.log.ErrorContext(ctx, err.Error())
	}
	if n.embedded.writable() != nil {
		if err := n.Recover(ctx); err != nil {
			n.log.DebugContext(ctx, "the storage is not back yet", "reason", err)
		}
	}
	return err.Error()
}

// Recover restarts the JetStream of an embedded server in place if its disk
// takes writes again. It does nothing if nothing is wrong, and for a server
// elsewhere. What was acknowledged before is there afterwards; a publish that got
// no answer may or may not be. Streams in memory storage are gone, as after a
// restart of a server, so whoever uses them makes them anew; see Recovered. An
// error is ErrDirectory, ErrStorage or ErrClosed.
func (n *Node) Recover(ctx context.Context) error {
	if n.embedded == nil {
		return nil
	}
	e := n.embedded
	e.recovering.Lock()
	defer e.recovering.Unlock()
	if n.isClosed() {
		return ErrClosed
	}
	if e.writable() == nil {
		return nil
	}
	if err := checkRoom(e.dir, e.opts.MinFree); err != nil {
		return err
	}
	if err := e.restartJetStream(ctx); err != nil {
		return err
	}
	select {
	case n.recovered <- struct{}{}:
	default:
	}
	return nil
}

func (e *embedded) restartJetStream(ctx context.Context) error {
	if err := e.srv.ShutdownJetStream(); err != nil {
		return problemf(ErrStorage, err, "%s: JetStream does not stop: %s", ErrStorage, err)
	}
	if err := e.waitStopped(ctx); err != nil {
		return err
	}
	config := e.config
	if err := e.srv.EnableJetStream(&config); err != nil {
		return problemf(ErrStorage, err, "%s: JetStream does not start again: %s", ErrStorage, err)
	}
	return e.writable()
}

// waitStopped waits until the server has let go of JetStream: it may have begun
// to turn it off by itself, in the background.
func (e *embedded) waitStopped(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	for e.srv.JetStreamConfig() != nil {
		select {
		case <-ctx.Done():
			return problemf(ErrStorage, ctx.Err(), "%s: JetStream is still stopping", ErrStorage)
		case <-time.After(stopPause):
		}
	}
	return nil
}
