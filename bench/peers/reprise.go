package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// slots is how many steps a worker may have at once, where it has a bound that
// is below what the clients start.
const slots = 128

// The programs of Reprise in the cache.
const (
	repriseBin     = "reprise"
	repriseLoadBin = "reprise-load"
)

// repriseSetups are the modes of `reprise serve` on an embedded server.
func repriseSetups() []*setup {
	all := []*setup{
		{
			Name: "reprise", Durability: relaxed, AsShipped: true,
			Survives: "a killed process; a power cut but for the last 100 ms",
			Settings: "reprise serve", start: startReprise(),
		},
		{
			Name: "reprise-always", Durability: always,
			Survives: "a power cut", Settings: "reprise serve --sync always", start: startReprise("--sync", "always"),
		},
		{
			Name: "reprise-memory", Durability: none,
			Survives: "nothing", Settings: "reprise serve --memory", start: startReprise("--memory"),
		},
	}
	for _, s := range all {
		s.Peer, s.prepare = "reprise", prepareReprise
	}
	return all
}

func prepareReprise(ctx context.Context, t *tools) (string, error) {
	if err := t.build(ctx, repriseBin, t.root+"/cmd/reprise", false); err != nil {
		return "", err
	}
	if err := t.build(ctx, repriseLoadBin, t.peer("reprise"), false); err != nil {
		return "", err
	}
	nats, err := t.module(repriseBin, "github.com/nats-io/nats-server/v2")
	return fmt.Sprintf("reprise %s, nats-server %s", commit(ctx, t.root), nats), err
}

// startReprise returns what starts the server with those flags, a worker and
// the load program.
func startReprise(flags ...string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		url, err := serveReprise(ctx, s, flags)
		if err != nil {
			return err
		}
		bin := s.tools.bin(repriseLoadBin)
		if _, err := s.spawn(worker, s.command(bin, "worker", "-url", url, "-concurrency", strconv.Itoa(slots))); err != nil {
			return err
		}
		return s.spawnLoad(ctx, client, s.command(bin, "load", "-url", url, "-steps", strconv.Itoa(s.work.Steps)))
	}
}

// serveReprise starts the server and returns its URL once it answers commands.
func serveReprise(ctx context.Context, s *stage, flags []string) (string, error) {
	args := []string{"serve", "--listen", "127.0.0.1:0", "--log-level", "error"}
	if len(flags) == 0 || flags[0] != "--memory" {
		args = append(args, "--data", s.data())
	}
	out, in, err := os.Pipe()
	if err != nil {
		return "", err
	}
	cmd := s.command(s.tools.bin(repriseBin), append(args, flags...)...)
	cmd.Stdout = in
	child, err := s.spawn(server, cmd)
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		return "", err
	}
	ready := make(chan string, 1)
	go readyURL(out, ready)
	select {
	case url := <-ready:
		return url, nil
	case <-child.Ended():
		return "", child.Failure()
	case <-ctx.Done():
		return "", fmt.Errorf("reprise serve is not ready in time: %w", ctx.Err())
	}
}

// readyURL reads to the end, and finds the line that says that commands are
// answered.
func readyURL(out *os.File, ready chan<- string) {
	defer func() { _ = out.Close() }()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "reprise is ready: "); ok {
			url, _, _ := strings.Cut(rest, " ")
			ready <- url
		}
	}
}
