package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reprise/contract"
	"reprise/eventstore"
)

const (
	// finalFlush bounds how long the last put may take when Run is told to end.
	finalFlush = 5 * time.Second
)

// tenure is one call of Views.Run: the time in which this instance writes. It
// is for one goroutine, but for the sweep it starts.
type tenure struct {
	v        *Views
	w        ViewWriter
	frozen   map[string]bool // keys of views of a newer schema
	interval time.Duration
	anchor   eventstore.Committed // the last commit the stored views cover
	flushing bool                 // what is put was marked, and nothing older will follow
}

// Run takes the role of the writer: it catches up from the checkpoint and then
// keeps the views up to date until ctx ends, which gives nil after a last put.
// A checkpoint that is not on the event stream, or of another schema or other
// declared keys, makes it write every view anew. ErrFenced says that somebody
// else wrote. Run waits for the Runner to have started Views; after it returned
// it may be called again, but not before (ErrUsed).
func (v *Views) Run(ctx context.Context) error {
	if v.used.Swap(true) {
		return ErrUsed
	}
	defer v.used.Store(false)
	select {
	case <-v.begun:
	case <-ctx.Done():
		return nil
	}
	t := &tenure{v: v, frozen: map[string]bool{}, interval: v.cfg.MinAge}
	defer v.standBy()
	err := t.run(ctx)
	if ctx.Err() != nil && !errors.Is(err, ErrFenced) {
		return nil
	}
	return err
}

// join makes this instance the holder and returns how far the runner is: all
// that comes behind will be marked.
func (v *Views) join(covered uint64) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.holding, v.rebuilding, v.ended = true, true, make(chan struct{})
	v.gate.reset(covered)
	return v.seen
}

// standBy ends the role.
func (v *Views) standBy() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.holding {
		close(v.ended)
	}
	v.holding, v.rebuilding, v.putting = false, false, time.Time{}
	clear(v.dirty)
	v.gate.stop()
	v.gate.reset(0) // who comes now waits for the next time
}

func (t *tenure) run(ctx context.Context) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	base, err := t.base(ctx)
	if err != nil {
		return err
	}
	joined := t.v.join(base)
	if err := t.catchUp(ctx, base, joined); err != nil {
		return err
	}
	var wg sync.WaitGroup
	sweeping, cancel := context.WithCancel(ctx)
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { t.v.sweep(sweeping, t.frozen) })
	if err := t.live(ctx); err != nil {
		return err
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), finalFlush)
	defer stop()
	return t.flush(last)
}

// open fences other writers and notes which views must not be touched.
func (t *tenure) open(ctx context.Context) error {
	var err error
	if t.w, err = t.v.cfg.Store.Open(ctx); err != nil {
		return fmt.Errorf("projections: open the views: %w", err)
	}
	err = t.v.cfg.Store.Scan(ctx, false, func(view View) error {
		if e, err := parseEntry(view.Key, view.Index); err == nil && e.Schema > eventstore.SchemaVersion {
			t.frozen[view.Key] = true
			t.v.cfg.Report(fmt.Errorf("view %s is of schema %d and this engine knows %d: it is left as it is", view.Key, e.Schema, eventstore.SchemaVersion))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("projections: read the views: %w", err)
	}
	return nil
}

// base returns the sequence that the stored views cover, 0 if they cover
// nothing that can be proved.
func (t *tenure) base(ctx context.Context) (uint64, error) {
	info, err := t.v.cfg.Source.Info(ctx)
	if err != nil {
		return 0, err
	}
	c, err := t.v.cfg.Store.Checkpoint(ctx)
	if err != nil {
		return 0, fmt.Errorf("projections: read the checkpoint: %w", err)
	}
	if c.Seq == 0 || !c.fits(t.v.cfg.Declared) {
		return 0, nil
	}
	proven, err := c.proven(ctx, t.v.cfg.Source, info)
	if err != nil {
		return 0, err
	}
	if !proven {
		t.v.cfg.Report(fmt.Errorf("the views cover sequence %d of event stream %q, which is not in this one (%q, up to %d): they are written anew", c.Seq, c.Incarnation, info.Incarnation, info.Last))
		return 0, t.w.SetCheckpoint(ctx, Checkpoint{})
	}
	t.anchor = eventstore.Committed{Key: eventstore.Key{User: c.User, Session: c.Session}, Seq: c.Seq, Hash: c.Hash}
	return c.Seq, nil
}

// passDamage lets nothing but damaged commits pass; those it reports.
func (t *tenure) passDamage(err error) error {
	if !errors.Is(err, eventstore.ErrCorrupt) {
		return err
	}
	t.v.cfg.Report(err)
	return nil
}

func (v *Views) setRebuilding(on bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rebuilding = on
}

// live puts what the runner marks, until ctx ends, which gives nil.
func (t *tenure) live(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case job := <-t.v.jobs:
			err := t.serve(ctx, job)
			job.done <- err
			if err != nil {
				return err
			}
		case <-t.v.kick:
		case <-timer.C:
		}
		pause, waiting := t.v.due(t.interval)
		switch {
		case waiting && pause <= 0:
			if err := t.flush(ctx); err != nil {
				return err
			}
		case waiting:
			timer.Reset(pause)
		}
	}
}

// serve does what somebody waits for.
func (t *tenure) serve(ctx context.Context, job rebuild) error {
	if job.flush {
		return t.flush(ctx)
	}
	return t.rebuild(ctx)
}

// due returns how long the marked changes may still wait; false if there are
// none. They wait no longer when there are many or somebody waits for them.
func (v *Views) due(interval time.Duration) (time.Duration, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case len(v.dirty) == 0:
		v.gate.advance(v.seen) // what was skipped has no views to wait for
		return 0, false
	case v.pressed():
		return 0, true
	}
	return time.Until(v.oldest.Add(interval)), true
}

// write stores the views of a batch, then the checkpoint over it.
func (t *tenure) write(ctx context.Context, batch map[eventstore.Key]eventstore.Aggregate, upTo uint64) error {
	if err := t.put(ctx, batch); err != nil {
		return err
	}
	if t.anchor.Seq > 0 {
		if err := t.w.SetCheckpoint(ctx, t.checkpoint()); err != nil {
			return fmt.Errorf("projections: write the checkpoint: %w", err)
		}
	}
	t.v.written()
	t.v.gate.advance(upTo)
	return nil
}

// put encodes and stores the views of a batch, some at a time. Sessions whose
// history can't be read keep the view they have.
func (t *tenure) put(ctx context.Context, batch map[eventstore.Key]eventstore.Aggregate) error {
	p := t.pace(len(batch))
	views := make([]View, 0, min(len(batch), p.chunk))
	for key, a := range batch {
		if t.frozen[key.String()] {
			continue
		}
		if t.flushing {
			a = t.v.newest(key, a)
		}
		view, err := t.view(ctx, key, a)
		if errors.Is(err, eventstore.ErrCorrupt) {
			t.v.cfg.Report(err)
			continue
		}
		if err != nil {
			return err
		}
		if views = append(views, view); len(views) == p.chunk {
			if err := t.store(ctx, views); err != nil {
				return err
			}
			views = views[:0]
			t.v.rest(ctx, p)
		}
	}
	return t.store(ctx, views)
}

// store puts views; one that is too large is reported and left out.
func (t *tenure) store(ctx context.Context, views []View) error {
	err := t.w.Write(ctx, views)
	if errors.Is(err, ErrTooLarge) {
		t.v.cfg.Report(err)
	} else if err != nil {
		return fmt.Errorf("projections: write %d views: %w", len(views), err)
	}
	t.count(views)
	return nil
}

func (t *tenure) count(views []View) {
	for _, view := range views {
		if view.Body == nil {
			t.v.stats.purges.Add(1)
		} else {
			t.v.stats.puts.Add(1)
		}
	}
}

func (t *tenure) checkpoint() Checkpoint {
	return Checkpoint{
		Schema: eventstore.SchemaVersion, Declared: t.v.cfg.Declared, Incarnation: t.v.incarnation,
		Seq: t.anchor.Seq, Hash: t.anchor.Hash, User: t.anchor.Key.User, Session: t.anchor.Key.Session,
	}
}

// view makes the view of one session; one without a body where there is no
// such session, or no more.
func (t *tenure) view(ctx context.Context, key eventstore.Key, a eventstore.Aggregate) (View, error) {
	if a.Session == nil {
		var err error
		if a, err = load(ctx, t.v.cfg.Source, key); err != nil {
			return View{}, err
		}
	}
	if !a.Session.Exists() {
		return View{Key: contract.ViewKey(key.User, key.Session)}, nil
	}
	return encodeView(a, t.v.cfg.Declared)
}

// rebuild writes everything anew. What was marked meanwhile is put behind it.
func (t *tenure) rebuild(ctx context.Context) error {
	t.anchor = eventstore.Committed{}
	if err := t.wipe(ctx); err != nil {
		return fmt.Errorf("projections: remove the views: %w", err)
	}
	t.v.mu.Lock()
	upTo := t.v.seen
	t.v.rebuilding = true
	t.v.gate.reset(0)
	t.v.mu.Unlock()
	return t.catchUp(ctx, 0, upTo)
}

// wipe removes all views but those of a newer schema.
func (t *tenure) wipe(ctx context.Context) error {
	if len(t.frozen) == 0 {
		return t.w.Wipe(ctx)
	}
	if err := t.w.SetCheckpoint(ctx, Checkpoint{}); err != nil {
		return err
	}
	var purges []View
	err := t.v.cfg.Store.Scan(ctx, false, func(view View) error {
		if !t.frozen[view.Key] {
			purges = append(purges, View{Key: view.Key})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.w.Write(ctx, purges)
}
