package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tools builds and installs what setups need, once, in the user's cache.
type tools struct {
	// root is the repository, cache where everything goes.
	root, cache string
}

// newTools takes the directory of the repository and of the cache; an empty one
// is in the user's own.
func newTools(root, cache string) (*tools, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "bench", "peers", "main.go")); err != nil {
		return nil, fmt.Errorf("%s is not the repository: start it there (make bench-peers), or say -root", root)
	}
	if cache == "" {
		own, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no cache directory: %w; set XDG_CACHE_HOME, or say -cache", err)
		}
		cache = filepath.Join(own, "reprise-bench")
	}
	return &tools{root: root, cache: cache}, nil
}

// peer is a directory beside this file.
func (t *tools) peer(name string) string { return filepath.Join(t.root, "bench", "peers", name) }

// bin is where a built program is.
func (t *tools) bin(name string) string { return filepath.Join(t.cache, "bin", name) }

// build builds the program of the package in dir. A module outside of the
// workspace is built alone, with the versions in its own go.mod.
func (t *tools) build(ctx context.Context, name, dir string, outside bool) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", t.bin(name), ".")
	cmd.Dir = dir
	if outside {
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	}
	return finish(cmd, "cannot build "+name)
}

// module returns the version of a module that a built program holds.
func (t *tools) module(name, path string) (string, error) {
	info, err := buildinfo.ReadFile(t.bin(name))
	if err != nil {
		return "", err
	}
	for _, dep := range info.Deps {
		if dep.Path == path {
			return dep.Version, nil
		}
	}
	return "", fmt.Errorf("%s does not hold %s", name, path)
}

// npm installs what the lock file in peers/name pins, and returns the directory
// of it. Packages run no scripts of their own.
func (t *tools) npm(ctx context.Context, name string) (string, error) {
	if _, err := need("npm", "npm, which comes with Node.js"); err != nil {
		return "", err
	}
	sum := sha256.New()
	files := map[string][]byte{}
	for _, file := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(t.peer(name), file))
		if err != nil {
			return "", err
		}
		files[file] = data
		_, _ = sum.Write(data)
	}
	dir := filepath.Join(t.cache, "npm", name+"-"+hex.EncodeToString(sum.Sum(nil))[:12])
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the cache of a user
		return "", err
	}
	for file, data := range files {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
	cmd.Dir = dir
	if err := finish(cmd, "cannot install the npm packages of "+name); err != nil {
		return "", err
	}
	return dir, os.WriteFile(done, nil, 0o600)
}

// npmVersion reads the version of an installed package.
func npmVersion(dir, name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "node_modules", filepath.FromSlash(name), "package.json"))
	if err != nil {
		return "", fmt.Errorf("the package %s is not there for this system: %w", name, err)
	}
	var pkg struct {
		Version string `json:"version"`
	}
	err = json.Unmarshal(data, &pkg)
	return pkg.Version, err
}

// need finds a program, or says what is missing.
func need(program, what string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is not installed; it needs %s", program, what)
	}
	return path, nil
}

// version asks a program for the first line of its version.
func version(ctx context.Context, path string) (string, error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", filepath.Base(path), err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}

// finish runs cmd; the error holds the last of what it said.
func finish(cmd *exec.Cmd, what string) error {
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	last := bytes.Join(lines[max(0, len(lines)-3):], []byte("; "))
	return fmt.Errorf("%s: %w: %s", what, err, last)
}
