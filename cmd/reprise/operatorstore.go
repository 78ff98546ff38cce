package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/auth"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/eventstore"
	esjs "reprise/eventstore/jetstream"
	"reprise/natsnode"
)

const (
	// holdTTL is how long a store stays read-only after a command that needs it
	// so was killed; holdRenewal is how often it says that it is still at it.
	holdTTL     = 30 * time.Second
	holdRenewal = holdTTL / 4
	// settlePatience bounds the wait until every engine has stopped.
	settlePatience = 30 * time.Second
)

// where says which store an operator means: one of its fields is set.
type where struct{ url, context, dir string }

// here is where the flags of every command point.
func (a *app) here() where {
	if a.remote() {
		return where{url: a.flags.nats, context: a.flags.context}
	}
	return where{dir: a.dataDir()}
}

// placeNamed reads a URL, the name of a context of the nats CLI, or a directory.
func placeNamed(text string) where {
	switch {
	case strings.Contains(text, "://"):
		return where{url: text}
	case strings.ContainsAny(text, `/\`), isDir(text):
		return where{dir: text}
	}
	return where{context: text}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// opening says how to open a store.
type opening struct {
	where

	// make makes the store where there is none, with replicas.
	make     bool
	replicas int
}

// operatorStore is an event store that an operator works on without an engine in
// between.
type operatorStore struct {
	node   *natsnode.Node
	names  contract.Names
	shown  string
	read   *nats.Conn
	write  *nats.Conn
	js     jetstream.JetStream
	driver *esjs.Driver
	store  *eventstore.Store
}

// openOperatorStore opens a store. The caller closes it.
func (a *app) openOperatorStore(ctx context.Context, o opening) (*operatorStore, error) {
	names, err := contract.NewNames(a.flags.prefix)
	if err != nil {
		return nil, &usageError{"--prefix: " + err.Error()}
	}
	node, err := a.openNode(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &operatorStore{node: node, names: names, shown: node.URL()}
	if o.dir != "" {
		s.shown = o.dir
	}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.close()) //nolint:contextcheck // closing has a bound of its own
	}
	return s, nil
}

// openNode finds the server: the one that was named, the one that serves the
// directory, or one in this process.
func (a *app) openNode(ctx context.Context, o opening) (*natsnode.Node, error) {
	if o.dir == "" {
		node, err := natsnode.Connect(ctx, natsnode.Remote{URL: o.url, Context: o.context, Own: o.make, Getenv: a.getenv})
		if errors.Is(err, natsnode.ErrOptions) && o.context != "" {
			err = fmt.Errorf("%w; a directory that is not there yet is written ./%s", err, o.context)
		}
		if errors.Is(err, natsnode.ErrNoJetStream) && a.credsName() != "" {
			err = fmt.Errorf("%w; with credentials of reprise auth this is for operators: reprise auth add operator NAME", err)
		}
		return node, err
	}
	if !o.make && !isDir(o.dir) {
		return nil, &usageError{fmt.Sprintf("there is no directory %s", o.dir)}
	}
	deadline := time.Now().Add(lockPatience)
	for {
		node, err := a.openDirectory(ctx, o.dir)
		if !errors.Is(err, natsnode.ErrInUse) || time.Now().After(deadline) {
			return node, err
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

func (a *app) openDirectory(ctx context.Context, dir string) (*natsnode.Node, error) {
	g, err := a.localGuard(dir)
	if err != nil {
		return nil, err
	}
	me, err := g.person(auth.RoleOperator, a.operatorHere())
	if err != nil {
		return nil, err
	}
	info, running, err := natsnode.ReadLock(dir)
	switch {
	case err != nil:
		return nil, err
	case running && info.URL == "":
		return nil, &natsnode.InUseError{Dir: dir, Holder: info}
	case running:
		return natsnode.Connect(ctx, natsnode.Remote{URL: info.URL, Options: me, Getenv: func(string) string { return "" }})
	}
	opts, err := g.protect(natsnode.Options{DataDir: dir, Listen: natsnode.ListenNone, Dial: me})
	if err != nil {
		return nil, err
	}
	return natsnode.StartEmbedded(opts)
}

// open makes the connections and opens the stream.
func (s *operatorStore) open(ctx context.Context, o opening) (err error) {
	if s.read, err = s.node.Dial("reprise-operator"); err != nil {
		return err
	}
	if s.write, err = s.node.Dial("reprise-operator-write", esjs.WriteOptions()...); err != nil {
		return err
	}
	if s.js, err = s.node.JetStream(s.read); err != nil {
		return err
	}
	if err := s.openStream(ctx, o); err != nil {
		return err
	}
	s.driver, err = esjs.Open(ctx, esjs.Config{Names: s.names, Read: s.read, Write: s.write, JetStream: s.js})
	if err != nil {
		return err
	}
	s.store, err = eventstore.Open(ctx, eventstore.Config{Driver: s.driver, CacheBytes: -1, MaxMessage: int(s.write.MaxPayload())})
	return err
}

// openStream checks the stream of events as it is, or makes it.
func (s *operatorStore) openStream(ctx context.Context, o opening) error {
	cfg := esjs.StreamConfig{Names: s.names, Memory: s.node.Storage() == jetstream.MemoryStorage, Replicas: o.replicas}
	stream, err := s.js.Stream(ctx, s.names.EventsStream())
	switch {
	case err == nil:
		cfg.Memory, cfg.Replicas = stream.CachedInfo().Config.Storage == jetstream.MemoryStorage, 0
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%s: %w", s.shown, err)
	case !o.make:
		return fmt.Errorf("there are no sessions at %s: it has no stream %s", s.shown, s.names.EventsStream())
	}
	return esjs.EnsureStream(ctx, s.js, cfg)
}

// hold makes the store read-only until end is called, or for ttl after this
// process was killed; 0 is for ever. It returns once every engine has stopped.
func (s *operatorStore) hold(ctx context.Context, r engine.ReadOnly) (end func() error, err error) {
	mark, err := engine.OpenReadOnlyMark(ctx, s.js, s.names)
	if err != nil {
		return nil, err
	}
	if err := mark.Set(ctx, r); err != nil {
		return nil, err
	}
	release := func() error {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
		defer cancel()
		_, err := mark.Release(ending)
		return err
	}
	settling, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	if err := mark.Settle(settling, s.read); err != nil {
		return nil, errors.Join(err, release())
	}
	if r.TTL == 0 {
		return release, nil
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		for pause(renewing, holdRenewal) == nil {
			_ = mark.Set(renewing, r) // the next time is soon enough
		}
	}()
	return func() error {
		stop()
		<-renewed
		return release()
	}, nil
}

// close ends the connections, and the server if it is in this process.
func (s *operatorStore) close() error {
	var errs []error
	if s.driver != nil {
		errs = append(errs, s.driver.Close())
	}
	for _, nc := range []*nats.Conn{s.read, s.write} {
		if nc != nil {
			nc.Close()
		}
	}
	return errors.Join(append(errs, closeNode(s.node))...)
}

// whoHolds is the mark of a command that wants nothing else to change.
func (a *app) whoHolds(id, reason string, ttl time.Duration) engine.ReadOnly {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	return engine.ReadOnly{ID: id, By: a.owner() + " on " + host, Reason: reason, Since: a.now().UTC(), TTL: domain.Duration(ttl)}
}
