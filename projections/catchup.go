package projections

import (
	"context"

	"reprise/eventstore"
)

// catching folds old commits into batches of views. While one batch is being put
// the next one is folded, so no more than two are in memory.
type catching struct {
	t     *tenure
	fold  *folder
	batch map[eventstore.Key]eventstore.Aggregate
	last  eventstore.Committed // the last commit in the batch
	// ahead are sessions that had to be loaded and so came in a later state:
	// their commits up to there change nothing.
	ahead map[eventstore.Key]uint64
	full  chan fullBatch
}

// fullBatch is a batch on its way to the writer; it covers everything up to a
// sequence.
type fullBatch struct {
	views map[eventstore.Key]eventstore.Aggregate
	last  eventstore.Committed
	upTo  uint64
}

// catchUp folds the commits behind from, up to and with to, into views.
func (t *tenure) catchUp(ctx context.Context, from, to uint64) error {
	defer t.v.setRebuilding(false)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	c := &catching{
		t: t, fold: newFolder(t.v.cfg.FoldLimit, t.v.cfg.Source), last: t.anchor,
		batch: map[eventstore.Key]eventstore.Aggregate{}, ahead: map[eventstore.Key]uint64{}, full: make(chan fullBatch),
	}
	written := make(chan error, 1)
	go func() {
		defer stop()
		written <- c.write(ctx)
	}()
	err := c.read(reading, from, to)
	close(c.full)
	if failed := <-written; failed != nil {
		return failed
	}
	return err
}

// read folds everything and hands on the batches.
func (c *catching) read(ctx context.Context, from, to uint64) error {
	if from < to {
		err := c.t.v.cfg.Source.Scan(ctx, eventstore.Filter{From: from + 1, To: to}, func(commit eventstore.Committed, err error) error {
			if err == nil {
				err = c.take(ctx, commit)
			}
			if err != nil || len(c.batch) < c.t.v.cfg.MaxBatch {
				return c.t.passDamage(err)
			}
			return c.hand(ctx, commit.Seq)
		})
		if err != nil {
			return err
		}
	}
	return c.hand(ctx, to)
}

// take folds one commit into the batch.
func (c *catching) take(ctx context.Context, commit eventstore.Committed) error {
	if !c.passed(commit) {
		a, err := c.fold.fold(ctx, commit)
		if err != nil {
			return err
		}
		if a.Seq > commit.Seq {
			c.ahead[commit.Key] = a.Seq
		}
		c.batch[commit.Key] = a
	}
	c.last = commit
	c.t.v.stats.commits.Add(1)
	c.t.v.meter.add(1)
	return nil
}

// passed reports whether the commit is in a state that was loaded before.
func (c *catching) passed(commit eventstore.Committed) bool {
	at, ok := c.ahead[commit.Key]
	if ok && commit.Seq >= at {
		delete(c.ahead, commit.Key)
	}
	return ok && commit.Seq <= at
}

// hand gives the batch to the writer and begins another one.
func (c *catching) hand(ctx context.Context, upTo uint64) error {
	select {
	case c.full <- fullBatch{c.batch, c.last, upTo}:
		c.batch = make(map[eventstore.Key]eventstore.Aggregate, len(c.batch))
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write puts one batch after another, each with its checkpoint.
func (c *catching) write(ctx context.Context) error {
	for b := range c.full {
		c.t.anchor = b.last
		if err := c.t.write(ctx, b.views, b.upTo); err != nil {
			return err
		}
	}
	return nil
}
