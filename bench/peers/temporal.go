package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// The programs of Temporal in the cache.
const (
	temporalServerBin = "temporal-server"
	temporalBin       = "temporal"
)

// temporalTuned is what makes the development server faster: SQLite with a
// write-ahead log, more shards, whose queues look for tasks more than 20 times a
// second, no bounds on requests, and more pollers.
var temporalTuned = []string{"-journal-mode", "WAL", "-shards", "4", "-poll-rps", "10000"}

// temporalPollers is how many requests for work a tuned worker has open.
const temporalPollers = 16

// temporalSetups are Temporal's development server: in memory and in a file as
// it is shipped, in a file tuned, and all of it with eager activities and
// without. Without them the server hands out every step, as Reprise does.
func temporalSetups() []*setup {
	onFile := []string{"-file", "temporal.db"}
	full := append(append([]string{"-synchronous", "FULL"}, onFile...), temporalTuned...)
	normal := append(append([]string{"-synchronous", "NORMAL"}, onFile...), temporalTuned...)
	const tuned = "WAL, 4 shards, history.*ProcessorMaxPollRPS 10000, no bounds on requests, 16 pollers, synchronous="
	all := make([]*setup, 0, 8)
	for _, eager := range []bool{false, true} {
		all = append(all,
			&setup{
				Name: "temporal-memory", Durability: none, Survives: "nothing", AsShipped: true,
				Settings: "the development server without a file", start: startTemporal(eager, 0),
			},
			&setup{
				Name: "temporal", Durability: always, Survives: "a power cut", AsShipped: true,
				Settings: "the development server with a file", start: startTemporal(eager, 0, onFile...),
			},
			&setup{
				Name: "temporal-tuned", Durability: always, Survives: "a power cut",
				Settings: tuned + "FULL", start: startTemporal(eager, temporalPollers, full...),
			},
			&setup{
				Name: "temporal-tuned-relaxed", Durability: relaxed, Survives: "a killed process; a power cut but for what the system had not written yet",
				Settings: tuned + "NORMAL", start: startTemporal(eager, temporalPollers, normal...),
			},
		)
	}
	for i, s := range all {
		s.Peer, s.prepare = "temporal", prepareTemporal
		if i < len(all)/2 {
			s.Settings += "; eager activities off"
			continue
		}
		s.Name += "-eager"
		s.Settings += "; system.enableActivityEagerExecution"
		s.AsShipped = false
	}
	return all
}

func prepareTemporal(ctx context.Context, t *tools) (string, error) {
	var versions []string
	for _, part := range []struct{ bin, module string }{
		{temporalServerBin, "go.temporal.io/server"}, {temporalBin, "go.temporal.io/sdk"},
	} {
		if err := t.build(ctx, part.bin, t.peer(part.bin), true); err != nil {
			return "", err
		}
		v, err := t.module(part.bin, part.module)
		if err != nil {
			return "", err
		}
		versions = append(versions, strings.TrimPrefix(part.module, "go.temporal.io/")+" "+v)
	}
	return "Temporal " + strings.Join(versions, ", "), nil
}

// startTemporal returns what starts the server with those flags, a worker and
// the load program.
func startTemporal(eager bool, pollers int, flags ...string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		free, err := addresses(ctx, 1)
		if err != nil {
			return err
		}
		_, port, err := net.SplitHostPort(free[0])
		if err != nil {
			return err
		}
		serve := s.command(s.tools.bin(temporalServerBin), append([]string{"server", "-port", port, fmt.Sprintf("-eager=%t", eager)}, flags...)...)
		if _, err := s.spawn(server, serve); err != nil {
			return err
		}
		if err := s.awaitPort(ctx, "the Temporal server", free[0]); err != nil {
			return err
		}
		bin, eagerly := s.tools.bin(temporalBin), fmt.Sprintf("-eager=%t", eager)
		if _, err := s.spawn(worker, s.command(bin, "worker", "-address", free[0], "-pollers", strconv.Itoa(pollers), eagerly)); err != nil {
			return err
		}
		return s.spawnLoad(ctx, client, s.command(bin, "load", "-address", free[0], "-steps", strconv.Itoa(s.work.Steps), eagerly))
	}
}
