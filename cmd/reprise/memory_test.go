package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestMemoryIsTunedUnlessTheEnvironmentSays(t *testing.T) {
	percent := debug.SetGCPercent(100)
	limit := debug.SetMemoryLimit(-1)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		tuned := tuneMemory(func(asked string) string { return map[string]string{name: "50"}[asked] })
		if tuned || debug.SetMemoryLimit(-1) != limit {
			t.Errorf("with %s the limit was set all the same", name)
		}
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells how much memory there is, in /proc")
	}
	if !tuneMemory(func(string) string { return "" }) {
		t.Error("it is not kept tuned")
	}
	if got := debug.SetGCPercent(100); got != collectAt {
		t.Errorf("the collector is set to %d %%", got)
	}
	if got := debug.SetMemoryLimit(-1); got != machineMemory()/memoryShare || got < 64<<20 {
		t.Errorf("the limit is %d bytes", got)
	}
}

func TestGarbageIsBounded(t *testing.T) {
	const most = 1 << 30
	for live, want := range map[uint64]int{
		0: collectAt, 1 << 20: collectAt, most / 3: collectAt, most: 100, 2 * most: 50, 100 * most: leastCollectAt,
	} {
		if got := percentFor(live, most); got != want {
			t.Errorf("%d MB live: collected at %d %%, not %d", live>>20, got, want)
		}
	}
}

func TestGarbageIsCollectedAsOftenAsItsCostAllows(t *testing.T) {
	for _, c := range []struct {
		name    string
		percent int
		share   float64
		want    int
	}{
		{"dear: more garbage, up to the bound", collectAt, 0.12, collectAt},
		{"as dear as it may be", 200, collectCost, 200},
		{"half of that: half of the garbage, in steps", 200, collectCost / 2, 150},
		{"twice that", 100, 2 * collectCost, 150},
		{"next to nothing: down to the bound", 80, 0.001, cheapCollectAt},
	} {
		if got := percentAt(c.percent, c.share); got != c.want {
			t.Errorf("%s: %d %%, not %d", c.name, got, c.want)
		}
	}
}

func TestWhatTheCollectorHasDoneIsRead(t *testing.T) {
	before, after := collections(), collected{}
	eventually(t, "the collector has its share", func() bool { // the runtime estimates times, and may correct them
		runtime.GC()
		after = collections()
		share := after.since(before)
		return share > 0 && share <= 1
	})
	if after.live == 0 || after.live > 1<<30 {
		t.Errorf("%d bytes are live", after.live)
	}
	if share := after.since(after); share != 0 {
		t.Errorf("in no time it had %g", share)
	}
}

func TestFirstNumber(t *testing.T) {
	for text, want := range map[string]int64{"  123 kB\n": 123, "max\n": 0, "": 0, "7": 7} {
		if got := firstNumber(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
