package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// What runs side by side, and how long everything lives until the next death.
const (
	engineCount = 2
	workerCount = 4
	calmLeast   = 1500 * time.Millisecond
	calmMore    = 3 * time.Second
	// stallLeast and stallMore bound how long a worker is stopped: about a lease.
	stallLeast = workerLease / 2
	stallMore  = workerLease
)

// town is all processes of a run and how they fared. One goroutine changes it.
type town struct {
	binary, home, url, logs string

	engines []*process
	workers []*hired
	// deaths is when a worker was dead at the latest, woken when a stalled one
	// went on last; both by worker.
	deaths, woken map[string]time.Time
	count         int
	did           map[string]int
	errs          []error
}

// hired is a worker process and its name.
type hired struct {
	*process

	id string
}

// settle starts everything.
func (w *town) settle() error {
	for range engineCount {
		p, err := serve(w.binary, w.home, w.url)
		if err != nil {
			return err
		}
		w.engines = append(w.engines, p)
	}
	for range workerCount {
		h, err := w.hire()
		if err != nil {
			return err
		}
		w.workers = append(w.workers, h)
	}
	return nil
}

// hire starts a worker with a new name.
func (w *town) hire() (*hired, error) {
	w.count++
	id := fmt.Sprintf("w%d", w.count)
	p, err := hire(id, w.url, filepath.Join(w.logs, id))
	if err != nil {
		return nil, err
	}
	return &hired{p, id}, nil
}

// haunt lets processes die at random times until ctx ends.
func (w *town) haunt(ctx context.Context, r *rand.Rand) {
	for len(w.errs) == 0 {
		calm := time.NewTimer(calmLeast + time.Duration(r.Int64N(int64(calmMore))))
		select {
		case <-ctx.Done():
			calm.Stop()
			return
		case <-calm.C:
		}
		if err := w.strike(r); err != nil {
			w.errs = append(w.errs, err)
		}
	}
}

// strike lets something happen to somebody.
func (w *town) strike(r *rand.Rand) error {
	engine, i := r.IntN(engineCount), r.IntN(workerCount)
	stall := stallLeast + time.Duration(r.Int64N(int64(stallMore)))
	switch r.IntN(8) {
	case 0:
		w.did["both engines killed"]++
		return w.replace(0, 1)
	case 1, 2, 3:
		w.did["engine killed"]++
		return w.replace(engine)
	case 4, 5, 6:
		w.did["worker killed"]++
		return w.dismiss(i)
	default:
		w.did["worker stalled"]++
		return w.stall(w.workers[i], stall)
	}
}

// replace kills engines, and then starts as many.
func (w *town) replace(which ...int) error {
	var errs []error
	for _, i := range which {
		errs = append(errs, w.engines[i].kill())
	}
	var wg sync.WaitGroup
	started := make([]error, len(which))
	for n, i := range which {
		wg.Go(func() {
			p, err := serve(w.binary, w.home, w.url)
			if err == nil {
				w.engines[i] = p
			}
			started[n] = err
		})
	}
	wg.Wait()
	return errors.Join(append(errs, started...)...)
}

// dismiss kills a worker and hires another one.
func (w *town) dismiss(i int) error {
	old := w.workers[i]
	err := old.kill()
	w.deaths[old.id] = time.Now()
	next, hireErr := w.hire()
	if hireErr == nil {
		w.workers[i] = next
	}
	return errors.Join(err, hireErr)
}

// stall stops a worker for a while, as a frozen machine would, and lets it go on.
func (w *town) stall(h *hired, length time.Duration) error {
	if err := freeze(h.cmd.Process); err != nil {
		return err
	}
	frozen := time.NewTimer(length)
	<-frozen.C
	err := thaw(h.cmd.Process)
	w.woken[h.id] = time.Now()
	return err
}

// retire asks all workers to stop and waits for them, so that their logs are
// complete.
func (w *town) retire() error {
	var errs []error
	for _, h := range w.workers {
		errs = append(errs, h.cmd.Process.Signal(syscall.SIGTERM))
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for _, h := range w.workers {
		select {
		case <-h.ended:
		case <-late.C:
			return fmt.Errorf("worker %s did not stop in time", h.id)
		}
	}
	return errors.Join(errs...)
}

// close kills whoever is left.
func (w *town) close() error {
	var errs []error
	for _, p := range w.engines {
		errs = append(errs, p.kill())
	}
	for _, h := range w.workers {
		errs = append(errs, h.kill())
	}
	return errors.Join(errs...)
}
