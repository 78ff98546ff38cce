package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// dbosPool is the size of the pool of connections that the tuned setup has.
const dbosPool = 32

// dbosSetups are DBOS on PostgreSQL; its package for Node.js knows no other
// database. Its steps run in the process that starts the workflow.
func dbosSetups() []*setup {
	const inline = "; steps run in the client's process"
	all := []*setup{
		{
			Name: "dbos", Durability: always, AsShipped: true, Survives: "a power cut",
			Settings: "PostgreSQL's defaults, a pool of 10 connections" + inline, start: startDBOS(0),
		},
		{
			Name: "dbos-tuned", Durability: always, Survives: "a power cut",
			Settings: fmt.Sprintf("PostgreSQL's defaults, a pool of %d connections%s", dbosPool, inline), start: startDBOS(dbosPool),
		},
		{
			Name: "dbos-relaxed", Durability: relaxed, Survives: "a killed process; a power cut but for about the last 600 ms",
			Settings: "synchronous_commit=off, a pool of 10 connections" + inline, start: startDBOS(0, "synchronous_commit=off"),
		},
	}
	for _, s := range all {
		s.Peer, s.prepare, s.before = "dbos", prepareDBOS, initPostgres
	}
	return all
}

// postgres finds a program of the PostgreSQL server: on the path, or where
// Debian puts what it keeps off it.
func postgres(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if len(found) == 0 {
		return "", fmt.Errorf("%s is not installed; it needs the PostgreSQL server (apt-get install postgresql)", program)
	}
	return found[len(found)-1], nil
}

func prepareDBOS(ctx context.Context, t *tools) (string, error) {
	node, err := need("node", "Node.js 20 or newer")
	if err != nil {
		return "", err
	}
	for _, program := range []string{"initdb", "postgres", "pg_isready"} {
		if _, err := postgres(program); err != nil {
			return "", err
		}
	}
	if err := canRunPostgres(); err != nil {
		return "", err
	}
	dir, err := t.npm(ctx, "dbos")
	if err != nil {
		return "", err
	}
	sdk, err := npmVersion(dir, "@dbos-inc/dbos-sdk")
	if err != nil {
		return "", err
	}
	path, _ := postgres("postgres")
	database, err := version(ctx, path)
	if err != nil {
		return "", err
	}
	runtimeVersion, err := version(ctx, node)
	return fmt.Sprintf("dbos-sdk %s, %s, Node.js %s", sdk, database, runtimeVersion), err
}

// initPostgres makes an empty cluster. It is no part of a cold start, since
// nobody makes one for each.
func initPostgres(_ context.Context, s *stage) error {
	initdb, err := postgres("initdb")
	if err != nil {
		return err
	}
	data := s.data()
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	cmd := s.command(initdb, "-D", data, "-A", "trust", "-U", "bench", "-E", "UTF8")
	if err := s.asPostgres(cmd); err != nil {
		return err
	}
	return finish(cmd, "cannot make a PostgreSQL cluster")
}

// startDBOS returns what starts the database with those settings, and the
// program that is worker and client in one. A pool of 0 is the default one.
func startDBOS(pool int, settings ...string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		free, err := addresses(ctx, 1)
		if err != nil {
			return err
		}
		if err := s.startPostgres(ctx, free[0], settings); err != nil {
			return err
		}
		dir, err := s.tools.npm(ctx, "dbos")
		if err != nil {
			return err
		}
		// Node finds packages from where a program is, so it goes beside them.
		for _, file := range []string{"main.mjs", "load.mjs"} {
			if err := copyFile(filepath.Join(s.tools.peer("dbos"), file), filepath.Join(dir, file)); err != nil {
				return err
			}
		}
		url := "postgresql://bench@" + free[0] + "/bench"
		return s.spawnLoad(ctx, worker, s.command("node", filepath.Join(dir, "main.mjs"), url, strconv.Itoa(s.work.Steps), strconv.Itoa(pool)))
	}
}

func (s *stage) startPostgres(ctx context.Context, address string, settings []string) error {
	path, err := postgres("postgres")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	args := []string{"-D", s.data(), "-h", host, "-p", port, "-k", ""}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := s.command(path, args...)
	if err := s.asPostgres(cmd); err != nil {
		return err
	}
	if _, err := s.spawn(server, cmd); err != nil {
		return err
	}
	ready, err := postgres("pg_isready")
	if err != nil {
		return err
	}
	return s.await(ctx, "PostgreSQL", func() error {
		return exec.CommandContext(ctx, ready, "-q", "-h", host, "-p", port).Run()
	})
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// errRoot says why PostgreSQL does not start.
var errRoot = errors.New("PostgreSQL refuses to run as root and there is no user postgres; start this as another user")
