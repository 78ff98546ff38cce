package engine

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The load of BenchmarkSync.
const (
	syncSessions = 2_000
	syncClients  = 256
)

// BenchmarkSync measures a whole engine in each durability mode (ADR 0013): with
// the pause between two syncs that the server has by itself, with ours, with
// every write synced, and with every write synced in groups.
func BenchmarkSync(b *testing.B) {
	always := func(o *server.Options) { o.SyncAlways = true }
	for _, mode := range []struct {
		name    string
		serving func(*server.Options)
		grouped bool
	}{
		{"server default", func(*server.Options) {}, false},
		{"interval=100ms", func(o *server.Options) { o.SyncInterval = 100 * time.Millisecond }, false},
		{"always singly", always, false},
		{"always grouped", always, true},
	} {
		b.Run(mode.name, func(b *testing.B) {
			ns := startServer(b, func(o *server.Options) {
				o.JetStream, o.StoreDir = true, b.TempDir()
				mode.serving(o)
			})
			e := mixEngine(b, ns, func(c *Config) { c.GroupCommit = mode.grouped })
			m := newMix(syncSessions, syncClients)
			runClients(b, ns, syncClients, m.next)
			e.settle(b)
		})
	}
}
