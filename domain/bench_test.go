package domain_test

import (
	"fmt"
	"strings"
	"testing"

	"reprise/domain"
)

// benchState is a RUNNING session of one chain with a first step in flight.
func benchState(b *testing.B, steps int) *domain.Session {
	b.Helper()
	h := running(b, `{"chains":[{"id":"a","steps":[`+many(steps, `{"action":"work","input":{"n":1}}`)+`]}]}`)
	h.act("claim a/1")
	return h.s
}

func benchEnv(s *domain.Session) domain.Env {
	return domain.Env{Now: s.UpdatedAt, Actor: "ann", CommandID: "bench"}
}

// BenchmarkCommand is the domain's part of one command: decide it and fold the
// commit.
func BenchmarkCommand(b *testing.B) {
	for _, steps := range []int{5, 1000} {
		s := benchState(b, steps)
		for _, c := range []domain.Command{
			&domain.Succeed{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work", Output: []byte(`{"ok":true}`), ClaimNext: true},
			&domain.Pause{}, &domain.Heartbeat{Chain: "a", Step: "1", Attempt: 1, Worker: "w1", Action: "work"},
			&domain.SetMetadata{Set: map[string]string{"k": "v"}}, &domain.Cancel{},
		} {
			b.Run(fmt.Sprintf("%s/steps=%d", c.Verb(), steps), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					d, err := domain.Decide(s, c, benchEnv(s))
					if err != nil {
						b.Fatal(err)
					}
					domain.Apply(s, &domain.Commit{ID: "bench", Version: s.Version + 1, Time: d.Time, Events: d.Events, Digest: "0123456789abcdef"})
				}
			})
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, steps := range []int{5, 1000} {
		c := decode(b, domain.VerbCreate, `{"chains":[{"id":"a","steps":[`+many(steps, `{"action":"work","input":{"n":1}}`)+`]}]}`)
		b.Run(fmt.Sprintf("steps=%d", steps), func(b *testing.B) {
			b.ReportAllocs()
			s := domain.New("ann", "s1")
			for b.Loop() {
				d, err := domain.Decide(s, c, domain.Env{Now: epoch, CommandID: "bench"})
				if err != nil {
					b.Fatal(err)
				}
				domain.Apply(s, &domain.Commit{ID: "bench", Version: 1, Time: d.Time, Events: d.Events})
			}
		})
	}
}

func BenchmarkAddStep(b *testing.B) {
	h := running(b, `{"chains":[{"id":"a","open":true,"steps":[`+many(900, `{"action":"work"}`)+`]}]}`)
	c := &domain.AddStep{Chain: "a", Step: domain.StepDef{ID: "new", Action: "work"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := domain.Decide(h.s, c, benchEnv(h.s)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"chain":"a","step":"1","attempt":1,"output":{"ok":true},"claimNext":true}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := domain.DecodeCommand(domain.VerbSucceed, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	for _, size := range []int{100, 10_000} {
		body := []byte(`{"output":"` + strings.Repeat("x", size) + `"}`)
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				domain.Digest(domain.VerbSucceed, body)
			}
		})
	}
}

// BenchmarkView writes a session in its middle as JSON, as views do; Marshal
// beside it is the same by reflection.
func BenchmarkView(b *testing.B) {
	s := benchState(b, 5)
	for n := range 20 {
		s = domain.Apply(s, &domain.Commit{
			ID: fmt.Sprintf("0198f1c2-7c1b-7d43-9a65-%012d", n), Version: s.Version + 1, Time: s.UpdatedAt.Add(123456789), Digest: "0123456789abcdef",
			Events: []domain.Event{&domain.MetadataSet{Set: map[string]string{"customer": "c-4711"}}},
		})
	}
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf, _ = s.AppendJSON(buf[:0])
		}
		b.SetBytes(int64(len(buf)))
	})
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw, err := domain.Marshal(s)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(raw)))
		}
	})
}
