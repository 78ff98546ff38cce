package main

import (
	"sync"
	"time"

	"reprise/bench/proc"
)

// sampleEvery is how often memory is looked at: reading it walks the pages of a
// process, so not more often than needed to see a peak.
const sampleEvery = 500 * time.Millisecond

// usage returns what each role uses.
func (s *stage) usage() (map[role]proc.Usage, error) {
	sum := map[role]proc.Usage{}
	for _, m := range s.children {
		u, err := proc.Tree(m.child.PID())
		if err != nil {
			return nil, err
		}
		sum[m.role] = sum[m.role].Add(u)
	}
	return sum, nil
}

// held is the memory of the engine: what serves and what works, but not who
// starts sessions.
func held(u map[role]proc.Usage) int64 { return u[server].Memory + u[worker].Memory }

// peak watches the memory of a stage.
type peak struct {
	stop, stopped chan struct{}

	mu   sync.Mutex
	most int64
}

// watch looks until its end.
func (s *stage) watch() *peak {
	p := &peak{stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(p.stopped)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
			if u, err := s.usage(); err == nil {
				p.see(held(u))
			}
		}
	}()
	return p
}

func (p *peak) see(memory int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = max(p.most, memory)
}

// end stops watching and returns the most that was seen.
func (p *peak) end() int64 {
	close(p.stop)
	<-p.stopped
	return p.most
}
