package features

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/engine"
	"reprise/natsnode"
)

// storage is one of the kinds of storage that every feature runs on.
type storage struct {
	name string
	// memory storage lives as long as its server: a restart of the service is
	// one of the engine alone then.
	memory bool
	// badged is set where everybody needs credentials of their own.
	badged bool
	// features are the files of the features that run on it; all if empty.
	features []string
}

// startBound bounds the start and the stop of a service.
const startBound = time.Minute

// service is an embedded NATS server with engines on it.
type service struct {
	storage storage
	dir     string
	node    *natsnode.Node
	engines []*running
	// badges are the credentials on badged storage.
	badges *badges
}

// running is an engine that runs.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

// startService starts a server and one engine; the directory is the test's.
func startService(s storage, dir string) (*service, error) {
	svc := &service{storage: s, dir: dir}
	if err := svc.startNode(); err != nil {
		return nil, err
	}
	if err := svc.startEngine(); err != nil {
		return nil, errors.Join(err, svc.stop())
	}
	return svc, nil
}

func (s *service) startNode() error {
	opts := natsnode.Options{Listen: "127.0.0.1:0", MinFree: -1}
	if s.storage.memory {
		opts.Memory = true
	} else {
		opts.DataDir = s.dir
	}
	if s.storage.badged {
		guard, err := s.guard()
		if err != nil {
			return err
		}
		opts.Auth = guard
	}
	node, err := natsnode.StartEmbedded(opts)
	s.node = node
	return err
}

// startEngine starts one more engine on the server and waits until it answers.
func (s *service) startEngine() error {
	cfg := engine.Config{Dial: s.node.Dial, Memory: s.storage.memory}
	if s.storage.badged {
		var err error
		if cfg.Dial, cfg.Accounts, err = s.badges.engine(s.node.Dial); err != nil {
			return err
		}
	}
	return s.run(cfg)
}

// run starts an engine and waits until it answers.
func (s *service) run(cfg engine.Config) error {
	e, err := engine.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- e.Run(ctx) }()
	s.engines = append(s.engines, r)
	bound, stop := context.WithTimeout(ctx, startBound)
	defer stop()
	select {
	case <-e.Ready():
		return nil
	case err := <-r.done:
		r.done <- err
		return fmt.Errorf("the engine ended at its start: %w", err)
	case <-bound.Done():
		return errors.New("the engine is not ready in time")
	}
}

// stopEngines stops all engines and waits for them.
func (s *service) stopEngines() error {
	var errs []error
	for _, r := range s.engines {
		r.cancel()
	}
	for _, r := range s.engines {
		if err := <-r.done; err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, fmt.Errorf("the engine ended with an error: %w", err))
		}
	}
	s.engines = nil
	return errors.Join(errs...)
}

// stop ends everything.
func (s *service) stop() error {
	err := s.stopEngines()
	s.badges.hangUp()
	if s.node == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startBound)
	defer cancel()
	return errors.Join(err, s.node.Close(ctx))
}

// restart stops the service and starts it on what it stored. Between the two,
// without is called with the server running and no engine on it.
func (s *service) restart(without func(*nats.Conn) error) error {
	if err := s.stopEngines(); err != nil {
		return err
	}
	if without != nil {
		if err := s.withConnection(without); err != nil {
			return err
		}
	}
	if !s.storage.memory {
		if err := s.stop(); err != nil {
			return err
		}
		if err := s.startNode(); err != nil {
			return err
		}
	}
	return s.startEngine()
}

func (s *service) withConnection(fn func(*nats.Conn) error) error {
	nc, err := s.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	return fn(nc)
}

// connect opens what every client has: a plain connection over TCP.
func (s *service) connect() (*nats.Conn, error) {
	return nats.Connect(s.node.URL(), nats.Timeout(patience))
}

// dropViews deletes every view.
func dropViews(nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startBound)
	defer cancel()
	return js.DeleteKeyValue(ctx, contract.Default().SessionsBucket())
}

// sharedService starts the service that most scenarios of a run use.
func sharedService(t *testing.T, s storage) *service {
	t.Helper()
	svc, err := startService(s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := svc.stop(); err != nil {
			t.Error(err)
		}
	})
	return svc
}
