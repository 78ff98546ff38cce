package natsnode

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serverName is the name of every embedded server.
const serverName = "reprise"

// StartEmbedded starts a NATS server with JetStream in this process and returns
// when it accepts connections. The caller closes the node. It returns
// ErrOptions, ErrDirectory, ErrInUse, ErrListen or ErrStart; nothing is left
// running then.
func StartEmbedded(opts Options) (*Node, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	e := &embedded{opts: opts}
	if err := e.open(); err != nil {
		return nil, errors.Join(err, e.release())
	}
	if err := e.start(); err != nil {
		e.stop()
		return nil, errors.Join(err, e.release())
	}
	return &Node{log: opts.Logger, embedded: e, recovered: make(chan struct{}, 1)}, nil
}

// open makes the directory and takes its lock.
func (e *embedded) open() error {
	if e.opts.Memory {
		return e.openTemporary()
	}
	dir, err := filepath.Abs(e.opts.DataDir)
	if err != nil {
		return directoryProblem(e.opts.DataDir, "find it", err)
	}
	e.dir = dir
	if err := prepareDir(dir, e.opts.MinFree); err != nil {
		return err
	}
	e.lock, err = takeLock(dir, time.Now())
	return err
}

// openTemporary makes the directory that the server wants even where all its
// streams are in memory.
func (e *embedded) openTemporary() error {
	dir, err := os.MkdirTemp("", "reprise-memory-")
	if err != nil {
		return directoryProblem(os.TempDir(), "make a temporary directory there", err)
	}
	e.dir = dir
	return nil
}

func (e *embedded) start() error {
	if err := e.checkListen(); err != nil {
		return err
	}
	opts := e.serverOptions()
	if err := e.opts.secure(opts); err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return problemf(ErrStart, err, "%s: %s", ErrStart, err)
	}
	log := &serverLog{log: e.opts.Logger}
	srv.SetLoggerV2(log, false, false, false)
	e.srv = srv
	srv.Start()
	if text := log.failure(); text != "" {
		return problemf(ErrStart, nil, "%s: %s", ErrStart, text)
	}
	if !srv.ReadyForConnections(e.opts.Ready) {
		return problemf(ErrStart, nil, "%s: it did not accept connections within %s", ErrStart, e.opts.Ready)
	}
	return e.started()
}

// started notes what a recovery needs, and where clients connect.
func (e *embedded) started() error {
	e.config = server.JetStreamConfig{
		StoreDir: e.dir, SyncInterval: max(e.opts.SyncInterval, leastSync), SyncAlways: e.opts.SyncAlways,
		MaxStore: e.opts.diskLimit(), MaxMemory: e.opts.memoryLimit(), Strict: true, CompressOK: true,
	}
	if e.lock == nil || e.opts.Listen == ListenNone {
		return nil
	}
	if err := e.lock.serve(e.clientURL()); err != nil {
		return directoryProblem(e.dir, "write "+LockFile+" there", err)
	}
	return nil
}

// checkListen finds out before anything is started whether the address is free.
func (e *embedded) checkListen() error {
	if e.opts.Listen == ListenNone {
		return nil
	}
	listener, err := net.Listen("tcp", e.opts.Listen) //nolint:noctx // it does not wait
	if err == nil {
		return listener.Close()
	}
	hint := "check the address"
	if errors.Is(err, syscall.EADDRINUSE) {
		hint = "another program, maybe another NATS server, has the port: stop it, or listen elsewhere"
	}
	return problemf(ErrListen, err, "cannot listen on %s: %s", e.opts.Listen, hint)
}

func (e *embedded) serverOptions() *server.Options {
	opts := &server.Options{
		ServerName:             serverName,
		JetStream:              true,
		StoreDir:               e.dir,
		JetStreamMaxStore:      e.opts.diskLimit(),
		JetStreamMaxMemory:     e.opts.memoryLimit(),
		SyncInterval:           max(e.opts.SyncInterval, leastSync),
		SyncAlways:             e.opts.SyncAlways,
		DisableJetStreamBanner: true,
		NoSigs:                 true,
		DontListen:             e.opts.Listen == ListenNone,
		// A subject names its session, and an answer has an inbox of its own: what
		// matches one is hardly ever asked twice, and to remember it costs a lock
		// that all connections share.
		NoSublistCache: true,
	}
	host, port, _ := e.opts.address() // validated at the start
	opts.Host, opts.Port = host, port
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts
}

// clientURL is where this machine connects: a server that listens on every
// address is reached on the loopback one.
func (e *embedded) clientURL() string {
	return strings.NewReplacer("//0.0.0.0:", "//127.0.0.1:", "//[::]:", "//[::1]:").Replace(e.srv.ClientURL())
}

// Close stops an embedded server: connections end, what is stored is synced,
// the lock is given up. It waits until all of that has happened or ctx ends; the
// server goes on stopping then, and the lock is kept until the process ends.
// Connections of Dial are the caller's and should be drained before. Closing
// again does nothing.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	closed := n.closed
	n.closed = true
	n.mu.Unlock()
	if closed || n.embedded == nil {
		return nil
	}
	return n.embedded.close(ctx)
}

// close stops the server and gives the directory up.
func (e *embedded) close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.recovering.Lock() // a recovery under way ends first
		defer e.recovering.Unlock()
		e.stop()
	}()
	select {
	case <-done:
		return e.release()
	case <-ctx.Done():
		return problemf(ErrStart, ctx.Err(), "the embedded NATS server is still stopping: %s", ctx.Err())
	}
}

// stop stops the server, if there is one, and waits for it.
func (e *embedded) stop() {
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}
}

// release gives up as much as was taken of the lock and the temporary directory.
func (e *embedded) release() error {
	var errs []error
	errs = append(errs, e.unstage())
	if e.lock != nil {
		errs = append(errs, e.lock.release())
	}
	if e.opts.Memory && e.dir != "" {
		errs = append(errs, os.RemoveAll(e.dir))
	}
	return errors.Join(errs...)
}
