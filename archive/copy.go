package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"reprise/eventstore"
)

// maxRounds bounds how often Copy looks for what came late.
const maxRounds = 16

// ErrStillWritten says that somebody goes on commanding a store that is copied.
var ErrStillWritten = errors.New("the source is still being written to; make it read-only first")

// ErrDiffers says that a copy is not what it was made of.
var ErrDiffers = errors.New("the copy differs from the source")

// CopyOptions say how Copy works; the zero value will do.
type CopyOptions struct {
	// Checkpoints keep how far it is; nil begins anew every time, which is slower
	// and does no harm.
	Checkpoints Checkpoints
	// Run names this copy: a checkpoint of another run is not used.
	Run string
	// Progress is called as sessions are done, by several goroutines; it may be
	// nil.
	Progress func(Progress)
}

// CopyReport says what was done. Sessions and Commits count all that the source
// holds, tombstones among them; Written are the commits that this call appended,
// Compared the sessions that were found to be the same, byte for byte.
type CopyReport struct {
	Sessions   uint64 `json:"sessions"`
	Tombstones uint64 `json:"tombstones"`
	Commits    uint64 `json:"commits"`
	Bytes      uint64 `json:"bytes"`
	Written    uint64 `json:"written"`
	Compared   uint64 `json:"compared"`
	// Resumed says that an earlier run had begun it.
	Resumed bool `json:"resumed"`
}

// Copy brings every session and every tombstone of one store into another, with
// ids, times and histories, and then compares all of them. What is there is left
// as it is, so that a copy that was killed goes on. Nobody may command the
// source, and nobody those sessions in the target, meanwhile.
//
// The errors are ErrClash (a session is in the target with another history),
// ErrStillWritten, ErrDiffers, eventstore.ErrCorrupt (a history of the source
// can't be verified), those of the stores, and the context's.
func Copy(ctx context.Context, from, to *eventstore.Store, o CopyOptions) (CopyReport, error) {
	if o.Checkpoints == nil {
		o.Checkpoints = new(forgetful)
	}
	c := &copying{from: from, to: to, o: o}
	if err := c.resume(ctx); err != nil {
		return c.report, err
	}
	if c.at.Phase == phaseCopy {
		if err := c.copyAll(ctx); err != nil {
			return c.report, err
		}
	}
	err := c.compareAll(ctx)
	if errors.Is(err, ErrDiffers) || errors.Is(err, ErrStillWritten) {
		c.at = Checkpoint{} // the next run copies again what differs
		err = errors.Join(err, c.o.Checkpoints.Save(ctx, c.at))
	}
	return c.report, err
}

// copying is one run of Copy.
type copying struct {
	from, to *eventstore.Store
	o        CopyOptions
	at       Checkpoint

	mu     sync.Mutex
	report CopyReport
}

// resume finds out where to begin.
func (c *copying) resume(ctx context.Context) error {
	at, err := c.o.Checkpoints.Load(ctx)
	if err != nil {
		return err
	}
	here := c.from.Position(0).Incarnation
	if at.Source == here && at.Run == c.o.Run && at.Next > 0 {
		c.at, c.report.Resumed = at, true
		return nil
	}
	c.at = Checkpoint{Source: here, Run: c.o.Run, Phase: phaseCopy, Next: 1}
	return nil
}

// copyAll copies what enters the stream, and then what came late.
func (c *copying) copyAll(ctx context.Context) error {
	info, err := c.from.Info(ctx)
	if err != nil {
		return err
	}
	upTo := info.Last
	err = c.inChunks(ctx, upTo, func(a arrival) error { return c.copySession(ctx, a.key) })
	for round := 0; err == nil; round++ {
		info, err = c.from.Info(ctx)
		switch {
		case err != nil || info.Last == upTo:
			return errors.Join(err, c.turn(ctx))
		case round == maxRounds:
			return ErrStillWritten
		}
		err = c.copyLate(ctx, upTo+1, info.Last)
		upTo = info.Last
	}
	return err
}

// turn goes on to the comparison.
func (c *copying) turn(ctx context.Context) error {
	c.at.Phase, c.at.Next = phaseCompare, 1
	return c.o.Checkpoints.Save(ctx, c.at)
}

// copyLate copies the sessions that were changed after the copy began.
func (c *copying) copyLate(ctx context.Context, from, to uint64) error {
	late := map[eventstore.Key]struct{}{}
	err := c.from.Raw(ctx, eventstore.Filter{From: from, To: to, HeadersOnly: true}, func(m eventstore.Message) error {
		if m.Guarded {
			late[m.Key] = struct{}{}
		}
		return nil
	})
	for key := range late {
		if err == nil {
			err = c.copySession(ctx, key)
		}
	}
	return err
}

// inChunks does something with all sessions, several at once, and notes how far
// it is.
func (c *copying) inChunks(ctx context.Context, upTo uint64, do func(arrival) error) error {
	return eachArrival(ctx, c.from, "", c.at.Next, upTo, func(found []arrival, next uint64) error {
		if err := together(ctx, found, do); err != nil {
			return err
		}
		c.at.Next = next
		return c.o.Checkpoints.Save(ctx, c.at)
	})
}

// together does something with several sessions at once. It returns the first
// error after all that were begun have ended.
func together(ctx context.Context, list []arrival, do func(arrival) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	work := make(chan arrival)
	for range min(parallel, len(list)) {
		workers.Go(func() {
			for a := range work {
				if ctx.Err() != nil {
					continue
				}
				if err := do(a); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, a := range list {
		work <- a
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// copySession brings one session to where it is in the source.
func (c *copying) copySession(ctx context.Context, key eventstore.Key) error {
	h, err := readHistory(ctx, c.from, key, 0)
	if err != nil {
		return fmt.Errorf("session %s can't be copied: %w", key, err)
	}
	if h.count == 0 {
		return nil
	}
	r, err := newRestorer(ctx, c.to, key)
	if err != nil {
		return err
	}
	if r.agg.Hash != h.agg.Hash {
		err = h.each(ctx, c.from, func(commit held) error { return r.add(ctx, commit.version, commit.Original) })
		if err == nil && r.agg.Hash != h.agg.Hash {
			err = clashed(key, h.agg.Session.Version, "session %s is in the target with another history", key)
		}
	}
	if errors.Is(err, ErrClash) {
		err = c.firstDifference(ctx, h, err)
	}
	c.mu.Lock()
	c.report.Written += r.written
	at := Progress{Doing: "writing", Sessions: c.at.Sessions, Commits: c.report.Written}
	if err == nil {
		c.at.Sessions++
		at.Sessions++
	}
	c.mu.Unlock()
	if c.o.Progress != nil && err == nil {
		c.o.Progress(at)
	}
	return err
}

// firstDifference says at which version a clash begins.
func (c *copying) firstDifference(ctx context.Context, h *history, clash error) error {
	var theirs []string
	err := c.to.Commits(ctx, h.key, 1, func(have eventstore.Committed) error {
		theirs = append(theirs, have.Hash)
		return nil
	})
	if err != nil {
		return errors.Join(clash, err)
	}
	at, found := 0, uint64(0)
	err = h.each(ctx, c.from, func(commit held) error {
		if at >= len(theirs) || theirs[at] != eventstore.Hash(commit.Body) {
			found = commit.version
			return errEnough
		}
		at++
		return nil
	})
	if !errors.Is(err, errEnough) {
		return errors.Join(clash, err) // the target has gone on
	}
	return clashed(h.key, found, "session %s is in the target with another history: the first version that differs is %d; delete it there, or copy into an empty target", h.key, found)
}

// compareAll reads both stores and compares every session.
func (c *copying) compareAll(ctx context.Context) error {
	info, err := c.from.Info(ctx)
	if err != nil {
		return err
	}
	err = c.inChunks(ctx, info.Last, func(a arrival) error { return c.compareSession(ctx, a) })
	if err != nil {
		return err
	}
	after, err := c.from.Info(ctx)
	if err == nil && after.Last != info.Last {
		err = ErrStillWritten
	}
	if err == nil {
		c.at.Phase = phaseDone
		c.report.Sessions, c.report.Tombstones = c.at.Compared-c.at.Gone, c.at.Gone
		c.report.Compared, c.report.Commits, c.report.Bytes = c.at.Compared, c.at.Commits, c.at.Bytes
		err = c.o.Checkpoints.Save(ctx, c.at)
	}
	return err
}

// compareSession verifies one session in both stores and compares the bytes.
func (c *copying) compareSession(ctx context.Context, a arrival) error {
	there, err := readHistory(ctx, c.from, a.key, 0)
	if err != nil {
		return fmt.Errorf("session %s of the source: %w", a.key, err)
	}
	if there.gone() != a.tombstone {
		return nil // it is met again at its tombstone
	}
	here, err := readHistory(ctx, c.to, a.key, 0)
	if err != nil {
		return fmt.Errorf("session %s of the target: %w", a.key, err)
	}
	if here.count != there.count || here.digest != there.digest {
		return fmt.Errorf("%w: session %s has %d commits, the last of which hashes to %.16s; in the source %d and %.16s",
			ErrDiffers, a.key, here.count, here.agg.Hash, there.count, there.agg.Hash)
	}
	c.mu.Lock()
	c.at.Compared++
	c.at.Commits += there.count
	c.at.Bytes += there.bytes
	if there.gone() {
		c.at.Gone++
	}
	at := Progress{Doing: "comparing", Sessions: c.at.Compared, Commits: c.at.Commits, Bytes: c.at.Bytes, Of: c.at.Sessions}
	c.mu.Unlock()
	if c.o.Progress != nil {
		c.o.Progress(at)
	}
	return nil
}
