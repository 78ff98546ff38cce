package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/natsnode"
)

// The bounds of waiting for another command that works on the same data
// directory for a moment.
const (
	lockPatience = 15 * time.Second
	lockPause    = 50 * time.Millisecond
)

// firstBackoff is short: a person waits.
const firstBackoff = 30 * time.Millisecond

// link is a way to an engine for the time of one command.
type link struct {
	nc *nats.Conn
	// where names the other side in errors.
	where string
	close func()
	// denied is set once the server has denied something to these credentials.
	denied atomic.Pointer[string]
}

// open connects, and gives up once the server denies something.
func (l *link) open(dial func(...nats.Option) (*nats.Conn, error), me ...nats.Option) (err error) {
	l.nc, err = dial(append(me, nats.MaxReconnects(-1), nats.ErrorHandler(l.note))...)
	return err
}

// note takes what the server reports. A request that it denied gets no answer.
func (l *link) note(nc *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	text := "these credentials do not allow it: " + err.Error()
	l.denied.CompareAndSwap(nil, &text)
	nc.Close()
}

// withClient connects, runs f and disconnects. operator is needed for operators'
// commands alone.
func (a *app) withClient(ctx context.Context, operator string, f func(*client.Client) error) error {
	names, err := contract.NewNames(a.flags.prefix)
	if err != nil {
		return &usageError{"--prefix: " + err.Error()}
	}
	a.operator = operator
	l, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	c, err := client.New(l.nc, client.Config{
		Names: names, User: a.owner(), Operator: operator, Timeout: time.Duration(a.flags.wait), Backoff: firstBackoff,
	})
	if err != nil {
		return &usageError{err.Error()}
	}
	return l.explain(f(c))
}

// explain says what to do where no engine answers, and what the server denies.
func (l *link) explain(err error) error {
	if denied := l.denied.Load(); err != nil && denied != nil {
		return &client.Error{Code: domain.CodeNotAllowed, Message: *denied}
	}
	e, ok := errors.AsType[*client.Error](err)
	if ok && errors.Is(err, client.ErrNoEngine) {
		e.Message += " at " + l.where + "; start one with `reprise serve --nats " + l.where + "`"
	}
	return err
}

// connect finds the engine: on the server that was named, else the one that
// serves the data directory, else one in this process.
func (a *app) connect(ctx context.Context) (*link, error) {
	return a.connectOr(ctx, a.connectEmbedded)
}

// connectOr is connect with another way to run an engine in this process.
func (a *app) connectOr(ctx context.Context, embed func(ctx context.Context, dir string) (*link, error)) (*link, error) {
	if a.remote() {
		return a.connectRemote()
	}
	dir := a.dataDir()
	deadline := time.Now().Add(lockPatience)
	for {
		l, err := a.connectLocal(ctx, dir, embed)
		busy := errors.Is(err, natsnode.ErrInUse)
		if !busy || time.Now().After(deadline) {
			return l, err
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// remote reports whether a server was named.
func (a *app) remote() bool {
	if a.flags.nats != "" || a.flags.context != "" {
		return true
	}
	return a.flags.data == "" && (a.getenv("NATS_URL") != "" || a.getenv("NATS_CONTEXT") != "")
}

func (a *app) connectRemote() (*link, error) {
	l := &link{}
	err := l.open(func(options ...nats.Option) (*nats.Conn, error) {
		return natsnode.Dial(natsnode.Remote{URL: a.flags.nats, Context: a.flags.context, Getenv: a.getenv}, "reprise", options...)
	})
	if err != nil {
		return nil, err
	}
	l.where, l.close = l.nc.ConnectedUrlRedacted(), l.nc.Close
	return l, nil
}

// connectLocal goes to whoever has the data directory, or takes it.
func (a *app) connectLocal(ctx context.Context, dir string, embed func(ctx context.Context, dir string) (*link, error)) (*link, error) {
	info, running, err := natsnode.ReadLock(dir)
	switch {
	case err != nil:
		return nil, err
	case running && info.URL == "":
		return nil, &natsnode.InUseError{Dir: dir, Holder: info}
	case running:
		return a.connectServing(dir, info)
	}
	return embed(ctx, dir)
}

func (a *app) connectServing(dir string, info natsnode.Info) (*link, error) {
	me, err := a.me(dir)
	if err != nil {
		return nil, err
	}
	remote := natsnode.Remote{URL: info.URL, Getenv: a.withoutContext}
	l := &link{where: info.URL}
	err = l.open(func(options ...nats.Option) (*nats.Conn, error) { return natsnode.Dial(remote, "reprise", options...) }, me...)
	if err != nil {
		return nil, fmt.Errorf("%w: process %d serves %s at %s: %w", natsnode.ErrUnreachable, info.PID, dir, info.URL, err)
	}
	l.close = l.nc.Close
	return l, nil
}

// connectEmbedded runs the engine in this process for the time of the command.
func (a *app) connectEmbedded(ctx context.Context, dir string) (*link, error) {
	node, h, err := a.startLocal(ctx, natsnode.Options{DataDir: dir, Listen: natsnode.ListenNone}, engine.Config{
		Prefix: a.flags.prefix, Cleanup: engine.CleanupConfig{Archive: a.flags.archive},
	})
	if err != nil {
		return nil, err
	}
	nc, err := a.dialLocal(node, dir)
	if err != nil {
		return nil, errors.Join(err, stopBoth(h, node)) //nolint:contextcheck // as above
	}
	return &link{nc: nc, where: dir, close: func() { //nolint:contextcheck // as above
		nc.Close()
		if err := stopBoth(h, node); err != nil {
			_, _ = fmt.Fprintln(a.err, "reprise: the engine in this process did not stop cleanly: "+err.Error())
		}
	}}, nil
}

// dialLocal connects a command to the node that it started.
func (a *app) dialLocal(node *natsnode.Node, dir string) (*nats.Conn, error) {
	me, err := a.me(dir)
	if err != nil {
		return nil, err
	}
	return node.Dial("reprise", me...)
}

// startLocal starts a node on a data directory and an engine on it, with the
// credentials of the directory if there are any.
func (a *app) startLocal(ctx context.Context, opts natsnode.Options, cfg engine.Config) (*natsnode.Node, *host, error) {
	g, err := a.localGuard(opts.DataDir)
	if err != nil {
		return nil, nil, err
	}
	if opts, err = g.protect(opts); err != nil {
		return nil, nil, err
	}
	node, err := natsnode.StartEmbedded(opts)
	if err != nil {
		return nil, nil, err
	}
	cfg.Disk = diskOf(opts)
	var h *host
	if cfg, err = g.admit(node, cfg); err == nil {
		h, err = startHost(ctx, node, cfg)
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeNode(node)) //nolint:contextcheck // a command that was interrupted closes it all the same
	}
	return node, h, nil
}

// stopBoth stops an engine and closes its node, also after an interrupt.
func stopBoth(h *host, node *natsnode.Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	return errors.Join(h.stop(ctx), closeNode(node))
}

func closeNode(node *natsnode.Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	return node.Close(ctx)
}

// pause waits, or returns why it shouldn't any more.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
