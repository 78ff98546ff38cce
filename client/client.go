package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/contract"
	"reprise/domain"
)

// The defaults of Config.
const (
	// DefaultTimeout is how long one attempt waits for its answer.
	DefaultTimeout = 5 * time.Second
	// DefaultAttempts is how often a request is sent in all.
	DefaultAttempts = 4
	// DefaultBackoff is the pause before the second attempt; it doubles.
	DefaultBackoff = 100 * time.Millisecond
	// DefaultWatchIdle is the silence after which a watch asks the history
	// whether it missed something.
	DefaultWatchIdle = 15 * time.Second
)

// maxBackoff bounds the pause between two attempts.
const maxBackoff = 2 * time.Second

// Config says who the client speaks for and how patient it is. The zero value
// of every field but User is a good default.
type Config struct {
	// Names are the subjects of the engine; zero means contract.Default().
	Names contract.Names
	// User is the owner of the sessions: 1-128 bytes, see contract.ValidUser.
	User string
	// Operator is the name used for Hold, Unhold and AsOperator, one token.
	Operator string
	// Timeout bounds the wait for one answer, Attempts how often a request is
	// sent in all, and Backoff is the pause before the second attempt.
	Timeout  time.Duration
	Attempts int
	Backoff  time.Duration
	// WatchIdle is the silence after which Watch reads the history to see
	// whether a live commit was lost.
	WatchIdle time.Duration
}

// Client sends commands and queries for one user. It is safe for concurrent use.
type Client struct {
	nc  *nats.Conn
	cfg Config
}

// New checks the configuration and returns a client on that connection. It
// sends nothing. The error joins everything that is wrong.
func New(nc *nats.Conn, cfg Config) (*Client, error) {
	if nc == nil {
		return nil, errors.New("client: a NATS connection is needed")
	}
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Client{nc: nc, cfg: cfg}, nil
}

// User returns the user the client speaks for.
func (c *Client) User() string { return c.cfg.User }

// Names returns the subjects the client uses.
func (c *Client) Names() contract.Names { return c.cfg.Names }

func (c Config) withDefaults() Config {
	if c.Names.Prefix() == "" {
		c.Names = contract.Default()
	}
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.Attempts = orDefault(c.Attempts, DefaultAttempts)
	c.Backoff = orDefault(c.Backoff, DefaultBackoff)
	c.WatchIdle = orDefault(c.WatchIdle, DefaultWatchIdle)
	return c
}

func (c Config) check() error {
	var problems []error
	if err := contract.ValidUser(c.User); err != nil {
		problems = append(problems, fmt.Errorf("client: Config.User: %w", err))
	}
	if c.Operator != "" && !contract.ValidToken(c.Operator) {
		problems = append(problems, fmt.Errorf("client: Config.Operator: %s", idRule("an operator name", c.Operator)))
	}
	if c.Timeout < 0 || c.Backoff < 0 || c.Attempts < 0 || c.WatchIdle < 0 {
		problems = append(problems, errors.New("client: Config: Timeout, Attempts, Backoff and WatchIdle are not negative"))
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

// idRule is the sentence about an id that is not legal.
func idRule(what, id string) string {
	return fmt.Sprintf("%.80q is not %s: use 1 to %d of A-Z a-z 0-9 _ and -", id, what, domain.MaxIDLength)
}
