package eventstore

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"reprise/domain"
)

// BenchmarkAggregateSize holds what the cache believes of its size beside what it
// takes in memory.
func BenchmarkAggregateSize(b *testing.B) {
	small := `{"chains":[{"id":"c","steps":[{"id":"a","manual":true,"input":{"order":"A-1007"}},{"id":"b","manual":true}]}],"metadata":{"customer":"c-4711"}}`
	long := make([]string, 1100)
	for i := range long {
		long[i] = fmt.Sprintf(`metadata.set {"set":{"stage":"number %d"}}`, i)
	}
	for _, c := range []struct {
		name     string
		sessions int
		script   []string
	}{
		{"created", 20_000, []string{"create " + small}},
		{"half way", 20_000, []string{"create " + small, "start {}", `metadata.set {"set":{"stage":"packing"}}`, `step.succeed {"chain":"c","step":"a","output":{"weight":1250}}`}},
		{"many steps", 1_000, []string{`create {"chains":[{"id":"c","steps":[` + strings.Repeat(`{"action":"work","input":{"n":1}},`, 99) + `{"action":"work"}]}]}`, "start {}"}},
		{"payloads", 5_000, []string{`create {"chains":[{"id":"c","steps":[{"id":"a","manual":true,"input":"` + strings.Repeat("x", 4000) + `"}]}]}`}},
		{"many commits", 200, append([]string{"create " + small}, long...)},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				cache, before := newCache(1<<40), liveBytes()
				for n := range c.sessions {
					cache.put(scripted(b, fmt.Sprint("session-", n), c.script))
				}
				taken := liveBytes() - before
				st := cache.stats()
				b.ReportMetric(float64(taken)/float64(c.sessions), "bytes/session")
				b.ReportMetric(float64(st.CacheBytes)/float64(c.sessions), "estimate/session")
			}
		})
	}
}

func liveBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// scripted is a session after commands, each "verb body", as an engine has it.
func scripted(b *testing.B, id string, script []string) Aggregate {
	b.Helper()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	agg := empty(Key{User: "ada", Session: id})
	for n, line := range script {
		verb, body, _ := strings.Cut(line, " ")
		command, err := domain.DecodeCommand(domain.Verb(verb), []byte(body))
		if err != nil {
			b.Fatal(err)
		}
		commandID := fmt.Sprintf("0198f1c2-7c1b-7d43-9a65-%012d", n)
		d, err := domain.Decide(agg.Session, command, domain.Env{Now: now, CommandID: commandID})
		if err != nil {
			b.Fatal(err)
		}
		c := &domain.Commit{ID: commandID, Version: agg.Session.Version + 1, Time: now, Events: d.Events, Digest: domain.Digest(domain.Verb(verb), []byte(body))}
		agg.Session, agg.Seq, agg.Last, agg.Hash = d.Keep(agg.Session, c), uint64(n), uint64(n), Hash([]byte(commandID))
	}
	return agg
}
