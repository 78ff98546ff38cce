package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// machine is what the figures depend on.
type machine struct {
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	OS     string `json:"os"`
	Go     string `json:"go"`
	// Load is the load average at the start: more than a little says that the
	// machine had other things to do.
	Load string `json:"load"`
	// FsyncMicros is the median time of 4 KiB and an fsync where the setups keep
	// their data; 0 where it could not be measured.
	FsyncMicros int64 `json:"fsyncMicros"`
}

func thisMachine() machine {
	sync, err := fsyncTime()
	if err != nil {
		sync = 0
	}
	return machine{
		Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		CPU: field("/proc/cpuinfo", "model name"), Memory: field("/proc/meminfo", "MemTotal"),
		Kernel: line("/proc/sys/kernel/osrelease"), Load: line("/proc/loadavg"), FsyncMicros: sync.Microseconds(),
	}
}

// line returns the first line of a file, or unknown.
func line(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return first
}

// field returns the value behind the first key of that name in a file of
// `key: value` lines, or unknown.
func field(path, key string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for l := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// fsyncs is how many are timed.
const fsyncs = 200

// fsyncTime times appends of 4 KiB, each with an fsync.
func fsyncTime() (time.Duration, error) {
	dir, err := os.MkdirTemp("", "reprise-peers-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	block, took := make([]byte, 4<<10), make([]time.Duration, 0, fsyncs)
	for range fsyncs {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// commit names the revision of the repository, and says if files differ from it.
func commit(ctx context.Context, root string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
