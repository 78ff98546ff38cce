package archive

import (
	"bytes"
	"io"
	"testing"

	"reprise/eventstore"
)

// benchSessions is how many sessions the benchmarks move; each has 1 to 5 commits.
const benchSessions = 2000

// populated is a server with sessions on file, and the number of their commits.
func populated(b *testing.B) (*eventstore.Store, uint64) {
	b.Helper()
	from := newBackend(b, false)
	w := &world{TB: b, store: from.store}
	w.populate(benchSessions)
	report, err := Export(b.Context(), from.store, io.Discard, ExportOptions{Filter: Filter{Tombstones: true}})
	if err != nil {
		b.Fatal(err)
	}
	return from.store, report.Commits
}

// perSecond reports the rate of commits.
func perSecond(b *testing.B, commits uint64) {
	b.Helper()
	b.ReportMetric(float64(commits)*float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkExport(b *testing.B) {
	store, commits := populated(b)
	var size, compressed int
	for b.Loop() {
		var plain, packed bytes.Buffer
		z, err := Compress("x.zst", &packed)
		if err == nil {
			_, err = Export(b.Context(), store, io.MultiWriter(&plain, z), ExportOptions{Filter: Filter{Tombstones: true}})
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
		size, compressed = plain.Len(), packed.Len()
	}
	perSecond(b, commits)
	b.ReportMetric(float64(size)/float64(compressed), "zst-ratio")
}

func BenchmarkImport(b *testing.B) {
	store, commits := populated(b)
	var file bytes.Buffer
	if _, err := Export(b.Context(), store, &file, ExportOptions{Filter: Filter{Tombstones: true}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		to := newBackend(b, false)
		b.StartTimer()
		if _, err := Import(b.Context(), to.store, from(file.Bytes()), ImportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, commits)
}

func BenchmarkCopy(b *testing.B) {
	store, commits := populated(b)
	for b.Loop() {
		b.StopTimer()
		to := newBackend(b, false)
		b.StartTimer()
		if _, err := Copy(b.Context(), store, to.store, CopyOptions{Checkpoints: to.book}); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, commits)
}
