package soak

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"reprise/worker"
)

// How a worker of the soak works. Its lease is short, so that others take over
// within the run when it is killed.
const (
	workerSlots = 16
	workerLease = 3 * time.Second
	// longestWork is what a step takes that neither fails nor hangs.
	longestWork = 40 * time.Millisecond
)

// work is the input of a step: how its attempts go.
type work struct {
	// Millis is how long an attempt takes; Hang makes it wait for its end.
	Millis int  `json:"millis,omitempty"`
	Hang   bool `json:"hang,omitempty"`
	// Fails is how many attempts fail; Panic and Permanent say how.
	Fails     int  `json:"fails,omitempty"`
	Panic     bool `json:"panic,omitempty"`
	Permanent bool `json:"permanent,omitempty"`
}

// entry is a line of a worker's log: an attempt began, or its handler returned.
type entry struct {
	Worker  string    `json:"worker"`
	User    string    `json:"user"`
	Session string    `json:"session"`
	Chain   string    `json:"chain"`
	Step    string    `json:"step"`
	Attempt int       `json:"attempt"`
	Ended   bool      `json:"ended,omitempty"`
	Cause   string    `json:"cause,omitempty"`
	At      time.Time `json:"at"`
}

// hire starts a worker process.
func hire(id, url, log string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), workerVariable+"="+id, serverVariable+"="+url, logVariable+"="+log)
	return launch(cmd)
}

// labour is a worker process: it serves both actions until it is told to stop.
func labour(id, url, path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return errors.Join(err, file.Close())
	}
	defer nc.Close()
	w, err := worker.New(nc, worker.Config{
		ID: id, Concurrency: workerSlots, Lease: workerLease, RequestTimeout: time.Second, DrainTimeout: time.Second,
	})
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l := &labourer{id: id, log: file}
	for _, action := range actions {
		w.Handle(action, l.run)
	}
	return errors.Join(w.Run(ctx), file.Close())
}

// labourer runs attempts and notes when.
type labourer struct {
	id  string
	log *os.File
}

// run does what the step's input says between two lines of the log.
func (l *labourer) run(ctx context.Context, t *worker.Task) (any, error) {
	if err := l.note(t, false, nil); err != nil {
		return nil, err
	}
	defer func() { _ = l.note(t, true, context.Cause(ctx)) }()
	var in work
	if err := t.Decode(&in); err != nil {
		return nil, err
	}
	moment := time.NewTimer(time.Duration(in.Millis) * time.Millisecond)
	defer moment.Stop()
	over := moment.C
	if in.Hang {
		over = nil
	}
	select {
	case <-over:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return in.result(t.Attempt)
}

// result is how an attempt ends.
func (in work) result(attempt int) (any, error) {
	if attempt > in.Fails {
		return map[string]int{"attempt": attempt}, nil
	}
	err := errors.New("this attempt was made to fail")
	switch {
	case in.Panic:
		panic(err)
	case in.Permanent:
		return nil, worker.Permanent(err)
	}
	return nil, err
}

// note writes a line with one call, so that it is there whole or not at all.
func (l *labourer) note(t *worker.Task, ended bool, cause error) error {
	e := entry{
		Worker: l.id, User: t.User, Session: t.Session, Chain: t.Chain, Step: t.Step,
		Attempt: t.Attempt, Ended: ended, At: time.Now().UTC(),
	}
	if cause != nil {
		e.Cause = cause.Error()
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = l.log.Write(append(line, '\n'))
	return err
}
