package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

// Version is the version of the engine, as the micro service shows it.
const Version = "0.1.0"

// Config says where an engine works and how. Dial is required; every other
// field has a good default in its zero value.
type Config struct {
	// Dial opens a connection to the server under a name. The engine opens
	// several: reads, writes and answers don't wait for each other.
	Dial func(name string, options ...nats.Option) (*nats.Conn, error)
	// Prefix is the first token of every subject; "reprise" if empty.
	Prefix string
	// Memory keeps the streams in memory instead of in files.
	Memory bool
	// Replicas of every stream; 0 means 1.
	Replicas int
	// GroupCommit lets commits of several sessions share the syncs to disk. It is
	// for a server that syncs every write (sync_always), and for one replica.
	GroupCommit bool
	// Stage has the server keep the batches of a stream in memory until they are
	// committed, and reports whether it does; nil if nobody can tell it to. It is
	// asked with GroupCommit, once the stream is there.
	Stage func(stream string) bool
	// MetadataKeys are the metadata keys that lists may filter by.
	MetadataKeys []string
	// CacheBytes bounds the aggregate cache; 0 means the store's default.
	CacheBytes int64
	// MaxPerAction and MaxPerUser bound how many steps of one action, and of one
	// user, are offered or in flight; 0 means no bound.
	MaxPerAction, MaxPerUser int
	// Limits bound what one user may ask for.
	Limits Limits
	// Accounts are those of a server that authenticates; nil for one that lets
	// everybody in.
	Accounts *Accounts
	// Trouble says why nothing can be stored at the moment, nil if it can. It is
	// asked before every command and has to answer at once; nil: nobody knows.
	Trouble func() error
	// Disk is when an embedded server syncs, for reports; nil for one elsewhere,
	// of which no client can see it.
	Disk *contract.Disk
	// Cleanup says what is cleaned up, and when.
	Cleanup CleanupConfig
	// ID names this engine; a random one if empty.
	ID string
	// Logger gets what an operator should know; nothing is logged if nil.
	Logger *slog.Logger
	// Clock returns the time; time.Now if nil.
	Clock func() time.Time
}

// validate fills in defaults and reports everything that is wrong at once.
func (c *Config) validate() (contract.Names, error) {
	names, err := contract.NewNames(c.Prefix)
	problems := []error{err}
	if c.Dial == nil {
		problems = append(problems, errors.New("there is no Dial; it is required"))
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		problems = append(problems, fmt.Errorf("%d replicas are outside 1 to 5", c.Replicas))
	}
	if c.MaxPerAction < 0 || c.MaxPerUser < 0 {
		problems = append(problems, fmt.Errorf("limits of %d steps an action and %d a user; use 0 for none, or 1 and more", c.MaxPerAction, c.MaxPerUser))
	}
	if c.GroupCommit && (c.Replicas > 1 || c.Memory) {
		problems = append(problems, errors.New("group commit is for streams on file with one replica; leave it out"))
	}
	problems = append(problems, c.Cleanup.check())
	problems = append(problems, c.Limits.validate())
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return names, errors.Join(problems...)
}

// running returns how many commands are decided and stored side by side.
func (c *Config) running() int {
	if c.GroupCommit || c.Replicas > 1 {
		return maxRunningSlow
	}
	return maxRunning
}

// storage returns the kind of storage of the durable streams.
func (c *Config) storage() jetstream.StorageType {
	if c.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// Engine serves one event stream. Make one with New and Run it once.
type Engine struct {
	cfg   Config
	names contract.Names
	ready chan struct{}
	once  sync.Once
	// running is what Stats looks at, once there is something to see.
	running atomic.Pointer[parts]
}

// New checks the configuration. It opens and starts nothing.
func New(cfg Config) (*Engine, error) {
	names, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return &Engine{cfg: cfg, names: names, ready: make(chan struct{})}, nil
}

// Ready is closed once the engine answers commands.
func (e *Engine) Ready() <-chan struct{} { return e.ready }
