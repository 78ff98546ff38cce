package natsnode

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The bounds of a recovery: how long trouble with a stream must last before it is
// believed, how long JetStream may take to stop, and how often it is asked.
const (
	doubtPatience = 2 * time.Second
	stopPatience  = 30 * time.Second
	stopPause     = 10 * time.Millisecond
)

// Healthy returns nil when the node can store messages now; otherwise a sentence
// that is ErrStorage, ErrUnreachable, ErrNoJetStream or ErrClosed. For an
// embedded server it costs microseconds and asks nothing over the network, and
// a stream it does not know counts once that was seen for two seconds; for another
// it opens a connection and asks once.
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
	trouble, sure := e.streamTrouble()
	if lasting := e.doubt.lasting(trouble, time.Now()); lasting == "" && !sure {
		return nil
	}
	return problemf(ErrStorage, nil, "%s: the embedded NATS server says: %s", ErrStorage, trouble)
}

// streamTrouble returns what the server says of a stream that it cannot use, ""
// if there is none, and whether that is sure: trouble with a stream that the
// server knows is, a directory without a stream may be one in the making.
func (e *embedded) streamTrouble() (trouble string, sure bool) {
	health := e.srv.Healthz(&server.HealthzOptions{Details: true})
	for _, found := range health.Errors {
		switch {
		case found.Type != server.HealthzErrorStream && found.Type != server.HealthzErrorAccount:
			continue
		case e.knows(found.Account, found.Stream):
			return found.Error, true
		}
		trouble = found.Error
	}
	return trouble, false
}

// knows says whether the server has the stream in use.
func (e *embedded) knows(account, stream string) bool {
	info, err := e.srv.Jsz(&server.JSzOptions{Account: account, Accounts: true, Streams: true})
	if err != nil {
		return false
	}
	for _, a := range info.AccountDetails {
		if slices.ContainsFunc(a.Streams, func(s server.StreamDetail) bool { return s.Name == stream }) {
			return true
		}
	}
	return false
}

// A doubt is trouble with a stream that has been seen but not yet believed. The
// server compares directories with the streams it knows, so a stream that is
// just being made or deleted looks like one that is broken.
type doubt struct {
	mu      sync.Mutex
	trouble string
	since   time.Time
}

// lasting returns trouble if it has been the same for doubtPatience, else "".
func (d *doubt) lasting(trouble string, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if trouble != d.trouble {
		d.trouble, d.since = trouble, now
	}
	if now.Sub(d.since) < doubtPatience {
		return ""
	}
	return trouble
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
