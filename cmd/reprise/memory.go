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
// seventh less where many sessions are at hand. Where what is alive is mostly the
// server's blocks, which have no pointers to follow, a collection is cheap, and
// garbage would only take memory: so the percentage is the one at which collecting
// costs a twentieth of the processor, up to 300. Where much is alive that would be
// much garbage: with a million sessions 3 GB live, and 300 % would take 12. So
// garbage is bounded to a part of the machine's memory, and so is the whole.
const (
	collectAt      = 300
	cheapCollectAt = 75 // the least where it is the cost that says
	leastCollectAt = 25
	collectCost    = 0.05
	garbageShare   = 10 // a tenth of it
	memoryShare    = 2  // half of it
	noMemoryData   = 0
	// retuneEvery is how often the percentage is looked at.
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

// keepTuned keeps garbage and the cost of collecting it within their bounds, for as
// long as the process runs.
func keepTuned() {
	percent, most := collectAt, uint64(machineMemory()/garbageShare)
	last := collections()
	for range time.Tick(retuneEvery) {
		now := collections()
		if now.cycles == last.cycles {
			continue // nothing is known that was not
		}
		want := min(percentAt(percent, now.since(last)), percentFor(now.live, most))
		if last = now; want != percent {
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

// percentAt is the percentage at which collecting costs collectCost, if it has had
// this share at percent: twice the garbage is collected half as often. It goes half
// of the way there, since one collection is not like another.
func percentAt(percent int, share float64) int {
	want := float64(percent) * share / collectCost
	return int(min(max((float64(percent)+want)/2, cheapCollectAt), collectAt))
}

// collected is what the collector has done since the process started.
type collected struct {
	cycles, live  uint64 // live is what the last one has left, in bytes
	cost, program float64
}

// since returns the collector's share of the processor since another time.
func (c collected) since(last collected) float64 {
	cost, program := c.cost-last.cost, c.program-last.program
	if cost+program <= 0 {
		return 0
	}
	return cost / (cost + program)
}

// collections reads what the collector has done, in seconds of processors. What it
// does on one that has nothing else to do costs nothing.
func collections() collected {
	s := []metrics.Sample{
		{Name: "/gc/cycles/automatic:gc-cycles"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
		{Name: "/cpu/classes/user:cpu-seconds"},
	}
	metrics.Read(s)
	return collected{
		cycles: s[0].Value.Uint64(), live: s[1].Value.Uint64(),
		cost: s[2].Value.Float64() - s[3].Value.Float64(), program: s[4].Value.Float64(),
	}
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
