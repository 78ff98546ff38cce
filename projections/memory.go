package projections

import (
	"bytes"
	"context"
	"maps"
	"sync"
)

// MemoryViews is a ViewStore in memory, for tests and throw-away engines. It is
// safe for concurrent use.
type MemoryViews struct {
	mu         sync.Mutex
	views      map[string]View
	checkpoint Checkpoint
	epoch      uint64
}

// NewMemoryViews returns an empty store.
func NewMemoryViews() *MemoryViews { return &MemoryViews{views: map[string]View{}} }

// Open takes the role of the writer.
func (m *MemoryViews) Open(ctx context.Context) (ViewWriter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	return &memoryWriter{store: m, epoch: m.epoch}, ctx.Err()
}

// Get returns one view, or ErrNoView.
func (m *MemoryViews) Get(_ context.Context, key string) (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.views[key]
	if !ok {
		return View{}, ErrNoView
	}
	return v, nil
}

// Scan calls fn for every view as they are at the start.
func (m *MemoryViews) Scan(ctx context.Context, bodies bool, fn func(View) error) error {
	m.mu.Lock()
	views := maps.Clone(m.views)
	m.mu.Unlock()
	for _, v := range views {
		if !bodies {
			v.Body = nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoint returns the last checkpoint.
func (m *MemoryViews) Checkpoint(context.Context) (Checkpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.checkpoint, nil
}

// memoryWriter is a writer as long as no other one was opened.
type memoryWriter struct {
	store *MemoryViews
	epoch uint64
}

// Write puts and purges.
func (w *memoryWriter) Write(ctx context.Context, views []View) error {
	return w.guarded(ctx, func(m *MemoryViews) {
		for _, v := range views {
			if v.Body == nil {
				delete(m.views, v.Key)
				continue
			}
			m.views[v.Key] = View{Key: v.Key, Body: bytes.Clone(v.Body), Index: bytes.Clone(v.Index)}
		}
	})
}

// SetCheckpoint stores the checkpoint.
func (w *memoryWriter) SetCheckpoint(ctx context.Context, c Checkpoint) error {
	return w.guarded(ctx, func(m *MemoryViews) { m.checkpoint = c })
}

// Wipe removes everything.
func (w *memoryWriter) Wipe(ctx context.Context) error {
	return w.guarded(ctx, func(m *MemoryViews) {
		m.checkpoint = Checkpoint{}
		clear(m.views)
	})
}

func (w *memoryWriter) guarded(ctx context.Context, fn func(*MemoryViews)) error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.epoch != w.store.epoch {
		return ErrFenced
	}
	fn(w.store)
	return nil
}
