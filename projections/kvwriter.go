package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/domain"
	"reprise/internal/killpoint"
)

const (
	// writeWindow is the number of puts without an acknowledgement.
	writeWindow = 256
	// fenceGap is by how many messages a new writer moves the stream on: more
	// than the one before it can have in flight.
	fenceGap = writeWindow + 2
	// ackTimeout is how long a put may take. The server reads the block in which
	// the view before is, and a window of puts may be of as many blocks.
	ackTimeout = 30 * time.Second
	// replicatedTimeout is how long one may take on a cluster, where an
	// acknowledgement may be lost with the server that owed it.
	replicatedTimeout = 10 * time.Second
	// openTries bounds how often a new writer tries to fence the one before,
	// while that goes on writing.
	openTries = 20
	// headerRoom is what a put needs beside its body and index header, in bytes.
	headerRoom = 512
)

// The server's codes for a wrong expected last sequence.
const (
	codeWrongLast         jetstream.ErrorCode = 10071
	codeWrongLastConstant jetstream.ErrorCode = 10164
)

// kvWriter writes with one fence, the sequence of the whole stream: every
// message says which one has to be the last. As they are sent over one
// connection in order, each can name the one before it without waiting for its
// acknowledgement, on one replica and on several (a guard on the sequence of
// one fencing subject is refused on replicated streams while another one is in
// flight).
//
// That alone lets some through: when one message of somebody else comes between,
// the message of the window behind the one it displaced names just that
// sequence. So a new writer begins with fenceGap messages: what the one before
// it has in flight names sequences that are past then.
type kvWriter struct {
	views  *KVViews
	last   uint64 // the sequence of the stream when all in flight is stored
	window []jetstream.PubAckFuture
	broken error
}

// Open fences whoever wrote before, by writing the checkpoint over and over. A
// bucket that somebody deleted is made again; without a checkpoint in it
// everything is written anew.
func (k *KVViews) Open(ctx context.Context) (ViewWriter, error) {
	if err := k.remake(ctx); err != nil {
		return nil, err
	}
	for range openTries {
		w, err := k.open(ctx)
		if !errors.Is(err, ErrFenced) {
			return w, err
		}
	}
	return nil, fmt.Errorf("%w: %d times while taking over; end that writer", ErrFenced, openTries)
}

func (k *KVViews) open(ctx context.Context) (ViewWriter, error) {
	info, err := k.read.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the view bucket: %w", err)
	}
	c, err := k.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	w := &kvWriter{views: k, last: info.State.LastSeq}
	for range fenceGap {
		if err := w.putCheckpoint(ctx, c); err != nil {
			return nil, w.rest(ctx, err)
		}
	}
	if err := w.settle(ctx, 0); err != nil {
		return nil, w.rest(ctx, err)
	}
	return w, nil
}

// rest waits until the server has decided on all that is in flight after a
// failure: until then the end of the stream may move. It returns the failure.
func (w *kvWriter) rest(ctx context.Context, failure error) error {
	for _, future := range w.window {
		_ = acknowledged(ctx, future) // whether it was stored or not
	}
	w.window = nil
	return failure
}

// Write puts and purges, pipelined.
func (w *kvWriter) Write(ctx context.Context, views []View) error {
	var tooLarge []error
	for _, v := range views {
		if size := int64(len(v.Body) + len(v.Index) + headerRoom); size > w.views.limit {
			tooLarge = append(tooLarge, fmt.Errorf("%w: view %s has %d bytes and the server takes %d", ErrTooLarge, v.Key, size, w.views.limit))
			continue
		}
		if v.Body == nil {
			killpoint.Pass(killpoint.ViewRemoving)
		}
		if err := w.put(ctx, v); err != nil {
			return err
		}
	}
	if err := w.settle(ctx, 0); err != nil {
		return err
	}
	if slices.ContainsFunc(views, func(v View) bool { return v.Body == nil }) {
		killpoint.Pass(killpoint.ViewRemoved)
	}
	return errors.Join(tooLarge...)
}

// SetCheckpoint writes the checkpoint; the zero value purges it.
func (w *kvWriter) SetCheckpoint(ctx context.Context, c Checkpoint) error {
	if err := w.putCheckpoint(ctx, c); err != nil {
		return err
	}
	return w.settle(ctx, 0)
}

func (w *kvWriter) putCheckpoint(ctx context.Context, c Checkpoint) error {
	v := View{Key: checkpointKey}
	if c.Seq > 0 {
		raw, err := domain.Marshal(c)
		if err != nil {
			return err
		}
		v.Body = raw
	}
	return w.put(ctx, v)
}

// Wipe removes the checkpoint and then everything that is there now.
func (w *kvWriter) Wipe(ctx context.Context) error {
	if err := w.SetCheckpoint(ctx, Checkpoint{}); err != nil {
		return err
	}
	// Up to the checkpoint's marker alone: a writer that takes over now finds
	// no checkpoint and writes everything anew behind it.
	if err := w.views.read.Purge(ctx, jetstream.WithPurgeSequence(w.last)); err != nil {
		return w.fail(fmt.Errorf("purge the view bucket: %w", err))
	}
	return nil
}

// put sends one message and waits only if the window is full.
func (w *kvWriter) put(ctx context.Context, v View) error {
	if w.broken != nil {
		return w.broken
	}
	future, err := w.views.write.PublishMsgAsync(w.views.message(v), jetstream.WithExpectLastSequence(w.last), jetstream.WithRetryAttempts(0))
	if err != nil {
		return w.fail(fmt.Errorf("write view %s: %w", v.Key, err))
	}
	w.last++
	w.window = append(w.window, future)
	return w.settle(ctx, writeWindow)
}

// message makes the message of a put or of a purge marker. A marker has no
// time to live: one that has may let the value come back after a crash.
func (k *KVViews) message(v View) *nats.Msg {
	msg := nats.NewMsg(k.subject(v.Key))
	if v.Body == nil {
		msg.Header.Set(headerOperation, opPurge)
		msg.Header.Set(headerRollup, rollupSubject)
		return msg
	}
	msg.Data = v.Body
	if v.Index != nil {
		msg.Header.Set(contract.HeaderIndex, string(v.Index))
	}
	return msg
}

// settle waits until at most so many puts have no acknowledgement.
func (w *kvWriter) settle(ctx context.Context, most int) error {
	for w.broken == nil && len(w.window) > most {
		err := acknowledged(ctx, w.window[0])
		w.window = w.window[1:]
		if err != nil {
			return w.fail(err)
		}
	}
	return w.broken
}

// fail makes the writer unusable: what is in flight is unknown now, and the
// sequence with it.
func (w *kvWriter) fail(err error) error {
	w.broken = err
	return err
}

func acknowledged(ctx context.Context, future jetstream.PubAckFuture) error {
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return fence(err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ackPatience is how long a put into a bucket may take.
func ackPatience(replicas int) time.Duration {
	if replicas > 1 {
		return replicatedTimeout
	}
	return ackTimeout
}

// fence turns the refusals for a wrong last sequence into ErrFenced.
func fence(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == codeWrongLast || api.ErrorCode == codeWrongLastConstant) {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return err
}
