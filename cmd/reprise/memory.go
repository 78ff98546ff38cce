package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// Nearly all that a server allocates is gone when its answer is sent, so the
// collector runs less often than Go's 100 %: at 300 % a command costs about a
// seventh less. Where much is alive that would be much garbage: with a million
// sessions 3 GB live, and 300 % would take 12. So garbage is bounded to a part of
// the machine's memory, and so is the whole.
const (
	collectAt      = 300
	leastCollectAt = 25
	garbageShare   = 10 // a tenth of it
	memoryShare    = 2  // half of it
	noMemoryData   = 0
	// retuneEvery is how often the bound on garbage is looked at.
	retuneEvery = time.Second
)

// tuneMemory sets how often garbage is collected, unless GOGC or GOMEMLIMIT say.
// It reports whether keepTuned is to go on with that.
func tuneMemory(getenv func(string) string) bool {
	total := machineMemory()
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" || total == noMemoryData {
		return false
	}
	debug.SetGCPercent(collectAt)
	debug.SetMemoryLimit(total / memoryShare)
	return true
}

// keepTuned keeps garbage within its bound, for as long as the process runs.
func keepTuned() {
	percent, most := collectAt, uint64(machineMemory()/garbageShare)
	for range time.Tick(retuneEvery) {
		if want := percentFor(liveHeap(), most); want != percent {
			percent = want
			debug.SetGCPercent(percent)
		}
	}
}

// percentFor is how much garbage may be there beside so many live bytes, in
// percent of these, if at most so many bytes may be garbage.
func percentFor(live, most uint64) int {
	if live == 0 {
		return collectAt
	}
	return int(min(max(most*100/live, leastCollectAt), collectAt))
}

// liveHeap is how many bytes the last collection has left.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// machineMemory is how much memory this process may have, in bytes, as Linux
// tells it; 0 where nothing tells.
func machineMemory() int64 {
	total := int64(noMemoryData)
	if status, err := os.ReadFile("/proc/meminfo"); err == nil {
		if _, rest, found := strings.Cut(string(status), "MemTotal:"); found {
			total = firstNumber(rest) << 10
		}
	}
	if group, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if bound := firstNumber(string(group)); bound > 0 && (total == noMemoryData || bound < total) {
			total = bound
		}
	}
	return total
}

// firstNumber reads the number that text begins with; 0 if there is none.
func firstNumber(text string) int64 {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
