package natsnode

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Node is a NATS server that an engine uses: embedded (StartEmbedded) or
// elsewhere (Connect). All methods are safe for concurrent use.
type Node struct {
	log *slog.Logger
	// remote is how to reach a server elsewhere; nil for an embedded one.
	remote *target
	// embedded is nil for a server elsewhere.
	embedded *embedded

	// recovered holds one mark after a recovery.
	recovered chan struct{}
	// trouble is what Run found when it last looked.
	trouble atomic.Pointer[error]

	mu     sync.Mutex
	closed bool
}

// embedded is what a node owns of a server in this process.
type embedded struct {
	opts   Options
	srv    *server.Server
	config server.JetStreamConfig
	// dir holds the store; for memory storage it is temporary and removed by Close.
	dir  string
	lock *dirLock
	// staged is what StageInMemory made; Node.mu guards it.
	staged []stagingDir
	// recovering lets one recovery run at a time.
	recovering sync.Mutex
	// doubt keeps trouble with a stream until it is sure.
	doubt doubt
}

// Dial opens one more connection, named for `nats server report connections`.
// It reconnects for ever; opts come last and win. The caller closes it. A server
// that can't be reached gives ErrUnreachable.
func (n *Node) Dial(name string, opts ...nats.Option) (*nats.Conn, error) {
	if n.isClosed() {
		return nil, ErrClosed
	}
	all := append(append(n.watched(name), nats.Timeout(connectTimeout)), n.dialOptions()...)
	nc, err := nats.Connect(n.dialURL(), append(all, opts...)...)
	if err != nil {
		return nil, unreachable(n.URL(), err)
	}
	return nc, nil
}

// watched are the options of every connection: it reconnects for ever, and what
// happens to it is logged.
func (n *Node) watched(name string) []nats.Option {
	log := n.log.With("connection", name)
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil && !n.isClosed() {
				log.Warn("disconnected from NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS reports an error", "error", err, "subject", subject)
		}),
	}
}

func (n *Node) dialOptions() []nats.Option {
	if n.remote != nil {
		return n.remote.options
	}
	return append([]nats.Option{nats.InProcessServer(n.embedded.srv)}, n.embedded.opts.Dial...)
}

func (n *Node) dialURL() string {
	if n.remote != nil {
		return n.remote.url
	}
	return ""
}

// JetStream returns the JetStream API of a connection that Dial made, under the
// domain that the NATS context names.
func (n *Node) JetStream(nc *nats.Conn, opts ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	if n.remote == nil {
		return jetstream.New(nc, opts...)
	}
	return n.remote.jetStream(nc, opts...)
}

// URL is where other processes connect: empty for an embedded server that
// listens nowhere. It never holds credentials.
func (n *Node) URL() string {
	switch {
	case n.remote != nil:
		return n.remote.shown()
	case n.embedded.opts.Listen == ListenNone:
		return ""
	}
	return n.embedded.clientURL()
}

// Recovered gets a value after every recovery (see Recover), for one reader;
// several that nobody has read yet are one.
func (n *Node) Recovered() <-chan struct{} { return n.recovered }

// Embedded reports whether the server runs in this process.
func (n *Node) Embedded() bool { return n.embedded != nil }

// Storage is the storage the engine's streams should have.
func (n *Node) Storage() jetstream.StorageType {
	if n.embedded != nil && n.embedded.opts.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// String describes the node in a few words for people.
func (n *Node) String() string {
	switch {
	case n.remote != nil:
		return "NATS at " + n.remote.shown()
	case n.embedded.opts.Memory:
		return "embedded NATS, memory storage"
	case n.embedded.opts.SyncAlways:
		return fmt.Sprintf("embedded NATS, file storage in %s, every write synced", n.embedded.dir)
	}
	return fmt.Sprintf("embedded NATS, file storage in %s, synced every %s", n.embedded.dir, n.embedded.opts.SyncInterval)
}

// SyncsAlways reports whether the server is known to sync every write before it
// acknowledges it, on streams with one replica; the setting of a server elsewhere
// is not known here.
func (n *Node) SyncsAlways() bool { return n.embedded != nil && n.embedded.opts.SyncAlways }

// Promise says in a sentence what an answered command survives.
func (n *Node) Promise() string {
	switch {
	case n.remote != nil:
		return "an answered command survives what the sync setting of that server gives"
	case n.embedded.opts.Memory:
		return "an answered command lasts as long as this process"
	case n.embedded.opts.SyncAlways:
		return "an answered command survives a power cut"
	}
	return fmt.Sprintf("an answered command survives a killed process; a power cut takes what was answered in the last %s", n.embedded.opts.SyncInterval)
}

func (n *Node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}
