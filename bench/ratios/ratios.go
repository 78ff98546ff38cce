package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rates are the rates a second that benchmarks measured, by name without the
// number of processors; a benchmark that ran several times has several.
type rates map[string][]float64

var procs = regexp.MustCompile(`-\d+$`)

// parse reads lines of results, `BenchmarkName-2 100 5 ns/op 7 things/s`, and
// leaves everything else out. The first metric that ends in /s counts.
func parse(text string) rates {
	found := rates{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := procs.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err == nil && strings.HasSuffix(fields[i+1], "/s") && fields[i+1] != "MB/s" {
				found[name] = append(found[name], value)
				break
			}
		}
	}
	return found
}

// of returns the median of the benchmark whose name fits the pattern; false
// unless exactly one does.
func (r rates) of(pattern string) (string, float64, bool) {
	whole := regexp.MustCompile("^(?:" + pattern + ")$")
	var names []string
	for name := range r {
		if whole.MatchString(name) {
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		return "", 0, false
	}
	values := slices.Sorted(slices.Values(r[names[0]]))
	return names[0], values[len(values)/2], true
}

// pairs are what is a share of what, as patterns of names.
var pairs = []struct{ figure, limit string }{
	{`Publish/guarded=true/.*`, `Publish/guarded=false/.*`},
	{`Prototype/clients=256`, `Publish/guarded=true/.*`},
	{`Prototype/clients=1`, `Echo/clients=1`},
	{`Prototype/clients=256`, `Echo/clients=256`},
	{`CommandPath/File/clients=1`, `Prototype/clients=1`},
	{`CommandPath/File/clients=256`, `Prototype/clients=256`},
	{`Mix/.*/clients=1`, `Prototype/clients=1`},
	{`Mix/.*/clients=256`, `Prototype/clients=256`},
	{`Scripts/.*/clients=256`, `Prototype/clients=256`},
}

// table shows every pair of which both sides were measured.
func table(r rates) string {
	var b strings.Builder
	for _, p := range pairs {
		figure, x, ok := r.of(p.figure)
		limit, y, there := r.of(p.limit)
		if !ok || !there || y == 0 {
			continue
		}
		fmt.Fprintf(&b, "%-36s %10.0f/s  is %5.2f of  %-36s %10.0f/s\n", figure, x, x/y, limit, y)
	}
	if b.Len() == 0 {
		return "no figure was measured together with its limit; see bench/ratios for the pairs\n"
	}
	return b.String()
}
