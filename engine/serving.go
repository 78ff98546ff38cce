package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// servedFor is how long an action counts as served after a worker was last
	// seen to wait for its tasks, or got one: between two pulls nobody waits.
	servedFor = 5 * time.Second
	// servingFresh is how old an answer to "which actions are served" may be.
	servingFresh = time.Second
	// servingPatience bounds how long a list waits for the server to say it.
	servingPatience = 500 * time.Millisecond
)

// serving knows for the tasks of which actions a worker waits: the durable
// consumers of REPRISE_WORK with a pull request on them. The server is asked when
// somebody wants to know, once a servingFresh at most. It is safe for concurrent
// use.
type serving struct {
	// consumers lists those of all actions.
	consumers func(context.Context) ([]*jetstream.ConsumerInfo, error)
	log       *slog.Logger

	mu    sync.Mutex
	asked time.Time
	// told is when the server last answered.
	told time.Time
	// seen is when a worker for an action was last known to be there; served are
	// those for which that is not too long ago. served is never changed, but made
	// anew.
	seen   map[string]time.Time
	served map[string]bool
}

func newServing(streams *workStreams, log *slog.Logger) *serving {
	return &serving{consumers: streams.consumers, log: log, seen: map[string]time.Time{}}
}

// actions returns the actions that are served, as of less than servingFresh ago,
// and not to be changed; false if the server hasn't said so for longer than they
// count as served.
func (s *serving) actions() (map[string]bool, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.asked) > servingFresh {
		s.asked = now
		s.ask(now)
		s.forget(now)
	}
	return s.served, !s.told.IsZero() && s.asked.Sub(s.told) < servedFor
}

// ask asks the server; the caller holds the lock.
func (s *serving) ask(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), servingPatience)
	defer cancel()
	infos, err := s.consumers(ctx)
	if err != nil {
		s.log.Debug("the server does not say for which actions workers wait", "error", err)
		return
	}
	s.told = now
	for _, info := range infos {
		if at, ok := lastWorker(info, now); ok {
			s.seen[info.Name] = at
		}
	}
}

// forget leaves out the actions for which no worker was there for too long; the
// caller holds the lock.
func (s *serving) forget(now time.Time) {
	s.served = make(map[string]bool, len(s.seen))
	for action, at := range s.seen {
		if now.Sub(at) < servedFor {
			s.served[action] = true
		} else {
			delete(s.seen, action)
		}
	}
}

// lastWorker says when a worker was last there for the consumer of an action. The
// server's times are compared with the server's clock alone.
func lastWorker(info *jetstream.ConsumerInfo, now time.Time) (time.Time, bool) {
	if info.NumWaiting > 0 {
		return now, true
	}
	if info.Delivered.Last == nil || info.TimeStamp.IsZero() {
		return time.Time{}, false
	}
	ago := max(info.TimeStamp.Sub(*info.Delivered.Last), 0)
	return now.Add(-ago), ago < servedFor
}

// consumers lists the consumers of all actions.
func (w *workStreams) consumers(ctx context.Context) ([]*jetstream.ConsumerInfo, error) {
	var infos []*jetstream.ConsumerInfo
	list := w.tasks.ListConsumers(ctx)
	for info := range list.Info() {
		infos = append(infos, info)
	}
	return infos, list.Err()
}
