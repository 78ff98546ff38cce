package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/load"
)

// What stays the same while something else grows.
const (
	usualClients  = 256
	usualSessions = 10_000
	// longSessions is how many sessions have the history that is measured.
	longSessions = 16
	// samples is how often a query is asked.
	samples = 20
	// pollPause is the pause between two tries of the first command after a start.
	pollPause = 2 * time.Millisecond
)

// result is everything that was measured.
type result struct {
	Time     time.Time      `json:"time"`
	Cores    int            `json:"cores"`
	Go       string         `json:"go"`
	Load     string         `json:"loadAverageAtStart"`
	Settings string         `json:"settings"`
	Sessions []sessionPoint `json:"sessions"`
	History  []historyPoint `json:"history"`
	Clients  []clientPoint  `json:"clients"`
}

// rate is how commands fared.
type rate struct {
	PerSecond float64       `json:"commandsPerSecond"`
	P50       time.Duration `json:"p50Ns"`
	P99       time.Duration `json:"p99Ns"`
	Refused   int64         `json:"refused"`
	Failed    int64         `json:"failed"`
}

func rateOf(r *load.Result) rate {
	return rate{r.PerSecond(), r.Quantile(0.5), r.Quantile(0.99), r.Refused, r.Failed}
}

// sessionPoint is an engine with a number of sessions, and 256 clients.
type sessionPoint struct {
	N int `json:"sessions"`
	rate
	CreatedPerSecond float64       `json:"createdPerSecond"`
	Memory           int64         `json:"residentBytes"`
	Disk             int64         `json:"diskBytes"`
	List             time.Duration `json:"listPageNs"`
	Scan             time.Duration `json:"cleanupScanNs"`
	Restart          time.Duration `json:"restartToFirstAnswerNs"`
}

// historyPoint is sessions with a number of commits each, and 16 clients.
type historyPoint struct {
	N int `json:"commits"`
	rate
	Page time.Duration `json:"historyPageNs"`
	At   time.Duration `json:"atMiddleNs"`
}

// clientPoint is a number of clients, and 10,000 sessions.
type clientPoint struct {
	N int `json:"clients"`
	rate
}

func (w *work) measure(ctx context.Context, r *result) error {
	for _, n := range w.sessions {
		p, err := w.withSessions(ctx, n)
		if err != nil {
			return fmt.Errorf("%d sessions: %w", n, err)
		}
		_, _ = fmt.Fprintf(w.tell, "%8d sessions  %7.0f/s  p99 %s  %d MB  restart %s\n", n, p.PerSecond, p.P99, p.Memory>>20, p.Restart)
		r.Sessions = append(r.Sessions, *p)
	}
	if err := w.fresh(ctx, func(s *served) error { return w.withClients(ctx, s, r) }); err != nil {
		return err
	}
	return w.fresh(ctx, func(s *served) error { return w.withHistory(ctx, s, r) })
}

// fresh runs f on a new server with an empty directory.
func (w *work) fresh(ctx context.Context, f func(*served) error) error {
	dir, err := os.MkdirTemp("", "reprise-growth-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := serve(ctx, w.reprise, dir)
	if err != nil {
		return err
	}
	defer s.stop(ctx)
	return f(s)
}

func (w *work) withSessions(ctx context.Context, n int) (*sessionPoint, error) {
	p := &sessionPoint{N: n}
	err := w.fresh(ctx, func(s *served) error {
		l, err := load.New(load.Config{Conns: s.conns, Names: contract.Default(), Run: "s", Clients: min(usualClients, n), Sessions: n})
		if err != nil {
			return err
		}
		p.CreatedPerSecond = l.Create(ctx).PerSecond()
		p.rate = rateOf(l.For(ctx, w.lasts))
		p.Memory, p.Disk = s.memory(), s.disk()
		c, err := s.as("u1")
		if err != nil {
			return err
		}
		if p.List, err = median(func() error { _, err := c.List(ctx, contract.ListRequest{}); return err }); err != nil {
			return err
		}
		began := time.Now()
		if _, _, err := c.Scan(ctx, contract.CleanupRequest{}, func(contract.CleanupProgress) {}); err != nil {
			return err
		}
		p.Scan = time.Since(began)
		p.Restart, err = restart(ctx, s)
		return err
	})
	return p, err
}

// restart ends the server, starts it again and returns how long it took until a
// command was answered.
func restart(ctx context.Context, s *served) (time.Duration, error) {
	s.stop(ctx)
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	c, err := s.as("u1")
	if err != nil {
		return 0, err
	}
	for {
		_, err := c.Do(ctx, "after-the-restart", &domain.Create{Definition: domain.Definition{KeepOpen: true}})
		if err == nil || ctx.Err() != nil || time.Since(began) > startPatience {
			return time.Since(began), err
		}
		time.Sleep(pollPause)
	}
}

func (w *work) withClients(ctx context.Context, s *served, r *result) error {
	for _, n := range w.clients {
		l, err := load.New(load.Config{Conns: s.conns, Names: contract.Default(), Run: fmt.Sprint("c", n), Clients: n, Sessions: max(n, usualSessions)})
		if err != nil {
			return err
		}
		l.Create(ctx)
		p := clientPoint{N: n, rate: rateOf(l.For(ctx, w.lasts))}
		_, _ = fmt.Fprintf(w.tell, "%8d clients   %7.0f/s  p99 %s\n", n, p.PerSecond, p.P99)
		r.Clients = append(r.Clients, p)
	}
	return nil
}

// withHistory grows the same sessions from one length to the next.
func (w *work) withHistory(ctx context.Context, s *served, r *result) error {
	c, err := s.as("u1")
	if err != nil {
		return err
	}
	long := &grower{c: c}
	for _, n := range w.history {
		if err := long.grow(ctx, n); err != nil {
			return err
		}
		p := historyPoint{N: n, rate: long.measure(ctx)}
		p.Page, err = median(func() error {
			_, err := c.History(ctx, contract.HistoryRequest{Session: "long0", Limit: min(n, contract.MaxPage)})
			return err
		})
		if err != nil {
			return err
		}
		p.At, err = median(func() error {
			_, err := c.At(ctx, contract.AtRequest{Session: "long0", Version: uint64(max(1, n/2))})
			return err
		})
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(w.tell, "%8d commits   %7.0f/s  p99 %s  history %s  at %s\n", n, p.PerSecond, p.P99, p.Page, p.At)
		r.History = append(r.History, p)
	}
	return nil
}

// median asks a few times and returns the middle of how long it took.
func median(ask func() error) (time.Duration, error) {
	took := make([]time.Duration, 0, samples)
	for range samples {
		began := time.Now()
		if err := ask(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	return middle(took), nil
}
