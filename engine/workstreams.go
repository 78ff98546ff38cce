package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
)

const (
	// workTimeout bounds one call to the server about tasks and leases.
	workTimeout = 5 * time.Second
	// workAge is how long the server keeps a task; one that nobody fetched in
	// that time is offered again.
	workAge = 7 * 24 * time.Hour
	// leaseAge is how long it keeps a sign of life, whatever the lease.
	leaseAge = 4 * time.Duration(maxLease)
	// codeSubjectFull is the server's error for a second message on a subject of
	// a stream that takes one: 10077, JSStreamStoreFailedF.
	codeSubjectFull jetstream.ErrorCode = 10077
)

// workStreams are the streams of tasks and of leases. Neither allows direct
// gets, so that reads go through the leader. It is safe for concurrent use.
type workStreams struct {
	js            jetstream.JetStream
	names         contract.Names
	replicas      int
	tasks, leases jetstream.Stream
}

// openWorkStreams makes both streams or checks those that are there.
func openWorkStreams(ctx context.Context, nc *nats.Conn, names contract.Names, replicas int) (*workStreams, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(workTimeout))
	if err != nil {
		return nil, err
	}
	w := &workStreams{js: js, names: names, replicas: replicas}
	if w.tasks, err = ensureStream(ctx, js, w.tasksConfig()); err != nil {
		return nil, err
	}
	w.leases, err = ensureStream(ctx, js, w.leasesConfig())
	return w, err
}

// ensure makes again what is missing: a server that was started anew has lost
// what was in its memory.
func (w *workStreams) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	_, err := ensureStream(ctx, w.js, w.tasksConfig())
	if err == nil {
		_, err = ensureStream(ctx, w.js, w.leasesConfig())
	}
	return err
}

// tasksConfig keeps tasks in memory on one replica: whoever holds next offers
// them again.
func (w *workStreams) tasksConfig() jetstream.StreamConfig {
	storage := jetstream.MemoryStorage
	if w.replicas > 1 {
		storage = jetstream.FileStorage
	}
	return jetstream.StreamConfig{
		Name: w.names.WorkStream(), Subjects: []string{w.allTasks()},
		Description: "Reprise: steps that workers may claim",
		Retention:   jetstream.WorkQueuePolicy, Storage: storage, Replicas: w.replicas, MaxAge: workAge,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
	}
}

func (w *workStreams) leasesConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: w.names.LeaseStream(), Subjects: []string{allLeases(w.names)},
		Description: "Reprise: the last sign of life of every attempt in flight",
		Retention:   jetstream.LimitsPolicy, Storage: jetstream.MemoryStorage, Replicas: w.replicas, MaxAge: leaseAge,
		MaxMsgsPerSubject: 1, AllowMsgTTL: true,
	}
}

func (w *workStreams) allTasks() string { return w.names.Prefix() + ".work.>" }

// remove takes a task out of the stream, if it is still there.
func (w *workStreams) remove(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	err := w.tasks.DeleteMsg(ctx, seq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("withdraw task %d: %w", seq, err)
	}
	return nil
}

// last reads the task on a subject, or gives jetstream.ErrMsgNotFound.
func (w *workStreams) last(ctx context.Context, subject string) (uint64, contract.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	m, err := w.tasks.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return 0, contract.Task{}, err
	}
	return m.Sequence, readTask(m.Data), nil
}

// next reads the first task at a sequence or behind it, or gives
// jetstream.ErrMsgNotFound.
func (w *workStreams) next(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	return w.tasks.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(w.allTasks()))
}

// subjects returns on which subjects there are tasks.
func (w *workStreams) subjects(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	info, err := w.tasks.Info(ctx, jetstream.WithSubjectFilter(w.allTasks()))
	if err != nil {
		return nil, fmt.Errorf("read the stream of tasks: %w", err)
	}
	return info.State.Subjects, nil
}

func subjectFull(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeSubjectFull
}

// readTask reads the body of a task; one that is none is of no attempt.
func readTask(body []byte) contract.Task {
	var task contract.Task
	if json.Unmarshal(body, &task) != nil {
		return contract.Task{}
	}
	return task
}
