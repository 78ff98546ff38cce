package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"reprise/bench/load"
	"reprise/bench/proc"
)

// loader is the harness's end of a load program.
type loader struct {
	child *proc.Child
	// ask and tell are this end of the pipes, theirs the other.
	ask, tell *os.File
	theirs    []*os.File
	reports   chan load.Report
	encode    *json.Encoder
}

// newLoader gives cmd the pipes of the protocol.
func newLoader(cmd *exec.Cmd) (*loader, error) {
	in, ask, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	tell, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), ask.Close())
	}
	cmd.Stdin, cmd.Stdout = in, out
	return &loader{ask: ask, tell: tell, theirs: []*os.File{in, out}, reports: make(chan load.Report), encode: json.NewEncoder(ask)}, nil
}

// started closes the child's ends, which it has its own of, and reads on.
func (l *loader) started() {
	for _, f := range l.theirs {
		_ = f.Close()
	}
	go l.read()
}

// read hands over what the program reports until it ends.
func (l *loader) read() {
	defer close(l.reports)
	for dec := json.NewDecoder(l.tell); ; {
		var r load.Report
		if err := dec.Decode(&r); err != nil {
			// What is no report is said by what follows: nothing.
			_, _ = io.Copy(io.Discard, l.tell)
			return
		}
		l.reports <- r
	}
}

// close ends the pipes; the program must have been stopped.
func (l *loader) close() {
	_ = l.ask.Close()
	for range l.reports {
		// What is left is read so that read can end.
		continue
	}
	_ = l.tell.Close()
}

// next waits for a report, which must be the wanted one.
func (l *loader) next(ctx context.Context, want string) (load.Report, error) {
	select {
	case r, ok := <-l.reports:
		switch {
		case !ok:
			return r, fmt.Errorf("the load program ended: %w", l.child.Failure())
		case r.Event == load.EventError:
			return r, fmt.Errorf("a session failed: %s", r.Message)
		case r.Event != want:
			return r, fmt.Errorf("the load program said %q where %q was due", r.Event, want)
		}
		return r, nil
	case <-ctx.Done():
		return load.Report{}, fmt.Errorf("the load program did not say %q in time: %w", want, ctx.Err())
	}
}

func (l *loader) ready(ctx context.Context, child *proc.Child) error {
	l.child = child
	_, err := l.next(ctx, load.EventReady)
	return err
}

// run asks for a phase. begin and end are called when the window opens and
// closes.
func (l *loader) run(ctx context.Context, p load.Phase, begin, end func() error) (load.Report, error) {
	if err := l.encode.Encode(p); err != nil {
		return load.Report{}, fmt.Errorf("the load program does not listen: %w", err)
	}
	if _, err := l.next(ctx, load.EventBegin); err != nil {
		return load.Report{}, err
	}
	if err := begin(); err != nil {
		return load.Report{}, err
	}
	r, err := l.next(ctx, load.EventEnd)
	if err != nil {
		return r, err
	}
	if err := end(); err != nil {
		return r, err
	}
	_, err = l.next(ctx, load.EventIdle)
	return r, err
}
