package eventstore

import "context"

// tail fetches what a session has had since its last whole block, of which no
// block knows the sequences: one message after another, beside the reading of
// that block. What it has got are hints, as those of blocks are. It is for one
// goroutine; close it.
type tail struct {
	s    *Store
	head Message
	from uint64 // the block that the tail is in

	cancel context.CancelFunc // nil until it is started
	done   chan map[uint64]Message
}

// start begins to fetch.
func (t *tail) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.done = make(chan map[uint64]Message, 1)
	go func() { t.done <- t.fetch(ctx) }()
}

// fetch ends at the first message that can't be had: the walk asks again.
func (t *tail) fetch(ctx context.Context) map[uint64]Message {
	have := map[uint64]Message{}
	for m := t.head; m.Guarded && m.Prev > 0 && m.Prev < m.Seq && BlockOf(versionOf(m)) >= t.from; {
		next, err := t.s.driver.Get(ctx, m.Prev)
		if err != nil || next.Key != m.Key {
			break
		}
		have[next.Seq], m = next, next
	}
	return have
}

// wait returns what was fetched; nothing if it was not started.
func (t *tail) wait() map[uint64]Message {
	if t.cancel == nil {
		return nil
	}
	have := <-t.done
	t.cancel()
	t.cancel = nil
	return have
}

// close ends the fetching, and waits for that.
func (t *tail) close() {
	if t.cancel != nil {
		t.cancel()
		t.wait()
	}
}
