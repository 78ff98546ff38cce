package eventstore

import (
	"context"
	"runtime"
	"sync"
)

const (
	// scanAhead is how many messages are decoded at a time, and the length from
	// which on a scan does so beside reading.
	scanAhead = 128
	// scanBytes ends such a batch early, so that large commits don't pile up.
	scanBytes = 256 << 10
	// scanBatches is how many batches may be ahead of the caller.
	scanBatches = 16
	// scanDecoders bounds the goroutines that decode.
	scanDecoders = 8
)

// scanBatch are messages that follow one another.
type scanBatch struct {
	messages []Message
	commits  []decoded
	done     chan struct{} // closed when commits has one for each message
}

// scanner is a scan in three stages: the driver's goroutine reads, some decode,
// and the caller's gets the commits in the order of the stream.
type scanner struct {
	s       *Store
	ordered chan *scanBatch // as they were read
	todo    chan *scanBatch // the same, for whoever decodes
}

// scanAhead is Scan with the decoding beside the reading.
func (s *Store) scanAhead(ctx context.Context, f Filter, fn func(Committed, error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	sc := &scanner{s: s, ordered: make(chan *scanBatch, scanBatches), todo: make(chan *scanBatch, scanBatches)}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range min(runtime.GOMAXPROCS(0), scanDecoders) {
		wg.Go(sc.decode)
	}
	read := make(chan error, 1)
	wg.Go(func() { read <- sc.read(ctx, f) })
	if err := sc.deliver(ctx, fn); err != nil {
		return err
	}
	return <-read
}

// read is the first stage. It ends both queues, whatever happens.
func (sc *scanner) read(ctx context.Context, f Filter) error {
	defer close(sc.ordered)
	defer close(sc.todo)
	batch, size := make([]Message, 0, scanAhead), 0
	err := sc.s.driver.Scan(ctx, f, func(m Message) error {
		size += len(m.Body)
		if batch = append(batch, m); len(batch) < scanAhead && size < scanBytes {
			return nil
		}
		full := batch
		batch, size = make([]Message, 0, scanAhead), 0
		return sc.pass(ctx, full)
	})
	if len(batch) > 0 {
		// What was read before an error is delivered before it.
		if late := sc.pass(ctx, batch); err == nil {
			err = late
		}
	}
	return err
}

// pass hands messages on to both other stages.
func (sc *scanner) pass(ctx context.Context, messages []Message) error {
	b := &scanBatch{messages: messages, done: make(chan struct{})}
	for _, queue := range []chan *scanBatch{sc.todo, sc.ordered} {
		select {
		case queue <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// decode is the second stage.
func (sc *scanner) decode() {
	for b := range sc.todo {
		b.commits = make([]decoded, len(b.messages))
		for i, m := range b.messages {
			c, err := sc.s.codec.Decode(m)
			b.commits[i] = decoded{c, err}
		}
		close(b.done)
	}
}

// deliver is the third stage. Damage is reported here, where it is in order and
// where somebody sees it.
func (sc *scanner) deliver(ctx context.Context, fn func(Committed, error) error) error {
	for b := range sc.ordered {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, c := range b.commits {
			if c.err != nil {
				sc.s.reportDamage(c.err)
			}
			if err := fn(c.Committed, c.err); err != nil {
				return err
			}
		}
	}
	return nil
}
