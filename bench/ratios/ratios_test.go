package main

import (
	"strings"
	"testing"
)

const output = `goos: linux
BenchmarkPrototype/clients=256-2   	   20000	  20000 ns/op	  50000 commands/s	  99 B/op
BenchmarkPrototype/clients=256-2   	   20000	  20000 ns/op	  40000 commands/s	  99 B/op
BenchmarkPrototype/clients=256-2   	   20000	  20000 ns/op	  10000 commands/s	  99 B/op
BenchmarkMix/100000_sessions/clients=256-2 	 10	 50000 ns/op	 1.5 lag-s	 20000 commands/s
BenchmarkEncode-2 	 10	 50000 ns/op	 12 MB/s
BenchmarkBroken-2 	 10	 x ns/op
PASS
`

func TestAShareIsOfTheMedians(t *testing.T) {
	got := table(parse(output))
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, "Mix/100000_sessions/clients=256") || !strings.Contains(got, "is  0.50 of  Prototype/clients=256") {
		t.Errorf("got\n%s", got)
	}
}

func TestNothingToCompareIsSaid(t *testing.T) {
	for _, text := range []string{"", "PASS\n", "BenchmarkMix/x/clients=256-2 10 5 ns/op 7 commands/s\n"} {
		if got := table(parse(text)); !strings.HasPrefix(got, "no figure") {
			t.Errorf("%q gave %q", text, got)
		}
	}
}

func TestOneNameHasToFit(t *testing.T) {
	r := rates{"Mix/10/clients=1": {1}, "Mix/20/clients=1": {2}}
	if name, _, ok := r.of(`Mix/.*/clients=1`); ok {
		t.Errorf("took %s for both", name)
	}
}
