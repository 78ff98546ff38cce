package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"reprise/client"
	"reprise/contract"
	"reprise/domain"
	"reprise/engine"
	"reprise/internal/sessionfile"
	"reprise/natsnode"
)

// Workers of runs are named so that a later run knows whose steps were lost. One
// with embeddedWorker works beside its engine: it is dead as soon as somebody
// else holds the data directory.
const (
	runWorker      = "run-"
	embeddedWorker = runWorker + "embedded-"
)

// codeLeaseExpired is the code of an attempt whose worker was not heard of.
const codeLeaseExpired = "lease_expired"

// runner is one run of a session.
type runner struct {
	a      *app
	f      *runFlags
	served map[string]string
	file   *sessionfile.File
	names  contract.Names
	log    *slog.Logger

	link *link
	// engine is closed when the engine in this process has ended; nil without one.
	engine <-chan struct{}
	client *client.Client
	id     string
	board  *board
	show   display
	// revived are the attempts that were tried again, by what names them.
	revived map[string]bool
	// awaited is the version of what this run has commanded; the board has to
	// show it before the session is judged.
	awaited uint64
	// stopping is set at an interrupt.
	stopping bool
}

// newRunner reads command line and file, before anything starts.
func (a *app) newRunner(cmd *cobra.Command, f *runFlags, args []string) (*runner, error) {
	served, err := f.check(cmd, args)
	if err != nil {
		return nil, err
	}
	r := &runner{a: a, f: f, served: served, id: f.resume, revived: map[string]bool{}}
	if r.names, err = contract.NewNames(a.flags.prefix); err != nil {
		return nil, &usageError{"--prefix: " + err.Error()}
	}
	if f.resume != "" {
		return r, nil
	}
	if r.file, err = a.definition(cmd, args[0], false, f.meta); err != nil {
		return nil, err
	}
	if f.newID != "" {
		r.file.ID = f.newID
	}
	if r.id = r.file.ID; r.id == "" {
		r.id = readableID(args[0])
	}
	return r, r.describe(args[0])
}

// describe notes in the metadata what was run, and where if that is this machine.
func (r *runner) describe(file string) error {
	if r.file.Metadata == nil {
		r.file.Metadata = map[string]string{}
	}
	note := func(key, value string) {
		if _, given := r.file.Metadata[key]; !given {
			r.file.Metadata[key] = value
		}
	}
	if file != "-" {
		note(metaFile, filepath.Base(file))
	}
	if r.f.noWorker || r.a.remote() {
		return nil
	}
	dir, err := filepath.Abs(r.f.dir)
	note(metaDir, dir)
	return err
}

// run connects, creates or resumes the session, and follows it to its end.
func (r *runner) run(ctx context.Context) (err error) {
	r.show = r.newDisplay()
	defer func() { r.show.close() }()
	r.log = slog.New(slog.NewTextHandler(noticeWriter{r.show}, &slog.HandlerOptions{Level: r.f.level}))
	if r.link, err = r.a.connectOr(ctx, r.embed); err != nil {
		return err
	}
	defer r.link.close()
	if r.client, err = client.New(r.link.nc, client.Config{
		Names: r.names, User: r.a.owner(), Timeout: time.Duration(r.a.flags.wait), Backoff: firstBackoff,
	}); err != nil {
		return &usageError{err.Error()}
	}
	if err := r.visit(); err != nil {
		return err
	}
	from, err := r.begin(ctx)
	if err != nil {
		return r.link.explain(err)
	}
	if err := r.follow(ctx, from); err != nil {
		r.show.close()
		return r.goOn(err)
	}
	r.show.close()
	err = r.finish() //nolint:contextcheck // it is written after an interrupt too
	r.linger(ctx)
	return err
}

// embed runs the engine in this process, where other commands find it by the
// lock file of the directory.
func (r *runner) embed(ctx context.Context, dir string) (*link, error) {
	opts := natsnode.Options{DataDir: dir, Listen: r.f.listen, Logger: r.log}
	if err := r.f.sync.apply(&opts); err != nil {
		return nil, err
	}
	node, h, err := r.a.startLocal(ctx, opts, engine.Config{Prefix: r.a.flags.prefix, Logger: r.log})
	if err != nil {
		return nil, err
	}
	nc, err := r.a.dialLocal(node, dir)
	if err != nil {
		return nil, errors.Join(err, stopBoth(h, node)) //nolint:contextcheck // a run that was interrupted closes it all the same
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan error, 1)
	go func() { watched <- node.Run(watching) }()
	r.engine = h.Done()
	return &link{nc: nc, where: dir, close: func() { //nolint:contextcheck // as above
		stop()
		nc.Close()
		if err := errors.Join(<-watched, stopBoth(h, node)); err != nil {
			_, _ = fmt.Fprintln(r.a.err, "reprise: the engine in this process did not stop cleanly: "+err.Error())
		}
	}}, nil
}

// begin creates or resumes the session, puts it on the board, and returns the
// version from which on its commits are news.
func (r *runner) begin(ctx context.Context) (from uint64, err error) {
	if r.f.resume != "" {
		return r.resume(ctx)
	}
	reply, err := r.client.Batch(ctx, r.id, domain.Batch{Commands: []domain.Command{
		&domain.Create{Definition: r.file.Definition}, &domain.Start{},
	}})
	if err != nil {
		return 0, r.existsAlready(ctx, err)
	}
	r.awaited = reply.Version
	r.board = newBoard(domain.New(r.a.owner(), r.id))
	return 1, nil
}

// existsAlready says what to do about a session that is there, if that is why
// it could not be created.
func (r *runner) existsAlready(ctx context.Context, err error) error {
	switch client.CodeOf(err) {
	case domain.CodeExists, domain.CodeAlready, domain.CodeIllegalTransition:
	default:
		return err
	}
	reply, unknown := r.client.Get(ctx, r.id)
	if unknown != nil {
		return err
	}
	again := "run it again under another id with --id, or delete it first"
	if state := reply.Session.State; state != domain.StateCompleted && state != domain.StateCancelled {
		again = "go on with it: " + r.resumeCommand(state == domain.StateFailed) + "; or give the new one another id with --id"
	}
	return fmt.Errorf("session %q exists already and is %s; %s", r.id, reply.Session.State, again)
}

// resume makes a session go on that is there.
func (r *runner) resume(ctx context.Context) (from uint64, err error) {
	reply, err := r.client.Get(ctx, r.id)
	if err != nil {
		return 0, err
	}
	s := reply.Session
	r.board = newBoard(s)
	if r.f.dir == "" {
		r.f.dir = r.firstDir(s)
	}
	if err := r.releaseLost(s); err != nil {
		return 0, err
	}
	var done *contract.Reply
	switch s.State {
	case domain.StatePending:
		done, err = r.client.Start(ctx, r.id)
	case domain.StatePaused:
		done, err = r.client.Resume(ctx, r.id)
	case domain.StateFailed:
		done, err = r.retryFailed(ctx, s)
	case domain.StateNone, domain.StateRunning, domain.StateCompleted, domain.StateCancelled:
	}
	if done != nil {
		r.awaited = done.Version
	}
	if client.CodeOf(err) == domain.CodeAlready {
		err = nil
	}
	return s.Version + 1, err
}

// firstDir is where the first run was, if that is a directory here.
func (r *runner) firstDir(s *domain.Session) string {
	dir := s.Metadata[metaDir]
	if info, err := os.Stat(dir); dir == "" || r.a.remote() || err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// releaseLost gives back the steps of earlier runs that held this directory
// before: their processes are gone, since this one holds it now.
func (r *runner) releaseLost(s *domain.Session) error {
	if r.engine == nil {
		return nil
	}
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			if st.Status != domain.StepStatusRunning || !strings.HasPrefix(st.Worker, embeddedWorker) {
				continue
			}
			if err := r.release(s, c, st); err != nil {
				return fmt.Errorf("step %s of the run that died can't be given back: %w", place(c.ID, st.ID), err)
			}
		}
	}
	return nil
}

// release gives a step back in the name of its worker.
func (r *runner) release(s *domain.Session, c *domain.Chain, st *domain.Step) error {
	body, err := domain.Marshal(&domain.Release{Chain: c.ID, Step: st.ID, Attempt: st.Attempt})
	if err != nil {
		return err
	}
	msg, err := r.link.nc.RequestMsg(&nats.Msg{
		Subject: r.names.Worker(st.Worker, st.Action, s.User, s.ID, domain.VerbRelease), Data: body,
		Header: nats.Header{contract.HeaderCommandID: {client.NewCommandID()}},
	}, time.Duration(r.a.flags.wait))
	if err != nil {
		return err
	}
	if sentence := msg.Header.Get(contract.HeaderError); sentence != "" {
		return errors.New(sentence)
	}
	return nil
}

// retryFailed runs again what failed, where that was asked for; a session that
// failed because a run was lost goes on by itself.
func (r *runner) retryFailed(ctx context.Context, s *domain.Session) (*contract.Reply, error) {
	if r.f.retry {
		var commands []domain.Command
		for _, c := range s.Chains {
			for _, st := range c.Steps {
				if st.Status.Broken() {
					commands = append(commands, &domain.RetryStep{Chain: c.ID, Step: st.ID})
				}
			}
		}
		if len(commands) > 0 {
			return r.client.Batch(ctx, r.id, domain.Batch{Commands: commands})
		}
	}
	if len(r.lost(s)) > 0 {
		return nil, nil //nolint:nilnil // the first look at the board tries them again
	}
	why := ""
	if s.Error != nil {
		why = ": " + place(s.Error.Chain, s.Error.Step) + ": " + s.Error.Message
	}
	return nil, fmt.Errorf("session %q is FAILED%s; %s runs its failed steps again", r.id, strings.TrimSuffix(why, "."), r.resumeCommand(true))
}

// lost lists the steps that ended because the worker of an earlier run was lost.
func (r *runner) lost(s *domain.Session) []domain.RetryStep {
	var steps []domain.RetryStep
	for _, c := range s.Chains {
		for _, st := range c.Steps {
			e := st.Error
			if st.Status == domain.StepStatusTimeout && e != nil && e.Code == codeLeaseExpired && strings.HasPrefix(e.Worker, runWorker) &&
				!r.revived[r.attemptName(c, st)] {
				steps = append(steps, domain.RetryStep{Chain: c.ID, Step: st.ID, Reason: "the run that executed it was lost"})
			}
		}
	}
	return steps
}

func (r *runner) attemptName(c *domain.Chain, st *domain.Step) string {
	return fmt.Sprintf("%s/%d", place(c.ID, st.ID), st.Attempt)
}

// revive tries again what was lost with an earlier run.
func (r *runner) revive(ctx context.Context) {
	s := r.board.Session()
	if r.f.resume == "" || s.State == domain.StateCancelled || s.State == domain.StateCompleted {
		return
	}
	for _, step := range r.lost(s) {
		name := r.attemptName(s.Chain(step.Chain), s.Step(step.Chain, step.Step))
		r.revived[name] = true
		reply, err := r.client.RetryStep(ctx, r.id, step)
		if err != nil {
			r.show.notice(fmt.Sprintf("%s was lost with an earlier run and can't be tried again: %s", place(step.Chain, step.Step), err))
			continue
		}
		r.awaited = max(r.awaited, reply.Version)
	}
}
