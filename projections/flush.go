package projections

import (
	"context"
	"time"

	"reprise/eventstore"
)

const (
	// busyPuts is the number of puts in one flush from which on the writer
	// counts as under load: it lets changes fold for longer, and spreads the puts.
	busyPuts = 256
	// putChunk is how many views are encoded ahead of their put. A session that
	// changes before its turn is put once, as it is then.
	putChunk = 1024
	// pacedChunk is that of a flush under load, and pacedShare the part of the time
	// between two flushes over which its puts are spread. All at once they would
	// take a processor for half a second, and commands would wait.
	pacedChunk = 64
	pacedShare = 0.75
)

// flush puts everything marked and sets the pace of the next one.
func (t *tenure) flush(ctx context.Context) error {
	batch, upTo, moved := t.swap()
	if !moved {
		return nil
	}
	t.interval = max(t.interval/2, t.v.cfg.MinAge)
	if len(batch) >= busyPuts {
		t.interval = min(t.interval*4, t.v.cfg.MaxAge)
	}
	t.flushing = true
	defer func() {
		t.flushing = false
		t.v.wake() // the pauses may have taken what was to wake for the next one
	}()
	return t.write(ctx, batch, upTo)
}

// swap takes the marked changes and says up to where that is all there is, and
// whether anything has come since the last time.
func (t *tenure) swap() (batch map[eventstore.Key]eventstore.Aggregate, upTo uint64, moved bool) {
	v := t.v
	v.mu.Lock()
	defer v.mu.Unlock()
	batch = v.dirty
	v.dirty = make(map[eventstore.Key]eventstore.Aggregate, len(batch))
	if len(batch) > 0 {
		v.putting = v.oldest
	}
	moved = len(batch) > 0 || v.anchor.Seq > t.anchor.Seq
	if v.anchor.Seq > t.anchor.Seq {
		v.meter.add(v.anchor.Seq - t.anchor.Seq)
		t.anchor = v.anchor
	}
	return batch, v.seen, moved
}

// written says that nothing of a batch waits any more.
func (v *Views) written() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.putting = time.Time{}
}

// newest returns the state of a session to put: the one in the batch, or one that
// was marked since and so needs no put of its own.
func (v *Views) newest(key eventstore.Key, a eventstore.Aggregate) eventstore.Aggregate {
	v.mu.Lock()
	defer v.mu.Unlock()
	later, marked := v.dirty[key]
	if !marked {
		return a
	}
	delete(v.dirty, key)
	if later.Session != nil && later.Seq < a.Seq {
		return a
	}
	return later
}

// pace spreads the puts of a batch.
type pace struct {
	chunk int           // puts at a time
	turn  time.Duration // the time that each chunk is given; 0 for no time
	next  time.Time     // when the next chunk begins
}

// pace returns that of a batch: a catch-up goes as fast as it can, and so does a
// flush of few views, or one that somebody waits for.
func (t *tenure) pace(views int) *pace {
	if !t.flushing || views < busyPuts || t.v.hurried() {
		return &pace{chunk: putChunk}
	}
	chunks := (views + pacedChunk - 1) / pacedChunk
	return &pace{chunk: pacedChunk, turn: time.Duration(pacedShare*float64(t.interval)) / time.Duration(chunks), next: time.Now()}
}

// rest waits until the next chunk is due. Somebody who waits for the views, or
// too many changes, end the pauses of the batch.
func (v *Views) rest(ctx context.Context, p *pace) {
	p.next = p.next.Add(p.turn)
	for p.turn > 0 && time.Until(p.next) > 0 {
		if v.hurried() || ctx.Err() != nil {
			*p = pace{chunk: putChunk}
			return
		}
		timer := time.NewTimer(time.Until(p.next))
		select {
		case <-timer.C:
		case <-v.kick:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// hurried reports whether what is marked must not wait any longer.
func (v *Views) hurried() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pressed()
}

// pressed is hurried for who holds the lock.
func (v *Views) pressed() bool { return len(v.dirty) >= v.cfg.MaxBatch || v.gate.least() <= v.seen }
