package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"reprise/actions"
	"reprise/contract"
	"reprise/natsnode"
	"reprise/worker"
)

// workerFlags are the flags of `reprise worker` that no other command has.
type workerFlags struct {
	actions     []string
	actionMap   map[string]string
	concurrency int
	lease       durationFlag
	drain       durationFlag
	id, dir     string
	level       slog.Level
}

func (a *app) workerCommand() *cobra.Command {
	w := workerFlags{drain: durationFlag(worker.DefaultDrainTimeout)}
	cmd := &cobra.Command{
		Use:   "worker --actions NAMES",
		Short: "Execute steps: commands (exec) and requests (http)",
		Long: `Worker pulls the tasks of the actions it was told to serve and executes their
steps. Whoever may create sessions with such steps runs commands as this
account, or sends requests from this machine; so it serves nothing by itself.

  exec   runs a program: {"command": ["go", "build", "./..."]}, or a script:
         {"run": "make all", "env": {"A": "b"}, "dir": "src", "output": "json"}
  http   sends a request: {"method": "POST", "url": "https://...", "body": {},
         "headers": {}, "expectStatus": [200]}

It works for the engine of the server that is named, else for the process that
serves the data directory; from the JetStream domain or API prefix that a context
names, unless it has credentials of reprise auth. An interrupt or SIGTERM drains: steps in flight may
end, for the time of --drain, then they are stopped and given back. A second one
stops at once.`,
		Example: `  reprise worker --actions exec,http
  reprise worker --actions exec --concurrency 2 --lease 1m --dir /srv/build
  reprise worker --action-map build=exec,deploy=exec --nats nats://example.org:4222`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			served, err := w.served(cmd)
			if err != nil {
				return err
			}
			return a.work(cmd.Context(), &w, served)
		},
	}
	a.workerFlags(cmd, &w)
	return cmd
}

func (a *app) workerFlags(cmd *cobra.Command, w *workerFlags) {
	f, g := cmd.Flags(), &a.flags
	f.StringSliceVar(&w.actions, "actions", nil, "`NAMES` of the built-in actions to serve: "+strings.Join(actions.Names(), ", "))
	f.StringToStringVar(&w.actionMap, "action-map", nil, "serve actions of other names with built-in ones: `NAME=exec`")
	f.IntVar(&w.concurrency, "concurrency", worker.DefaultConcurrency, "`N` steps at once")
	f.Var(&w.lease, "lease", "how long the engine waits for a sign of life (default: the engine's)")
	f.Var(&w.drain, "drain", "how long steps in flight may go on after an interrupt")
	f.StringVar(&w.id, "id", "", "`ID` of this worker in the history (default: that of its credentials, or a random one)")
	f.StringVar(&w.dir, "dir", "", "`DIR`ectory in which commands run")
	f.StringVar(&g.data, "data", "", "`DIR` of the data that a process on this machine serves (default: "+a.shownDataDir()+")")
	f.StringVar(&g.nats, "nats", "", "`URL` of a NATS server on which an engine answers (default: $NATS_URL)")
	f.StringVar(&g.context, "context", "", "`NAME` of a context of the nats CLI (default: $NATS_CONTEXT)")
	f.StringVar(&g.prefix, "prefix", "", "first `TOKEN` of the engine's subjects (default: "+contract.DefaultPrefix+")")
	f.TextVar(&w.level, "log-level", slog.LevelInfo, "`LEVEL` of the log on stderr: debug, info, warn or error")
	_ = cmd.RegisterFlagCompletionFunc("actions", fixed(actions.Names()...))
	_ = cmd.RegisterFlagCompletionFunc("log-level", fixed("debug", "info", "warn", "error"))
}

// served returns the built-in action behind each action that is to be served.
func (w *workerFlags) served(cmd *cobra.Command) (map[string]string, error) {
	served := map[string]string{}
	for _, name := range w.actions {
		served[name] = name
	}
	for name, builtin := range w.actionMap {
		if other, ok := served[name]; ok && other != builtin {
			return nil, usage(cmd, "--action-map %s=%s: %s is served as itself by --actions", name, builtin, name)
		}
		served[name] = builtin
	}
	known := strings.Join(actions.Names(), ", ")
	if len(served) == 0 {
		return nil, usage(cmd, "say which actions to serve: --actions with %s; nothing is served unless it is named", known)
	}
	for name, builtin := range served {
		switch {
		case !slices.Contains(actions.Names(), builtin):
			return nil, usage(cmd, "there is no built-in action %q; there are %s (--action-map NAME=exec serves other names)", builtin, known)
		case !contract.ValidToken(name):
			return nil, usage(cmd, "--action-map: %.80q is no action name; use 1-64 of A-Z a-z 0-9 _ -", name)
		}
	}
	if w.concurrency < 1 {
		return nil, usage(cmd, "--concurrency %d: at least 1 step at once", w.concurrency)
	}
	return served, nil
}

// work runs the worker until ctx ends, and drains it.
func (a *app) work(ctx context.Context, f *workerFlags, served map[string]string) error {
	names, err := contract.NewNames(a.flags.prefix)
	if err != nil {
		return &usageError{"--prefix: " + err.Error()}
	}
	log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: f.level}))
	me, err := a.meAsWorker(f, served)
	if err != nil {
		return err
	}
	nc, err := a.dialWorker(log, me...)
	if err != nil {
		return err
	}
	defer nc.Close()
	api, err := a.workerAPI()
	if err != nil {
		return err
	}
	w, err := worker.New(nc, worker.Config{
		ID: f.id, Names: names, Concurrency: f.concurrency, Lease: time.Duration(f.lease),
		DrainTimeout: time.Duration(f.drain), APIPrefix: api, Logger: log,
	})
	if err != nil {
		return &usageError{err.Error()}
	}
	for name, builtin := range served {
		w.Handle(name, builtinHandler(builtin, f.dir))
	}
	if err := a.announceWorker(nc, w, served, f.concurrency); err != nil {
		return err
	}
	defer abandonAtSecondSignal(ctx, w)()
	return a.ended(w.Run(ctx))
}

// builtinHandler is the handler of a built-in action, with the working directory
// of commands.
func builtinHandler(name, dir string) worker.Handler {
	if name == actions.NameExec {
		return actions.Exec(actions.ExecConfig{Dir: dir})
	}
	return actions.Builtin(name)
}

// dialWorker connects to the server that is named, else to the process that
// serves the data directory.
func (a *app) dialWorker(log *slog.Logger, me ...nats.Option) (*nats.Conn, error) {
	watched := slices.Concat(me, []nats.Option{
		nats.MaxReconnects(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("disconnected from NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted()) }),
	})
	remote := natsnode.Remote{URL: a.flags.nats, Context: a.flags.context, Getenv: a.getenv, Logger: log}
	if !a.remote() {
		dir := a.dataDir()
		info, running, err := natsnode.ReadLock(dir)
		switch {
		case err != nil:
			return nil, err
		case !running || info.URL == "":
			return nil, fmt.Errorf("%w: nobody serves %s on a port; start `reprise serve` first, or name a server with --nats", natsnode.ErrUnreachable, dir)
		}
		remote.URL = info.URL
	}
	return natsnode.Dial(remote, "reprise worker", watched...)
}

// workerAPI is the JetStream API from which tasks are pulled: that of the context,
// else the server's own. The account of credentials that `reprise auth` made has the
// tasks under the latter alone, wherever they come from.
func (a *app) workerAPI() (string, error) {
	if !a.remote() || a.credsName() != "" {
		return worker.DefaultAPIPrefix, nil
	}
	return natsnode.JetStreamAPI(natsnode.Remote{URL: a.flags.nats, Context: a.flags.context, Getenv: a.getenv})
}

// announceWorker says once what is served, by whom and for which server.
func (a *app) announceWorker(nc *nats.Conn, w *worker.Worker, served map[string]string, concurrency int) error {
	list := make([]string, 0, len(served))
	for _, name := range w.Actions() {
		if builtin := served[name]; builtin != name {
			name += " (as " + builtin + ")"
		}
		list = append(list, name)
	}
	_, err := fmt.Fprintf(a.out, "reprise worker %s serves %s at %s, up to %d steps at once\n",
		w.ID(), strings.Join(list, ", "), nc.ConnectedUrlRedacted(), concurrency)
	return err
}

// abandonAtSecondSignal stops the worker at once when a signal comes while it
// drains. The function it returns ends that.
func abandonAtSecondSignal(ctx context.Context, w *worker.Worker) (end func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-done:
			return
		}
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		select {
		case <-signals:
			w.Abandon()
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// ended says what a worker left behind.
func (a *app) ended(err error) error {
	if errors.Is(err, worker.ErrAbandoned) {
		return errors.New("stopped at once; the steps in flight go to other workers when their leases are over")
	}
	return err
}
