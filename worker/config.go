package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"reprise/contract"
)

// The defaults of Config.
const (
	// DefaultConcurrency is how many steps run at once.
	DefaultConcurrency = 8
	// DefaultDrainTimeout is how long Run waits for handlers at the end.
	DefaultDrainTimeout = 30 * time.Second
	// DefaultStopTimeout is how long handlers have to return after the end of
	// their context.
	DefaultStopTimeout = 15 * time.Second
	// DefaultRequestTimeout bounds the wait for one answer of the engine.
	DefaultRequestTimeout = 2 * time.Second
	// DefaultProgressInterval is the shortest pause between two heartbeats that
	// are sent because of progress.
	DefaultProgressInterval = time.Second
	// DefaultAPIPrefix is the JetStream API of the connection's own account.
	DefaultAPIPrefix = "$JS.API"
)

const (
	// fallbackLease counts where an assignment names none.
	fallbackLease = 30 * time.Second
	// maxRetryAfter bounds the engine's hint when to ask again.
	maxRetryAfter = 30 * time.Second
	// abandonWait is how long Run waits for handlers after Abandon.
	abandonWait = time.Second
)

// Config says how a worker works. The zero value of every field is a good
// default.
type Config struct {
	// ID names the worker in events and subjects: 1-64 of A-Z a-z 0-9 _ -. A
	// random one if empty. Two workers must not share an id.
	ID string
	// Names are the subjects of the engine; zero means contract.Default().
	Names contract.Names
	// Concurrency is how many steps run at once, over all actions.
	Concurrency int
	// Lease is how long the engine waits for a sign of life before it gives a
	// step to somebody else; 0 leaves it to the engine. A heartbeat is sent
	// every third of it.
	Lease time.Duration
	// DrainTimeout is how long Run waits for handlers once its context has
	// ended; then theirs end, and they have StopTimeout to return.
	DrainTimeout, StopTimeout time.Duration
	// RequestTimeout bounds the wait for one answer, after which the request is
	// sent again.
	RequestTimeout time.Duration
	// ProgressInterval is the shortest pause between two heartbeats for progress.
	ProgressInterval time.Duration
	// Accept chooses among the tasks; nil takes all. One that is refused goes back
	// and is offered again to whoever asks first: after 20 ms, and later and later
	// up to 2 s. So a choosy worker among others makes tasks a little late. It
	// must be quick, and safe for concurrent use.
	Accept func(contract.TaskRef) bool
	// APIPrefix is the JetStream API, for another JetStream domain.
	APIPrefix string
	// Logger gets a line for each attempt and what an operator should know;
	// nothing is logged if nil.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Names.Prefix() == "" {
		c.Names = contract.Default()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.ID = orDefault(c.ID, "w-"+uuid.NewString())
	c.Concurrency = orDefault(c.Concurrency, DefaultConcurrency)
	c.DrainTimeout = orDefault(c.DrainTimeout, DefaultDrainTimeout)
	c.StopTimeout = orDefault(c.StopTimeout, DefaultStopTimeout)
	c.RequestTimeout = orDefault(c.RequestTimeout, DefaultRequestTimeout)
	c.ProgressInterval = orDefault(c.ProgressInterval, DefaultProgressInterval)
	c.APIPrefix = orDefault(c.APIPrefix, DefaultAPIPrefix)
	return c
}

func (c Config) check() error {
	var problems []error
	if !contract.ValidToken(c.ID) {
		problems = append(problems, fmt.Errorf("worker: Config.ID: %.80q is not a worker id: use 1-64 of A-Z a-z 0-9 _ -", c.ID))
	}
	if c.Concurrency < 0 {
		problems = append(problems, fmt.Errorf("worker: Config.Concurrency: %d steps at once are too few; use 1 or more", c.Concurrency))
	}
	for _, d := range []time.Duration{c.Lease, c.DrainTimeout, c.StopTimeout, c.RequestTimeout, c.ProgressInterval} {
		if d < 0 {
			problems = append(problems, fmt.Errorf("worker: Config: a time of %s is less than 0", d))
		}
	}
	return errors.Join(problems...)
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
