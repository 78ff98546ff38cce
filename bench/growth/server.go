package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/bench/proc"
	"reprise/client"
	"reprise/contract"
)

// The bounds of a server's start and end.
const (
	startPatience = 5 * time.Minute
	stopPatience  = time.Minute
	// conns are shared by all clients.
	conns = 8
)

// served is a running `reprise serve`, and connections to it.
type served struct {
	bin, dir string
	child    *proc.Child
	url      string
	conns    []*nats.Conn
}

// serve starts a server on a directory.
func serve(ctx context.Context, bin, dir string) (*served, error) {
	s := &served{bin: bin, dir: dir}
	return s, s.start(ctx)
}

func (s *served) start(ctx context.Context) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.bin, // stop ends it, in order
		"serve", "--listen", "127.0.0.1:0", "--log-level", "error", "--data", s.dir)
	cmd.Stdout = in
	s.child, err = proc.Start(cmd)
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		return err
	}
	ready := make(chan string, 1)
	go func() {
		defer func() { _ = out.Close() }()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if rest, ok := strings.CutPrefix(lines.Text(), "reprise is ready: "); ok {
				url, _, _ := strings.Cut(rest, " ")
				ready <- url
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	select {
	case s.url = <-ready:
	case <-s.child.Ended():
		return s.child.Failure()
	case <-ctx.Done():
		return fmt.Errorf("the server is not ready in time: %w", ctx.Err())
	}
	return s.dial()
}

func (s *served) dial() error {
	s.conns = nil
	for range conns {
		nc, err := nats.Connect(s.url)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, nc)
	}
	return nil
}

// stop ends the server as an operator does.
func (s *served) stop(ctx context.Context) {
	for _, nc := range s.conns {
		nc.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	s.child.Stop(ctx)
}

// as is a client for one user.
func (s *served) as(user string) (*client.Client, error) {
	return client.New(s.conns[0], client.Config{Names: contract.Default(), User: user, Operator: "growth", Timeout: time.Minute})
}

// memory is what the server has resident, in bytes.
func (s *served) memory() int64 {
	usage, err := proc.Tree(s.child.PID())
	if err != nil {
		return 0
	}
	return usage.Memory
}

// disk is what its directory takes, in bytes.
func (s *served) disk() (n int64) {
	_ = filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was removed meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
