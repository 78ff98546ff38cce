package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"

	"reprise/contract"
)

// Latencies are kept from 1 microsecond to a minute, within 1 percent.
const (
	shortest = int64(time.Microsecond)
	longest  = int64(time.Minute)
	digits   = 2
)

// answerTimeout is how long a client waits for one answer.
const answerTimeout = 10 * time.Second

// Config says what is sent. Conns and Names are required.
type Config struct {
	// Conns are shared by the clients in turn.
	Conns []*nats.Conn
	Names contract.Names
	// User owns the sessions; if empty, a number of users share them, for which
	// the connections need the right to send.
	User string
	// Run begins the ids of all sessions, so that runs don't meet.
	Run string
	// Clients wait for answers at the same time; at least 1.
	Clients int
	// Sessions are spread over the clients; at least one each.
	Sessions int
	// Seed of the random choices.
	Seed uint64
}

func (c *Config) check() error {
	var errs []error
	if len(c.Conns) == 0 {
		errs = append(errs, errors.New("load: Config needs a connection"))
	}
	if c.Names == (contract.Names{}) {
		errs = append(errs, errors.New("load: Config needs Names"))
	}
	if c.Clients < 1 || c.Sessions < c.Clients {
		errs = append(errs, fmt.Errorf("load: %d clients with %d sessions; there has to be a client, and a session for each", c.Clients, c.Sessions))
	}
	return errors.Join(errs...)
}

// Result is what a run came to.
type Result struct {
	// Commands were answered, of which Refused with an error; Failed got none.
	Commands int64 `json:"commands"`
	Refused  int64 `json:"refused"`
	Failed   int64 `json:"failed"`
	// Took is how long it went on.
	Took time.Duration `json:"tookNs"`
	// Latency is how long the answers took.
	Latency *hdrhistogram.Histogram `json:"-"`
	// Complaint is the first error or refusal, "" for none.
	Complaint string `json:"complaint,omitempty"`
}

// PerSecond is how many commands were answered in a second.
func (r *Result) PerSecond() float64 { return float64(r.Commands) / r.Took.Seconds() }

// Quantile is the time within which a part of the answers came, from 0 to 1.
func (r *Result) Quantile(q float64) time.Duration {
	return time.Duration(r.Latency.ValueAtQuantile(q * 100))
}

// Load is a set of clients and their sessions. Its methods are called one after
// another.
type Load struct {
	cfg     Config
	clients []*client
}

// New makes the clients. It sends nothing.
func New(cfg Config) (*Load, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	l := &Load{cfg: cfg, clients: make([]*client, cfg.Clients)}
	for i := range l.clients {
		first, end := i*cfg.Sessions/cfg.Clients, (i+1)*cfg.Sessions/cfg.Clients
		l.clients[i] = &client{
			cfg: &l.cfg, nc: cfg.Conns[i%len(cfg.Conns)], first: first, sessions: make([]session, end-first),
			random: rand.New(rand.NewPCG(cfg.Seed, uint64(i))),
		}
	}
	return l, nil
}

// Create makes every session, and returns how that went.
func (l *Load) Create(ctx context.Context) *Result {
	return l.run(func(c *client) {
		for i := range c.sessions {
			if ctx.Err() != nil {
				return
			}
			c.step(ctx, i)
		}
	})
}

// For sends commands to sessions at random for a time, or until ctx ends.
func (l *Load) For(ctx context.Context, d time.Duration) *Result {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return l.run(func(c *client) {
		for ctx.Err() == nil {
			c.step(ctx, c.random.IntN(len(c.sessions)))
		}
	})
}

// Delete removes every session that the load has made, whatever its state.
func (l *Load) Delete(ctx context.Context) *Result {
	return l.run(func(c *client) {
		for i := range c.sessions {
			if ctx.Err() != nil {
				return
			}
			c.remove(ctx, i)
		}
	})
}

// run lets every client do something and adds up what came of it.
func (l *Load) run(do func(*client)) *Result {
	var wg sync.WaitGroup
	began := time.Now()
	for _, c := range l.clients {
		c.result = Result{Latency: hdrhistogram.New(shortest, longest, digits)}
		wg.Go(func() { do(c) })
	}
	wg.Wait()
	sum := &Result{Took: time.Since(began), Latency: hdrhistogram.New(shortest, longest, digits)}
	for _, c := range l.clients {
		sum.Commands += c.result.Commands
		sum.Refused += c.result.Refused
		sum.Failed += c.result.Failed
		sum.Latency.Merge(c.result.Latency)
		if sum.Complaint == "" {
			sum.Complaint = c.result.Complaint
		}
	}
	return sum
}

// Sent is how many commands were sent so far, while a run goes on or after it.
func (l *Load) Sent() int64 {
	var n int64
	for _, c := range l.clients {
		n += c.sent.Load()
	}
	return n
}

// client is one client.
type client struct {
	cfg      *Config
	nc       *nats.Conn
	first    int
	sessions []session
	random   *rand.Rand
	result   Result
	sent     atomic.Int64
}

// session is how far one session has come.
type session struct{ life, line int }
