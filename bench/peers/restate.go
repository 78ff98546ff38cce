package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

const restateBin = "restate"

// restateSetups are Restate's single node. A session is a workflow, which has a
// key and can be asked for after its end; as a service call it is less.
func restateSetups() []*setup {
	relax := "RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC=true"
	all := []*setup{
		{
			Name: "restate", Durability: always, AsShipped: true, Survives: "a power cut",
			Settings: "restate-server; a session is a workflow", start: startRestate("workflow"),
		},
		{
			Name: "restate-service", Durability: always, AsShipped: true, Survives: "a power cut",
			Settings: "restate-server; a session is a service call, without a key", start: startRestate("service"),
		},
		{
			Name: "restate-relaxed", Durability: relaxed,
			Survives: "a killed process; a power cut but for what the system had not written yet",
			Settings: "log-server.rocksdb-disable-wal-fsync; a session is a workflow", start: startRestate("workflow", relax),
		},
	}
	for _, s := range all {
		s.Peer, s.prepare = "restate", prepareRestate
	}
	return all
}

// restatePackage is the npm package that holds the binary for this system.
func restatePackage() string {
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	return "@restatedev/restate-server-" + runtime.GOOS + "-" + arch
}

func prepareRestate(ctx context.Context, t *tools) (string, error) {
	dir, err := t.npm(ctx, "restate-server")
	if err != nil {
		return "", err
	}
	binary, err := npmVersion(dir, restatePackage())
	if err != nil {
		return "", err
	}
	if err := t.build(ctx, restateBin, t.peer("restate"), true); err != nil {
		return "", err
	}
	sdk, err := t.module(restateBin, "github.com/restatedev/sdk-go")
	return fmt.Sprintf("restate-server %s, sdk-go %s", binary, sdk), err
}

// startRestate returns what starts the server with that environment, a worker,
// makes the worker known, and starts the load program.
func startRestate(kind string, env ...string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		free, err := addresses(ctx, 4)
		if err != nil {
			return err
		}
		node, ingress, admin, steps := free[0], free[1], free[2], free[3]
		serve, err := s.restateServer(ctx)
		if err != nil {
			return err
		}
		serve.Env = append(serve.Env, env...)
		serve.Env = append(serve.Env,
			"RESTATE_BIND_ADDRESS="+node, "RESTATE_ADVERTISED_ADDRESS=http://"+node,
			"RESTATE_INGRESS__BIND_ADDRESS="+ingress, "RESTATE_ADMIN__BIND_ADDRESS="+admin)
		if _, err := s.spawn(server, serve); err != nil {
			return err
		}
		bin := s.tools.bin(restateBin)
		if _, err := s.spawn(worker, s.command(bin, "worker", "-listen", steps)); err != nil {
			return err
		}
		if err := s.awaitRestate(ctx, ingress, admin, steps); err != nil {
			return err
		}
		return s.spawnLoad(ctx, client, s.command(bin, "load", "-url", "http://"+ingress, "-kind", kind, "-steps", strconv.Itoa(s.work.Steps)))
	}
}

// restateServer is the command of the server, with a telemetry that is off.
func (s *stage) restateServer(ctx context.Context) (*exec.Cmd, error) {
	dir, err := s.tools.npm(ctx, "restate-server")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "node_modules", filepath.FromSlash(restatePackage()), "bin", "restate-server")
	cmd := s.command(path, "--no-logo", "--node-name", "bench", "--base-dir", s.data(), "--listen-mode", "tcp")
	cmd.Env = append(cmd.Env, "RESTATE_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=1", "RESTATE_LOG_FILTER=error")
	return cmd, nil
}

// awaitRestate waits until the server answers and makes the worker known to it.
func (s *stage) awaitRestate(ctx context.Context, ingress, admin, steps string) error {
	if err := s.awaitPort(ctx, "the worker", steps); err != nil {
		return err
	}
	if err := s.awaitHTTP(ctx, "restate-server", "http://"+admin+"/health"); err != nil {
		return err
	}
	if err := s.awaitHTTP(ctx, "restate-server", "http://"+ingress+"/restate/health"); err != nil {
		return err
	}
	return register(ctx, "http://"+admin+"/deployments", "http://"+steps)
}

// register names the worker to the server.
func register(ctx context.Context, url, workerURL string) error {
	body, err := json.Marshal(map[string]string{"uri": workerURL})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("cannot register the worker: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusBadRequest {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("cannot register the worker: %s: %s", res.Status, said)
	}
	return nil
}
