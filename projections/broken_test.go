package projections

import (
	"context"
	"errors"
	"testing"

	"reprise/eventstore"
)

func TestViewsReportWhatTheyCantWrite(t *testing.T) {
	w := newWorld(t)
	a := w.create(key("ada", "s1"))
	store := NewMemoryViews()
	tn := &tenure{v: w.views(store), w: writer(t, store)}
	tn.v.cfg.Source = &failing{Source: w.store, left: 1, err: &eventstore.CommitError{}}
	err := tn.put(t.Context(), map[eventstore.Key]eventstore.Aggregate{a.Key: {}})
	if views := dump(t, store); len(views) != 0 || err != nil || w.report.count(eventstore.ErrCorrupt) != 1 {
		t.Errorf("%v %v", views, err)
	}
	tn.v.cfg.Source = &failing{Source: w.store, left: 1}
	if err = tn.put(t.Context(), map[eventstore.Key]eventstore.Aggregate{a.Key: {}}); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Error(err)
	}
	tn.w = tooLarge{}
	if err := tn.write(t.Context(), map[eventstore.Key]eventstore.Aggregate{a.Key: a}, 1); err != nil || w.report.count(ErrTooLarge) != 1 {
		t.Error(err)
	}
}

type tooLarge struct{ ViewWriter }

func (tooLarge) Write(context.Context, []View) error { return ErrTooLarge }

func TestViewsEndWithTheirStore(t *testing.T) {
	broken := errors.New("broken")
	for _, at := range []string{"open", "scan", "checkpoint", "write", "set"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t)
			w.create(key("ada", "s1"))
			v := w.views(&brokenViews{MemoryViews: NewMemoryViews(), at: at, err: broken})
			w.runner(v)
			if err := v.Run(t.Context()); !errors.Is(err, broken) {
				t.Error(err)
			}
			if v.Progress().Holding {
				t.Error("it still holds the role")
			}
		})
	}
}

// brokenViews fails at one thing.
type brokenViews struct {
	*MemoryViews
	at  string
	err error
}

func (b *brokenViews) fails(at string) error {
	if b.at == at {
		return b.err
	}
	return nil
}

func (b *brokenViews) Open(ctx context.Context) (ViewWriter, error) {
	w, err := b.MemoryViews.Open(ctx)
	return brokenWriter{w, b}, errors.Join(err, b.fails("open"))
}

func (b *brokenViews) Scan(ctx context.Context, bodies bool, fn func(View) error) error {
	return errors.Join(b.fails("scan"), b.MemoryViews.Scan(ctx, bodies, fn))
}

func (b *brokenViews) Checkpoint(ctx context.Context) (Checkpoint, error) {
	c, err := b.MemoryViews.Checkpoint(ctx)
	return c, errors.Join(err, b.fails("checkpoint"))
}

type brokenWriter struct {
	ViewWriter
	b *brokenViews
}

func (w brokenWriter) Write(ctx context.Context, views []View) error {
	return errors.Join(w.b.fails("write"), w.ViewWriter.Write(ctx, views))
}

func (w brokenWriter) SetCheckpoint(ctx context.Context, c Checkpoint) error {
	return errors.Join(w.b.fails("set"), w.ViewWriter.SetCheckpoint(ctx, c))
}
