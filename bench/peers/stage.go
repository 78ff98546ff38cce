package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"reprise/bench/proc"
)

const (
	// startPatience bounds the start of a setup, stopPatience its end.
	startPatience = 2 * time.Minute
	stopPatience  = 10 * time.Second
	// lookAgain is the pause between two looks whether something is ready.
	lookAgain = 2 * time.Millisecond
)

// role is what a process is there for.
type role string

// The roles. Where steps run in the process that starts sessions, it counts as
// the worker.
const (
	server role = "server"
	worker role = "worker"
	client role = "client"
)

// stage is one run of a setup: its processes, and a directory that is removed
// with them.
type stage struct {
	tools *tools
	work  work
	dir   string
	// begun is when the first process was started.
	begun    time.Time
	children []member
	load     *loader
}

// member is a process and its role.
type member struct {
	role  role
	child *proc.Child
}

func newStage(t *tools, w work) (*stage, error) {
	dir, err := os.MkdirTemp("", "reprise-peers-")
	if err != nil {
		return nil, err
	}
	return &stage{tools: t, work: w, dir: dir}, nil
}

// data is where the setup keeps what it stores.
func (s *stage) data() string { return filepath.Join(s.dir, "data") }

// command makes a command in an environment of its own.
func (s *stage) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...) //nolint:noctx // children are stopped by stop
	cmd.Dir = s.dir
	cmd.Env = []string{"HOME=" + s.dir, "TMPDIR=" + s.dir, "PATH=" + os.Getenv("PATH")}
	return cmd
}

// spawn starts a process of the setup.
func (s *stage) spawn(r role, cmd *exec.Cmd) (*proc.Child, error) {
	if s.begun.IsZero() {
		s.begun = time.Now()
	}
	child, err := proc.Start(cmd)
	if err != nil {
		return nil, err
	}
	s.children = append(s.children, member{role: r, child: child})
	return child, nil
}

// spawnLoad starts the load program and waits until it is ready.
func (s *stage) spawnLoad(ctx context.Context, r role, cmd *exec.Cmd) error {
	l, err := newLoader(cmd)
	if err != nil {
		return err
	}
	child, err := s.spawn(r, cmd)
	l.started()
	if err != nil {
		return err
	}
	s.load = l
	return l.ready(ctx, child)
}

// await polls until check is content, or a process has ended, or ctx has.
func (s *stage) await(ctx context.Context, what string, check func() error) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if ended := s.ended(); ended != nil {
			return ended
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready in time: %w", what, err)
		case <-tick.C:
		}
	}
}

// ended returns what is wrong if a process has ended.
func (s *stage) ended() error {
	for _, m := range s.children {
		select {
		case <-m.child.Ended():
			return fmt.Errorf("the %s: %w", m.role, m.child.Failure())
		default:
		}
	}
	return nil
}

// awaitPort waits until somebody listens on a port of the loopback.
func (s *stage) awaitPort(ctx context.Context, what, address string) error {
	return s.await(ctx, what, func() error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// awaitHTTP waits until a URL answers 200.
func (s *stage) awaitHTTP(ctx context.Context, what, url string) error {
	return s.await(ctx, what, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			err = errors.New(res.Status)
		}
		return errors.Join(err, res.Body.Close())
	})
}

// close stops what was started, last first, and removes the directory, also when
// ctx has ended.
func (s *stage) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	for _, m := range slices.Backward(s.children) {
		m.child.Stop(ctx)
	}
	if s.load != nil {
		s.load.close()
	}
	return os.RemoveAll(s.dir)
}

// addresses returns n addresses of the loopback that nobody listens on.
func addresses(ctx context.Context, n int) (free []string, err error) {
	for range n {
		l, listenErr := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if listenErr != nil {
			return nil, fmt.Errorf("no free port: %w", listenErr)
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		free = append(free, l.Addr().String())
	}
	return free, nil
}
