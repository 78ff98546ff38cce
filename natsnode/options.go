package natsnode

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// ListenNone as Options.Listen opens no port; connections come from within the
// process alone.
const ListenNone = "none"

// The defaults of Options.
const (
	// DefaultListen is where the embedded server listens.
	DefaultListen = "127.0.0.1:4222"
	// DefaultSyncInterval is how much a power cut may take: what was written
	// within it. A killed process loses nothing.
	DefaultSyncInterval = 100 * time.Millisecond
	// DefaultMinFree is how much of the disk is left free, in bytes.
	DefaultMinFree = 16 << 20
	// DefaultReady bounds how long the server may take to recover its streams
	// and to accept connections.
	DefaultReady = 2 * time.Minute
	// DefaultHealthInterval is the pause between two looks at the storage.
	DefaultHealthInterval = time.Second
)

// Options describes an embedded server. Memory or DataDir must be set; the zero
// value of every other field is a good default.
type Options struct {
	// DataDir is the directory of the file storage; it is made if missing.
	DataDir string
	// Memory keeps everything in memory; DataDir must be empty.
	Memory bool
	// Listen is HOST:PORT or ListenNone; DefaultListen if empty. Port 0 lets
	// the system choose one, see Node.URL.
	Listen string
	// SyncInterval is the pause between two syncs to disk; SyncAlways syncs
	// every write before it is acknowledged.
	SyncInterval time.Duration
	SyncAlways   bool
	// MaxStore bounds the storage in bytes, on disk or in memory. 0 lets the
	// server choose: about three quarters of the disk or of the memory.
	MaxStore int64
	// MinFree is how much of the disk is left free, in bytes: below it the node
	// doesn't start, or is unhealthy. 0 is DefaultMinFree, negative no bound.
	MinFree int64
	// Ready bounds the start, HealthInterval is the pause between two looks of Run.
	Ready, HealthInterval time.Duration
	// Auth makes the server ask for credentials; nil lets everybody in.
	Auth *Auth
	// Dial are options of every connection of Node.Dial, before its own.
	Dial []nats.Option
	// TLS is used by every client but those in this process; nil for none.
	TLS *tls.Config
	// Logger gets the server's warnings and errors; nothing if nil. The
	// server's notices are logged at debug level.
	Logger *slog.Logger
}

// withDefaults returns o with its zero fields filled in.
func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = DefaultSyncInterval
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.Ready == 0 {
		o.Ready = DefaultReady
	}
	if o.HealthInterval == 0 {
		o.HealthInterval = DefaultHealthInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// validate returns everything that is wrong with o, joined, as ErrOptions.
func (o Options) validate() error {
	var errs []error
	refuse := func(bad bool, sentence string) {
		if bad {
			errs = append(errs, errors.New(sentence))
		}
	}
	refuse(o.Memory && o.DataDir != "", "memory storage has no data directory: choose one of the two")
	refuse(!o.Memory && o.DataDir == "", "file storage needs a data directory")
	refuse(o.Memory && o.SyncAlways, "memory storage is never synced: leave sync out")
	refuse(o.SyncInterval < 0, "the sync interval must be more than 0")
	refuse(o.MaxStore < 0, "the store limit must be 0 (no limit of its own) or more bytes")
	refuse(o.Ready < 0 || o.HealthInterval < 0, "times must be more than 0")
	if _, _, err := o.address(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil
	}
	cause := errors.Join(errs...)
	return problemf(ErrOptions, cause, "%s: %s", ErrOptions, cause)
}

// address splits Listen; with ListenNone the host is empty.
func (o Options) address() (host string, port int, err error) {
	if o.Listen == ListenNone {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen address %q: write HOST:PORT, or %q", o.Listen, ListenNone)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("listen address %q: the port is a number from 0 to 65535", o.Listen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

// diskLimit and memoryLimit are MaxStore where it is about that storage, else 0.
func (o Options) diskLimit() int64 {
	if o.Memory {
		return 0
	}
	return o.MaxStore
}

func (o Options) memoryLimit() int64 {
	if o.Memory {
		return o.MaxStore
	}
	return 0
}
